/* Works in step with the clock: 3 ms of each 10 ms in early(), 7 ms in late(). A sampler that ticks in the same
 * step sees only one of them. */
#include "target.h"

enum { PERIOD_NS = 10000000, EARLY_NS = 3000000 };

static volatile uint64_t sink = 1;

__attribute__((noinline)) void early(void)
{
	while (target_clock_ns(CLOCK_MONOTONIC) % PERIOD_NS < EARLY_NS)
		sink = target_mix(sink, 5000);
}

__attribute__((noinline)) void late(void)
{
	while (target_clock_ns(CLOCK_MONOTONIC) % PERIOD_NS >= EARLY_NS)
		sink = target_mix(sink, 5000);
}

int main(void)
{
	target_init();
	target_ready();
	for (;;) {
		early();
		late();
	}
}
