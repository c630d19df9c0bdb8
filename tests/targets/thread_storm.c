/* Starts and ends 2,000 threads a second, each of which works for about 100 us: ten every 5 ms. On SIGTERM
 * prints how many there were and in how many seconds. */
#include "target.h"

#include <pthread.h>

enum { AT_ONCE = 10, ROUND_NS = 5000000 };

static volatile sig_atomic_t done;

static void on_term(int sig)
{
	(void)sig;
	done = 1;
}

__attribute__((noinline)) uint64_t flash(uint64_t x)
{
	return target_mix(x, 80000);
}

static void *thread_main(void *arg)
{
	volatile uint64_t sink = flash((uint64_t)arg);
	(void)sink;
	return NULL;
}

static void start_and_end(void)
{
	pthread_t threads[AT_ONCE];
	for (size_t i = 0; i < AT_ONCE; i++)
		if (pthread_create(&threads[i], NULL, thread_main, (void *)i) != 0)
			_exit(1);
	for (size_t i = 0; i < AT_ONCE; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	unsigned long started = 0;
	target_init();
	signal(SIGTERM, on_term);
	target_ready();
	uint64_t begin = target_clock_ns(CLOCK_MONOTONIC), due = begin;
	while (!done) {
		start_and_end();
		started += AT_ONCE;
		due += ROUND_NS;
		struct timespec at = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	}
	printf("threads %lu seconds %.3f\n", started, (double)(target_clock_ns(CLOCK_MONOTONIC) - begin) / 1e9);
	return 0;
}
