/* A library that is loaded and unloaded again and again; each of its builds has frames of another size. */
#include "target.h"

#ifndef NAME
#define NAME work_a
#define FRAME 64
#endif

void NAME(uint64_t until_ns);

static volatile uint64_t sink;

__attribute__((noinline)) static void burn(void)
{
	volatile char room[FRAME * 2];
	room[0] = 1;
	sink = target_mix(sink + (uint64_t)room[0], 2000);
}

/* The calls lie elsewhere in each build, so that one's tables are wrong for the other. */
void NAME(uint64_t until_ns)
{
	volatile char room[FRAME];
	room[0] = 1;
#if FRAME > 100
	if (until_ns == 1)
		sink += target_mix(until_ns, 7) + target_mix(until_ns + 1, 9);
#endif
	while (target_clock_ns(CLOCK_MONOTONIC) < until_ns)
		burn();
	sink += (uint64_t)room[0];
}
