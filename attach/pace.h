/* When the next tick is, and how many threads are interrupted together: the rate that was asked for, as long as
 * it costs no more than is allowed. Pure arithmetic: the caller reads the clocks.
 *
 * Two costs are held below the same share, each by a leaky bucket that forgives five seconds' worth at once
 * (reading unwind tables for the first time is not what sampling costs): our own CPU time, of the time of all
 * CPUs; and the time for which running threads are stopped, of the CPU time that the target uses. When a bucket
 * overflows, the next tick waits until it would not. */
#ifndef ATTACH_PACE_H
#define ATTACH_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PACE_BATCH = 64, /* threads interrupted together, at most */
	PACE_LONGEST_WAIT_S = 2, /* however dear a tick was; what this does not pay for is forgiven */
	PACE_LONGEST_REST = 32, /* ticks */
	PACE_AFFORD_LEAST = 64,
};

struct pace_limits {
	double overhead; /* share, 0.01 for 1 %; 1 or more: no limit */
	uint64_t max_pause_ns;
	unsigned cpus;
};

struct pace {
	struct pace_limits limits;
	uint64_t period_ns, due_ns, random;
	double own_debt_ns, stop_debt_ns;
	double target_share; /* CPU seconds that the target uses in a second, lately */
	double service_ns; /* what one stopped thread takes of the tracer, lately */
	uint64_t late, lowered; /* ticks that were not on time; ticks that had to wait for the budget */
};

void pace_start(struct pace *pace, double rate_hz, const struct pace_limits *limits, uint64_t now_ns);
/* The time of the next tick, and of none that has passed. */
uint64_t pace_next(struct pace *pace, uint64_t now_ns);
/* What was used in the last `elapsed_ns`: by us, by stops of threads that had a CPU, and by the target. */
void pace_spent(
	struct pace *pace, uint64_t elapsed_ns, uint64_t own_ns, uint64_t stopped_ns, uint64_t target_ns);
/* A stopped thread was served in this time. */
void pace_served(struct pace *pace, uint64_t ns);
/* How many ticks to leave out what costs this much, so that it takes no more than a quarter of our share. */
unsigned pace_rest(const struct pace *pace, uint64_t cost_ns);
/* How many things that cost this much each can be done in a tick for half of our share. */
size_t pace_afford(const struct pace *pace, double cost_ns);
/* How many threads may be interrupted together: the last of them waits until all before it were served. */
size_t pace_batch(const struct pace *pace);

#endif
