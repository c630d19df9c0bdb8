/* Forks children that burn a millisecond and exit, and reaps each one by its PID. On SIGTERM prints how many.
 */
#include "target.h"

#include <sys/wait.h>

static volatile sig_atomic_t done;

static void on_term(int sig)
{
	(void)sig;
	done = 1;
}

__attribute__((noinline)) uint64_t child_work(void)
{
	return target_mix(7, 1000000);
}

__attribute__((noinline)) uint64_t parent_work(uint64_t x)
{
	return target_mix(x, 2000000) ^ 1;
}

int main(void)
{
	unsigned long forked = 0, reaped = 0;
	volatile uint64_t sink = 1;
	target_init();
	signal(SIGTERM, on_term);
	target_ready();
	while (!done) {
		pid_t child = fork();
		if (child == 0)
			_exit((int)(child_work() & 1) * 0 + 3);
		int status;
		forked++;
		sink = parent_work(sink);
		pid_t got;
		do
			got = waitpid(child, &status, 0);
		while (got == -1 && done);
		if (got == child && WIFEXITED(status) && WEXITSTATUS(status) == 3)
			reaped++;
	}
	printf("forked %lu reaped %lu\n", forked, reaped);
	return 0;
}
