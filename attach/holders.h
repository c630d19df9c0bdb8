/* Holding CPUs: whoever runs on one is made to stand still between two of its instructions, without being told.
 *
 * An interrupt (ptrace(2), PTRACE_INTERRUPT) marks a thread first and reaches its CPU microseconds later. A
 * thread that comes to the end of a system call meanwhile stops there: work between two calls that takes no
 * longer than the interrupt's way would never be seen, and its time be shown as the calls'. So, before threads
 * are interrupted, threads of ours take the CPUs that they run on. What is preempted goes on in the kernel if
 * it is there, up to the call's end at most, and not at all if it is not; and a mark that is set on it then is
 * found at once. To wake a holder up for this would be such a mark itself: each has a timer of its own CPU
 * (hrtimers), set beforehand, and no other CPU has a part in it.
 *
 * A CPU has a holder if threads of the target were seen there lately. All calls are the sampling thread's. */
#ifndef ATTACH_HOLDERS_H
#define ATTACH_HOLDERS_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

enum { HOLDERS_MOST = 64 };

struct holders;

/* NULL when memory is out: then no CPU is held. `realtime`: before all ordinary threads (SCHED_FIFO, sched(7)),
 * if the kernel allows it. */
struct holders *holders_new(bool realtime);
/* None holds a CPU afterwards. `holders` may be NULL, here and below. */
void holders_free(struct holders *holders);

/* A thread of the target was seen on this CPU: it is held at the next times. */
void holders_want(struct holders *holders, int cpu);
/* To be called once before each holders_take(): the time (CLOCK_MONOTONIC) of the one after it. For the first
 * there is none, and it holds nothing. */
void holders_set(struct holders *holders, uint64_t next_ns);
/* The same, for a time before the one that was set last. */
void holders_hurry(struct holders *holders, uint64_t at_ns);
/* Waits for its time, and until all CPUs that were wanted lately are held, but for the caller's own, where
 * nobody else runs; not if that is a fraction of a millisecond away, or past. They stay so until
 * holders_let_go(), and for no longer than a fraction of a millisecond in any case. Returns the time since when
 * the first is held; 0: none is. */
uint64_t holders_take(struct holders *holders);
/* Also when nothing was taken: who would come later does not come. */
void holders_let_go(struct holders *holders);
/* The CPUs that are wanted now. */
void holders_cpus(const struct holders *holders, cpu_set_t *cpus);
/* Is this CPU held? */
bool holders_have(const struct holders *holders, int cpu);
/* For how long was it held the last time? 0: not at all. */
uint64_t holders_held_ns(const struct holders *holders, int cpu);
/* Is it the caller's own, as of the last holders_set()? */
bool holders_own(const struct holders *holders, int cpu);
/* The CPU time that all have used so far. */
uint64_t holders_cpu_ns(const struct holders *holders);

#endif
