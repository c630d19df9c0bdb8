/* A known chain of calls, main > outer > middle > inner, that burns CPU in inner. Built in several ways: see
 * targets.mk. */
#include "target.h"

__attribute__((noinline)) uint64_t inner(uint64_t x)
{
	return target_mix(x, 200000);
}

__attribute__((noinline)) uint64_t middle(uint64_t x)
{
	return inner(x + 1) ^ 3; /* the result is used after the call: no tail call */
}

__attribute__((noinline)) uint64_t outer(uint64_t x)
{
	return middle(x * 3) + 7;
}

int main(void)
{
	volatile uint64_t sink = 1;
	target_init();
	target_ready();
	for (;;)
		sink = outer(sink);
}
