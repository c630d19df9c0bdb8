/* Busy at the bottom of exactly 5,000 calls of descend() (or as many as the first argument says). */
#include "target.h"

static volatile uint64_t sink = 1;
static volatile int busy =
	1; /* never 0, but the compiler must not know: it would turn the recursion into a loop */

__attribute__((noinline)) void bottom(void)
{
	while (busy)
		sink = target_mix(sink, 200000);
}

__attribute__((noinline)) uint64_t descend(unsigned depth)
{
	if (depth <= 1) {
		target_ready();
		bottom();
	} else {
		descend(depth - 1);
	}
	return sink + depth; /* after the call: no tail call */
}

int main(int argc, char **argv)
{
	target_init();
	return (int)descend(argc > 1 ? (unsigned)atoi(argv[1]) : 5000);
}
