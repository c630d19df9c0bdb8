/* Two threads; on SIGUSR1 the second one executes the same file again, which then burns in after_exec(). */
#include "target.h"

#include <pthread.h>
#include <string.h>

static char **arguments;

__attribute__((noinline)) uint64_t before_exec(uint64_t x)
{
	return target_mix(x, 200000) ^ 1;
}

__attribute__((noinline)) uint64_t after_exec(uint64_t x)
{
	return target_mix(x, 200000) ^ 2;
}

/* execve from a thread that is not the leader: its TID becomes the PID, and the leader vanishes. */
static void *exec_on_signal(void *arg)
{
	sigset_t *set = arg;
	int sig;
	char *again[] = {arguments[0], "again", NULL};
	if (sigwait(set, &sig) == 0)
		execv("/proc/self/exe", again);
	_exit(1);
}

int main(int argc, char **argv)
{
	volatile uint64_t sink = 1;
	sigset_t set;
	pthread_t thread;
	target_init();
	arguments = argv;
	if (argc > 1 && strcmp(argv[1], "again") == 0) {
		puts("again");
		fflush(stdout);
		for (;;)
			sink = after_exec(sink);
	}
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (pthread_create(&thread, NULL, exec_on_signal, &set) != 0)
		return 1;
	target_ready();
	for (;;)
		sink = before_exec(sink);
}
