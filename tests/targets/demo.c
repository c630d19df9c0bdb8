/* What `make demo` profiles: a little of everything that one wants to see in a first profile. */
#include "target.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { N = 4096 };

static uint64_t sink;

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static __attribute__((noinline)) void sort_numbers(uint32_t *numbers)
{
	for (uint32_t i = 0; i < N; i++)
		numbers[i] = (uint32_t)target_mix(i + sink, 1);
	qsort(numbers, N, sizeof *numbers, compare);
	sink += numbers[N / 2];
}

static __attribute__((noinline)) uint64_t checksum(const uint32_t *numbers)
{
	uint64_t sum = 0;
	for (int round = 0; round < 20; round++)
		for (uint32_t i = 0; i < N; i++)
			sum = target_mix(sum ^ numbers[i], 1);
	return sum;
}

static void *worker(void *unused)
{
	uint32_t *numbers = malloc(N * sizeof *numbers);
	(void)unused;
	for (;;) {
		sort_numbers(numbers);
		sink += checksum(numbers);
	}
	return NULL;
}

static void *rester(void *unused)
{
	struct timespec t = {0, 20000000};
	(void)unused;
	for (;;)
		nanosleep(&t, NULL);
	return NULL;
}

int main(void)
{
	pthread_t thread;
	target_init();
	/* Where kernel.yama.ptrace_scope = 1 lets a process trace only its children, the demo still needs no
	 * root. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	pthread_create(&thread, NULL, rester, NULL);
	target_ready();
	worker(NULL);
	return 0;
}
