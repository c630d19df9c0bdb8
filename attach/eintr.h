/* What a ptrace stop does to system calls: some return EINTR although no signal handler ran, which can be
 * undone; some return after a part of their work, which cannot. */
#ifndef ATTACH_EINTR_H
#define ATTACH_EINTR_H

#include "attach/target.h"

#include <stdbool.h>

/* Call at a stop that we asked for. When the thread is about to leave one of those calls with -EINTR, sets rax
 * to -ERESTARTNOHAND and returns true: the kernel then restarts the call, or gives EINTR if a signal handler
 * runs after all, which it decides by itself after the stop. The caller writes the registers back. Other
 * registers are never touched. */
bool eintr_repair(struct user_regs_struct *regs);

/* At a stop: is the thread about to leave one of the calls that do all that they were asked for unless
 * something interrupts them (write, send, sendfile, copy_file_range, getrandom, recv with MSG_WAITALL) having
 * done some of it? Registers alone do not tell whether it was all. */
bool eintr_may_be_cut_short(const struct user_regs_struct *regs);
/* Then, when the thread goes on again: was it less than asked for, on a descriptor that blocks? Reads the
 * target's memory and /proc; a guess when the thread has closed the descriptor meanwhile. */
bool eintr_was_cut_short(const struct target *target, pid_t tid, const struct user_regs_struct *regs);

#endif
