/* A timer's handler that burns CPU on an alternate stack: half of the time, above interrupted() which main
 * calls. */
#include "target.h"

#include <sys/time.h>

static volatile uint64_t sink = 1, handler_sink = 1;

__attribute__((noinline)) void handler_work(void)
{
	uint64_t until_ns = target_clock_ns(CLOCK_MONOTONIC) + 10000000;
	while (target_clock_ns(CLOCK_MONOTONIC) < until_ns)
		handler_sink = target_mix(handler_sink, 20000);
}

static void on_alarm(int sig)
{
	(void)sig;
	handler_work();
	handler_sink++; /* after the call: no tail call */
}

__attribute__((noinline)) void interrupted(void)
{
	for (;;)
		sink = target_mix(sink, 200000);
}

int main(void)
{
	enum { STACK_BYTES = 128 * 1024 };
	stack_t stack = {.ss_sp = malloc(STACK_BYTES), .ss_size = STACK_BYTES};
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK | SA_RESTART};
	struct itimerval every = {.it_interval = {.tv_usec = 20000}, .it_value = {.tv_usec = 20000}};
	target_init();
	if (stack.ss_sp == NULL || sigaltstack(&stack, NULL) != 0 || sigaction(SIGALRM, &action, NULL) != 0 ||
		setitimer(ITIMER_REAL, &every, NULL) != 0)
		return 1;
	target_ready();
	interrupted();
	return (int)sink;
}
