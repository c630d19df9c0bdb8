/* A parent that knows exactly what it is to be told of its children, in all the ways in which one can ask: it
 * makes them, stops them, lets them go on and kills them until SIGTERM, and then prints how many, and for each
 * way how often it was told anything else. */
#include "target.h"

#include <errno.h>
#include <sys/wait.h>

enum way { BY_CODE, BY_SIGNAL, BY_SIGCHLD, BY_WAITID, BY_STOP, BY_STOP_AT_ONCE, WAYS };

static const char *const names[WAYS] = {"code", "signal", "sigchld", "waitid", "stop", "stop_at_once"};
static unsigned long rounds, wrong[WAYS];

__attribute__((noinline)) uint64_t waiter_work(uint64_t x)
{
	return target_mix(x, 200000);
}

static pid_t child_of(void (*live)(void))
{
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		live();
		_exit(7);
	}
	return child;
}

static void end(void)
{
}

static void wait_for_signal(void)
{
	for (;;)
		pause();
}

static void stop(void)
{
	raise(SIGSTOP);
}

static void work_and_stop(void)
{
	volatile uint64_t sink = target_mix(3, 3000000);
	(void)sink;
	raise(SIGSTOP);
}

static bool is_told(pid_t child, int options, int expected)
{
	int status = 0;
	return waitpid(child, &status, options) == child && status == expected;
}

static bool is_gone(pid_t child)
{
	return waitpid(child, NULL, WNOHANG) == -1 && errno == ECHILD;
}

static int exited(int code)
{
	return code << 8;
}

static bool by_code(void)
{
	pid_t child = child_of(end);
	return is_told(child, 0, exited(7)) && is_gone(child);
}

static bool by_signal(void)
{
	pid_t child = child_of(wait_for_signal);
	kill(child, SIGUSR1);
	return is_told(child, WUNTRACED | WCONTINUED, SIGUSR1) && is_gone(child);
}

static bool by_sigchld(void)
{
	siginfo_t info;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	struct timespec none = {0, 0};
	while (sigtimedwait(&set, &info, &none) > 0)
		;
	pid_t child = child_of(end);
	if (sigwaitinfo(&set, &info) != SIGCHLD || info.si_pid != child || info.si_code != CLD_EXITED ||
		info.si_status != 7)
		return false;
	/* Whoever is told of an end may collect it at once. */
	return is_told(child, WNOHANG, exited(7)) && is_gone(child) && sigtimedwait(&set, &info, &none) < 0;
}

static bool by_waitid(void)
{
	siginfo_t info = {0};
	pid_t child = child_of(end);
	for (int i = 0; i < 2; i++)
		if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) != 0 || info.si_pid != child ||
			info.si_code != CLD_EXITED || info.si_status != 7)
			return false;
	return is_told(child, 0, exited(7)) && is_gone(child);
}

static bool stops_goes_on_and_ends(pid_t child)
{
	if (!is_told(child, WUNTRACED, SIGSTOP << 8 | 0x7f))
		return false;
	/* A stop is told once. */
	if (waitpid(child, NULL, WUNTRACED | WNOHANG) != 0)
		return false;
	kill(child, SIGCONT);
	int status = 0;
	pid_t told = waitpid(child, &status, WCONTINUED);
	if (told == child && status == 0xffff)
		told = waitpid(child, &status, WCONTINUED);
	/* It may have ended before it was asked for. */
	return told == child && status == exited(7) && is_gone(child);
}

static bool by_stop(void)
{
	return stops_goes_on_and_ends(child_of(work_and_stop));
}

static bool by_stop_at_once(void)
{
	return stops_goes_on_and_ends(child_of(stop));
}

int main(void)
{
	static bool (*const ways[WAYS])(void) = {
		by_code, by_signal, by_sigchld, by_waitid, by_stop, by_stop_at_once};
	volatile uint64_t sink = 1;
	sigset_t set, pending;
	target_init();
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	target_ready();
	do {
		alarm(20); /* a word that never comes must not be waited for without end */
		for (int way = 0; way < WAYS; way++)
			wrong[way] += !ways[way]();
		sink = waiter_work(sink);
		rounds++;
		sigpending(&pending);
	} while (!sigismember(&pending, SIGTERM));
	printf("rounds %lu", rounds);
	for (int way = 0; way < WAYS; way++)
		printf(" %s %lu", names[way], wrong[way]);
	puts("");
	return 0;
}
