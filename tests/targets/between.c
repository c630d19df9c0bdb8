/* Work of about a microsecond and more between two system calls: `between calls` calls getppid(2), `between
 * waits` reads a byte from a pipe that another process fills every 60 us, `between naps` sleeps for some 60 us.
 * On SIGTERM prints which share of its CPU time the calls had, by what the work alone takes. */
#include "target.h"

#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { CALLS_STEPS = 1000, WAITS_STEPS = 12000, CALIBRATIONS = 2000 };

static volatile sig_atomic_t done;
static volatile uint64_t sink = 1;

static void on_term(int sig)
{
	(void)sig;
	done = 1;
}

__attribute__((noinline)) static void work(unsigned steps)
{
	sink = target_mix(sink, steps);
}

static volatile long result;

__attribute__((noinline)) static void call(void)
{
	result = syscall(SYS_getppid);
}

__attribute__((noinline)) static void await(int fd)
{
	char byte;
	result = read(fd, &byte, 1);
}

__attribute__((noinline)) static void nap(void)
{
	const struct timespec t = {0, 60000};
	nanosleep(&t, NULL);
}

/* The least of many: nothing else was in it. */
static uint64_t work_ns(unsigned steps)
{
	uint64_t least = UINT64_MAX;
	for (int i = 0; i < CALIBRATIONS; i++) {
		uint64_t before = target_clock_ns(CLOCK_MONOTONIC);
		for (int j = 0; j < 10; j++)
			work(steps);
		uint64_t took = (target_clock_ns(CLOCK_MONOTONIC) - before) / 10;
		least = took < least ? took : least;
	}
	return least;
}

static int start_filler(void)
{
	int ends[2];
	if (pipe(ends) != 0)
		exit(1);
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		signal(SIGPIPE, SIG_DFL);
		close(ends[0]);
		for (uint64_t next = target_clock_ns(CLOCK_MONOTONIC);; next += 60000) {
			while (target_clock_ns(CLOCK_MONOTONIC) < next)
				;
			if (write(ends[1], "", 1) != 1)
				_exit(0);
		}
	}
	close(ends[1]);
	return ends[0];
}

int main(int argc, char **argv)
{
	target_init();
	bool waits = argc > 1 && strcmp(argv[1], "waits") == 0;
	bool naps = argc > 1 && strcmp(argv[1], "naps") == 0;
	unsigned steps = waits ? WAITS_STEPS : naps ? WAITS_STEPS / 2 : CALLS_STEPS;
	/* With the usual slack every timer's interrupt would end a nap that is nearly over, the profiler's,
	 * too. */
	if (naps)
		prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
	int fd = waits ? start_filler() : -1;
	double each_ns = (double)work_ns(steps), turns = 0;
	struct sigaction action = {.sa_handler = on_term};
	sigaction(SIGTERM, &action, NULL);
	target_ready();
	uint64_t start = target_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (; !done; turns++) {
		if (waits)
			await(fd);
		else if (naps)
			nap();
		else
			call();
		work(steps);
	}
	double used = (double)(target_clock_ns(CLOCK_THREAD_CPUTIME_ID) - start);
	printf("calls %.4f\n", 1 - turns * each_ns / used);
	return 0;
}
