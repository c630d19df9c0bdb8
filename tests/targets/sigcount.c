/* Counts the signals that reach its handlers: echoes one byte for each SIGUSR1, counts SIGRTMIN (which queues),
 * and on SIGTERM prints both counts. Busy in between, so that it is interrupted while it runs. */
#include "target.h"

static volatile sig_atomic_t usr1, rtmin, done;

static void on_usr1(int sig)
{
	(void)sig;
	usr1++;
	if (write(STDOUT_FILENO, ".", 1) != 1)
		_exit(1);
}

static void on_rtmin(int sig)
{
	(void)sig;
	rtmin++;
}

static void on_term(int sig)
{
	(void)sig;
	done = 1;
}

int main(void)
{
	volatile uint64_t sink = 1;
	struct sigaction action = {.sa_handler = on_usr1, .sa_flags = SA_RESTART};
	target_init();
	sigaction(SIGUSR1, &action, NULL);
	action.sa_handler = on_rtmin;
	sigaction(SIGRTMIN, &action, NULL);
	action.sa_handler = on_term;
	sigaction(SIGTERM, &action, NULL);
	target_ready();
	while (!done)
		sink = target_mix(sink, 20000);
	printf("usr1 %d rtmin %d\n", (int)usr1, (int)rtmin);
	return 0;
}
