/* Threads that live for about a millisecond: some 400 a second, up to four at a time. */
#include "target.h"

#include <pthread.h>

enum { AT_ONCE = 4 };

__attribute__((noinline)) uint64_t burn_shortly(uint64_t x)
{
	uint64_t until_ns = target_clock_ns(CLOCK_THREAD_CPUTIME_ID) + 1000000;
	while (target_clock_ns(CLOCK_THREAD_CPUTIME_ID) < until_ns)
		x = target_mix(x, 5000);
	return x;
}

static void *thread_main(void *arg)
{
	volatile uint64_t sink = burn_shortly((uint64_t)arg);
	(void)sink;
	return NULL;
}

int main(void)
{
	target_init();
	target_ready();
	for (;;) {
		pthread_t threads[AT_ONCE];
		for (size_t i = 0; i < AT_ONCE; i++)
			if (pthread_create(&threads[i], NULL, thread_main, (void *)i) != 0)
				return 1;
		usleep(8000);
		for (size_t i = 0; i < AT_ONCE; i++)
			pthread_join(threads[i], NULL);
	}
}
