/* 64 threads besides main's: two burn without end, the others burn 0.2 ms and sleep 20 ms. Prints their IDs. */
#include "target.h"

#include <pthread.h>
#include <sys/syscall.h>

enum { THREADS = 64, HOGS = 2 };

static pthread_barrier_t started;
static pid_t tids[THREADS];

__attribute__((noinline)) uint64_t hog(uint64_t x)
{
	return target_mix(x, 200000) ^ 1;
}

__attribute__((noinline)) uint64_t nibble(uint64_t x)
{
	uint64_t until_ns = target_clock_ns(CLOCK_MONOTONIC) + 200000;
	while (target_clock_ns(CLOCK_MONOTONIC) < until_ns)
		x = target_mix(x, 1000);
	return x;
}

static void *thread_main(void *arg)
{
	size_t i = (size_t)arg;
	char name[16];
	volatile uint64_t sink = i;
	snprintf(name, sizeof name, "%s-%zu", i < HOGS ? "hog" : "nibble", i);
	pthread_setname_np(pthread_self(), name);
	tids[i] = (pid_t)syscall(SYS_gettid);
	pthread_barrier_wait(&started);
	for (;;) {
		if (i < HOGS) {
			sink = hog(sink);
		} else {
			sink = nibble(sink);
			usleep(20000);
		}
	}
	return NULL;
}

int main(void)
{
	target_init();
	pthread_barrier_init(&started, NULL, THREADS + 1);
	for (size_t i = 0; i < THREADS; i++) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, thread_main, (void *)i) != 0)
			return 1;
	}
	pthread_barrier_wait(&started);
	for (size_t i = 0; i < THREADS; i++)
		printf("tid %d\n", tids[i]);
	target_ready();
	for (;;)
		pause();
}
