/* Writes a megabyte at a time to a pipe that a second thread empties, and counts how often write(2) did less.
 * On SIGTERM it prints `writes N short N`. Left alone, none is short. */
#include "target.h"

#include <pthread.h>

enum { BYTES = 1 << 20 };

static char sent[BYTES], received[BYTES];
static int ends[2];
static volatile sig_atomic_t done;

static void on_term(int sig)
{
	(void)sig;
	done = 1;
}

static void *reader(void *arg)
{
	(void)arg;
	while (read(ends[0], received, sizeof received) > 0)
		continue;
	return NULL;
}

int main(void)
{
	pthread_t thread;
	unsigned long writes = 0, cut_short = 0;
	sigset_t term;
	target_init();
	if (pipe(ends) != 0)
		return 1;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, NULL);
	pthread_create(&thread, NULL, reader, NULL);
	pthread_sigmask(SIG_UNBLOCK, &term, NULL);
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term, .sa_flags = SA_RESTART}, NULL);
	target_ready();
	while (!done) {
		ssize_t n = write(ends[1], sent, sizeof sent);
		if (n <= 0)
			return 2;
		writes++;
		cut_short += (size_t)n < sizeof sent && !done;
	}
	printf("writes %lu short %lu\n", writes, cut_short);
	fflush(stdout);
	_exit(0);
}
