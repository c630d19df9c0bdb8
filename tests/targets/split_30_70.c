/* Two functions that share the CPU 30 to 70, by the thread's own CPU clock; on SIGTERM prints the share that
 * thirty got. A round takes 100 ms of CPU: no round number of sampling periods of a usual rate. */
#include "target.h"

static volatile sig_atomic_t done;
static volatile uint64_t sink = 1;

static void on_term(int sig)
{
	(void)sig;
	done = 1;
}

/* The two are written out: one shared body might be merged (-fipa-icf), and a shared callee would hide the
 * shares. */
__attribute__((noinline)) uint64_t thirty(uint64_t until_ns)
{
	uint64_t now;
	while ((now = target_clock_ns(CLOCK_THREAD_CPUTIME_ID)) < until_ns)
		sink = target_mix(sink, 50000);
	return now;
}

__attribute__((noinline)) uint64_t seventy(uint64_t until_ns)
{
	uint64_t now;
	while ((now = target_clock_ns(CLOCK_THREAD_CPUTIME_ID)) < until_ns)
		sink = target_mix(sink, 50000);
	return now;
}

int main(void)
{
	uint64_t spent[2] = {0, 0};
	target_init();
	signal(SIGTERM, on_term);
	target_ready();
	uint64_t start = target_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	while (!done) {
		uint64_t between = thirty(start + 30000000);
		spent[0] += between - start;
		/* An overshoot of one half is made up for by the other: 7 ns here for every 3 there. */
		start = seventy(between + (spent[0] / 3) * 7 - spent[1]);
		spent[1] += start - between;
	}
	printf("thirty %.6f\n", (double)spent[0] / (double)(spent[0] + spent[1]));
	return 0;
}
