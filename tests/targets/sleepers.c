/* `sleepers N`: a busy thread, and N threads that sleep for good, a third each in nanosleep, in a futex and in
 * poll. */
#include "target.h"

#include <poll.h>
#include <pthread.h>

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static unsigned long asleep; /* only through __atomic */

__attribute__((noinline)) static void sleep_for_good(unsigned long i)
{
	__atomic_fetch_add(&asleep, 1, __ATOMIC_RELAXED);
	for (;;) {
		if (i % 3 == 0)
			poll(NULL, 0, -1);
		else if (i % 3 == 1)
			pthread_mutex_lock(&held);
		else
			sleep(100000);
	}
}

static void *sleeper(void *arg)
{
	prctl(PR_SET_NAME, "sleeper", 0, 0, 0);
	sleep_for_good((unsigned long)(uintptr_t)arg);
	return NULL;
}

__attribute__((noinline)) uint64_t busy(uint64_t x)
{
	return target_mix(x, 200000) ^ 1;
}

int main(int argc, char **argv)
{
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
	volatile uint64_t sink = 1;
	pthread_attr_t small;
	pthread_t thread;
	target_init();
	pthread_mutex_lock(&held);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 32768);
	for (unsigned long i = 0; i < n; i++)
		if (pthread_create(&thread, &small, sleeper, (void *)i) != 0)
			return 1;
	while (__atomic_load_n(&asleep, __ATOMIC_RELAXED) < n)
		usleep(1000);
	usleep(100000);
	target_ready();
	for (;;)
		sink = busy(sink);
}
