/* Which system calls a ptrace stop makes return EINTR although no signal handler ran, and how to undo it. */
#ifndef ATTACH_EINTR_H
#define ATTACH_EINTR_H

#include <sys/user.h>

#include <stdbool.h>

/* Call at a stop that we asked for. When the thread is about to leave one of those calls with -EINTR, sets rax
 * to -ERESTARTNOHAND and returns true: the kernel then restarts the call, or gives EINTR if a signal handler
 * runs after all, which it decides by itself after the stop. The caller writes the registers back. Other
 * registers are never touched. */
bool eintr_repair(struct user_regs_struct *regs);

#endif
