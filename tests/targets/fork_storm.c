/* Four threads that make processes as fast as they can: two by fork, one by vfork, one by posix_spawn of this
 * same file, which then ends at once. Each reaps its own. On SIGTERM prints how many, and how many ended with
 * the code that they were to. */
#include "target.h"

#include <pthread.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;
static unsigned long made, reaped; /* only through __atomic */
static volatile sig_atomic_t done;

static pid_t make(int how)
{
	char *arguments[] = {"fork_storm", "child", NULL};
	pid_t child;
	switch (how) {
	case 0:
		return posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ) == 0 ? child : -1;
	case 1:
		child = vfork();
		break;
	default:
		child = fork();
	}
	if (child == 0)
		_exit(3);
	return child;
}

__attribute__((noinline)) uint64_t storm_work(uint64_t x)
{
	return target_mix(x, 300000);
}

static void *storm(void *arg)
{
	volatile uint64_t sink = 1;
	while (!done) {
		int status;
		pid_t child = make((int)(intptr_t)arg);
		__atomic_fetch_add(&made, 1, __ATOMIC_RELAXED);
		if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
			WEXITSTATUS(status) == 3)
			__atomic_fetch_add(&reaped, 1, __ATOMIC_RELAXED);
		sink = storm_work(sink);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[4];
	sigset_t set;
	int sig;
	if (argc > 1 && strcmp(argv[1], "child") == 0)
		_exit(3);
	target_init();
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (intptr_t i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, storm, (void *)i) != 0)
			return 1;
	target_ready();
	sigwait(&set, &sig);
	done = 1;
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	printf("made %lu reaped %lu\n", made, reaped);
	return 0;
}
