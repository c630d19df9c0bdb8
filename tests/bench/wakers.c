/* `wakers THREADS MS`: threads that each wait for a semaphore of their own; every MS milliseconds one of them,
 * at random, is woken and waits again. MS 0: none ever is. The price of finding out which one woke. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static void *wait_for_ever(void *semaphore)
{
	for (;;)
		sem_wait(semaphore);
	return NULL;
}

int main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
	useconds_t ms = argc > 2 ? (useconds_t)atoi(argv[2]) : 0;
	sem_t *semaphores = calloc(n, sizeof *semaphores);
	pthread_attr_t small;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	for (size_t i = 0; i < n; i++) {
		pthread_t thread;
		sem_init(&semaphores[i], 0, 0);
		if (pthread_create(&thread, &small, wait_for_ever, &semaphores[i]) != 0)
			return 1;
	}
	usleep(200000);
	puts("ready");
	fflush(stdout);
	while (ms == 0)
		pause();
	for (;;) {
		usleep(1000 * ms);
		sem_post(&semaphores[(size_t)rand() % n]);
	}
}
