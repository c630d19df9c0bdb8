/* Threads that read the clock in a tight loop: `spin THREADS`. For every line read from stdin it prints, of the
 * time since the last one, how many times the clock was read by all, and of the first thread's gaps above 5 us
 * between two readings their number, and p50, p99 and maximum in us. A line with a number N has these three of
 * the N largest gaps: of N pauses they are upper bounds, whatever else held the thread up meanwhile. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

enum { GAP_NS = 5000, GAPS_MAX = 1 << 20 };

static _Atomic uint64_t turns;
static uint32_t gaps[GAPS_MAX];
static _Atomic uint32_t n_gaps;

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *spin(void *argument)
{
	int first = argument != NULL;
	for (uint64_t last = now_ns(), n = 0;; n++) {
		uint64_t now = now_ns();
		uint32_t at = atomic_load_explicit(&n_gaps, memory_order_relaxed);
		if (first && now - last > GAP_NS && at < GAPS_MAX) {
			gaps[at] = (uint32_t)((now - last) / 100);
			atomic_store_explicit(&n_gaps, at + 1, memory_order_release);
		}
		last = now;
		if (n % 1024 == 0)
			atomic_fetch_add_explicit(&turns, 1024, memory_order_relaxed);
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static void report(uint32_t largest)
{
	static uint32_t sorted[GAPS_MAX];
	uint32_t n = atomic_exchange(&n_gaps, 0);
	for (uint32_t i = 0; i < n; i++)
		sorted[i] = gaps[i];
	qsort(sorted, n, sizeof *sorted, compare);
	const uint32_t k = largest > 0 && largest < n ? largest : n, *tail = sorted + (n - k);
	printf("%llu %u %.1f %.1f %.1f\n", (unsigned long long)atomic_exchange(&turns, 0), n,
		k > 0 ? tail[k / 2] / 10.0 : 0, k > 0 ? tail[(uint64_t)k * 99 / 100] / 10.0 : 0,
		k > 0 ? tail[k - 1] / 10.0 : 0);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 1;
	char line[16];
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	for (int i = 0; i < n; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, spin, i == 0 ? argv : NULL);
	}
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin) != NULL)
		report((uint32_t)strtoul(line, NULL, 10));
	return 0;
}
