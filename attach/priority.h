/* Where and how soon the sampling thread gets a CPU. While threads of the target are stopped, it must not wait
 * for one: they would wait as long. Everything ends with the calling thread; nothing of the target is changed.
 * docs/design.md has the measurements by which this was chosen. */
#ifndef ATTACH_PRIORITY_H
#define ATTACH_PRIORITY_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

struct priority {
	bool realtime; /* SCHED_FIFO is allowed, and the kernel gives it */
	bool raised;
	cpu_set_t all, ours; /* where we may run at all, and where we do now */
};

/* Of the calling thread: the highest ordinary priority if the kernel gives it, and timers that are not rounded.
 */
void priority_begin(struct priority *priority, bool may_be_realtime);
/* From the first interrupt to the last thread that goes on, milliseconds at most: before all ordinary threads
 * (SCHED_FIFO, sched(7)). Walking stacks and everything else is done after priority_lower. */
void priority_raise(struct priority *priority);
void priority_lower(struct priority *priority);
/* Runs where the target's threads do not, if there is such a CPU: true. Else on each of theirs in turn. */
bool priority_avoid(struct priority *priority, const cpu_set_t *theirs, uint64_t turn);

#endif
