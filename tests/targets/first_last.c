/* Burns 60 ms of CPU before anything else of the program runs (the dynamic linker calls it), 60 ms in main and
 * 60 ms when all else is over. */
#include "target.h"

static volatile uint64_t sink = 1;

static __attribute__((noinline)) void burn(uint64_t ns)
{
	uint64_t end = target_clock_ns(CLOCK_THREAD_CPUTIME_ID) + ns;
	while (target_clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
		sink = target_mix(sink, 5000);
}

static void before_all(void)
{
	burn(60000000);
	sink++; /* or this would be a jump, and no call */
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = before_all;

__attribute__((destructor(101))) static void after_all(void)
{
	burn(60000000);
	sink++; /* or this would be a jump, and no call */
}

int main(void)
{
	burn(60000000);
	return 0;
}
