/* A line of descent: `kin MS STEP...` works for MS milliseconds of CPU time, and hands the steps that are left
 * on: to a child (fork, vfork, spawn, thread: forked by one of four threads, which all work), or to itself
 * (exec). Each process reaps its child by its PID, which must give the child's status, once, and prints what
 * the kernel says of it: `child PID STEP NANOSECONDS`. The exit code is the number of processes that were still
 * to come, or 99 when something was wrong. */
#include "target.h"

#include <errno.h>
#include <pthread.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { WRONG = 99, MAX = 32 };

extern char **environ;
static char *self, *milliseconds;

/* By the clock of the thread: others work meanwhile. */
__attribute__((noinline)) uint64_t own_work(void)
{
	uint64_t x = 1,
		 until = target_clock_ns(CLOCK_THREAD_CPUTIME_ID) + strtoul(milliseconds, NULL, 10) * 1000000;
	while (target_clock_ns(CLOCK_THREAD_CPUTIME_ID) < until)
		x = target_mix(x, 20000);
	return x;
}

static int run(char **steps);

/* Processes still to come. */
static int count(char **steps)
{
	int n = 0;
	for (; *steps != NULL; steps++)
		n += strcmp(*steps, "exec") != 0;
	return n;
}

static char **command(char **steps)
{
	static char *words[MAX];
	size_t n = 0;
	words[n++] = self;
	words[n++] = milliseconds;
	while (*steps != NULL && n + 1 < MAX)
		words[n++] = *steps++;
	words[n] = NULL;
	return words;
}

static int reap(pid_t child, const char *step, int expected)
{
	int status;
	struct rusage used;
	if (child <= 0 || wait4(child, &status, 0, &used) != child || !WIFEXITED(status) ||
		WEXITSTATUS(status) != expected)
		return WRONG;
	/* Its end is told once. */
	if (waitpid(child, &status, WNOHANG) != -1 || errno != ECHILD)
		return WRONG;
	long long us = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL + used.ru_utime.tv_usec +
		       used.ru_stime.tv_usec;
	printf("child %d %s %lld\n", child, step, us * 1000);
	fflush(stdout);
	return 0;
}

static pid_t beget(char **steps)
{
	char **words = command(steps + 1);
	pid_t child = -1;
	if (strcmp(steps[0], "spawn") == 0)
		return posix_spawn(&child, self, NULL, NULL, words, environ) == 0 ? child : -1;
	if (strcmp(steps[0], "vfork") == 0) {
		child = vfork();
		if (child == 0) {
			execv(self, words);
			_exit(WRONG);
		}
		return child;
	}
	child = fork();
	if (child == 0)
		_exit(run(steps + 1));
	return child;
}

static void *work_and_fork(void *argument)
{
	char **steps = argument;
	volatile uint64_t sink = own_work();
	(void)sink;
	if (steps == NULL)
		return NULL;
	pid_t child = beget(steps);
	return (void *)(intptr_t)reap(child, steps[0], count(steps) - 1);
}

static int run_threads(char **steps)
{
	pthread_t threads[4];
	void *wrong = NULL, *of_one;
	for (size_t i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, work_and_fork, i == 2 ? steps : NULL) != 0)
			return WRONG;
	for (size_t i = 0; i < 4; i++) {
		pthread_join(threads[i], &of_one);
		wrong = of_one != NULL ? of_one : wrong;
	}
	return wrong != NULL ? WRONG : count(steps);
}

static int run(char **steps)
{
	volatile uint64_t sink = own_work();
	(void)sink;
	if (steps[0] == NULL)
		return 0;
	if (strcmp(steps[0], "thread") == 0)
		return run_threads(steps);
	if (strcmp(steps[0], "exec") == 0) {
		execv(self, command(steps + 1));
		return WRONG;
	}
	return reap(beget(steps), steps[0], count(steps) - 1) == 0 ? count(steps) : WRONG;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return WRONG;
	self = argv[0];
	milliseconds = argv[1];
	return run(argv + 2);
}
