/* Pairs of threads that take turns: in some both spin for their lock, in most they sleep for it. A thread is in
 * its_turn() only while it has the lock, for about half of all time: at no moment are both threads of a pair,
 * which bear the same name, there. */
#include "target.h"

#include <pthread.h>
#include <sched.h>

enum { SPINNING = 2, PAIRS = 16 };

static pthread_mutex_t mutex[PAIRS];
static char spin_lock[PAIRS]; /* only through __atomic */

static void burn(uint64_t ns)
{
	volatile uint64_t sink = 1;
	uint64_t until_ns = target_clock_ns(CLOCK_MONOTONIC) + ns;
	while (target_clock_ns(CLOCK_MONOTONIC) < until_ns)
		sink = target_mix(sink, 100);
}

__attribute__((noinline)) void its_turn(void)
{
	burn(10000);
	__asm__ volatile(""); /* not a jump into burn() */
}

static void lock(size_t pair)
{
	if (pair >= SPINNING) {
		pthread_mutex_lock(&mutex[pair]);
		return;
	}
	while (__atomic_test_and_set(&spin_lock[pair], __ATOMIC_ACQUIRE))
		sched_yield();
}

static void unlock(size_t pair)
{
	if (pair >= SPINNING)
		pthread_mutex_unlock(&mutex[pair]);
	else
		__atomic_clear(&spin_lock[pair], __ATOMIC_RELEASE);
}

static void *thread_main(void *arg)
{
	size_t pair = (size_t)arg;
	char name[16];
	snprintf(name, sizeof name, "pair-%zu", pair);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	for (;;) {
		lock(pair);
		its_turn();
		unlock(pair);
		burn(1000); /* the other one gets it */
	}
	return NULL;
}

int main(void)
{
	target_init();
	for (size_t i = 0; i < PAIRS; i++) {
		pthread_t thread;
		pthread_mutex_init(&mutex[i], NULL);
		if (pthread_create(&thread, NULL, thread_main, (void *)i) != 0 ||
			pthread_create(&thread, NULL, thread_main, (void *)i) != 0)
			return 1;
	}
	target_ready();
	for (;;)
		pause();
}
