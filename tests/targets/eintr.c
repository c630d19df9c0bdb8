/* Threads in calls that a ptrace stop ends with EINTR: epoll_wait with timeouts of 1 and 20 ms, sigtimedwait,
 * semtimedop. No signal has a handler in them, so no EINTR is ever right. On SIGTERM prints how many calls and
 * how many EINTR there were. */
#include "target.h"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/sem.h>

static unsigned long calls, interrupted; /* both only through __atomic */

static void count(int result)
{
	__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
	if (result == -1 && errno == EINTR)
		__atomic_fetch_add(&interrupted, 1, __ATOMIC_RELAXED);
}

static void *in_epoll(void *arg)
{
	int fd = epoll_create1(0);
	struct epoll_event event;
	volatile uint64_t sink = 1;
	for (;;) {
		count(epoll_wait(fd, &event, 1, *(const int *)arg));
		sink = target_mix(sink, 20000);
	}
	return NULL;
}

static void *in_sigtimedwait(void *arg)
{
	struct timespec timeout = {.tv_nsec = 2000000};
	sigset_t set;
	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	for (;;)
		count(sigtimedwait(&set, NULL, &timeout));
	return NULL;
}

static void *in_semtimedop(void *arg)
{
	struct timespec timeout = {.tv_nsec = 2000000};
	struct sembuf wait = {.sem_op = -1};
	for (;;)
		count(semtimedop(*(const int *)arg, &wait, 1, &timeout));
	return NULL;
}

int main(void)
{
	static const int timeouts_ms[] = {1, 1, 20};
	int semaphore = semget(IPC_PRIVATE, 1, 0600), sig;
	sigset_t set;
	pthread_t thread;
	target_init();
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < sizeof timeouts_ms / sizeof *timeouts_ms; i++)
		pthread_create(&thread, NULL, in_epoll, (void *)&timeouts_ms[i]);
	pthread_create(&thread, NULL, in_sigtimedwait, NULL);
	if (semaphore != -1)
		pthread_create(&thread, NULL, in_semtimedop, &semaphore);
	target_ready();
	sigdelset(&set, SIGUSR2);
	sigwait(&set, &sig);
	if (semaphore != -1)
		semctl(semaphore, 0, IPC_RMID);
	printf("calls %lu eintr %lu\n", __atomic_load_n(&calls, __ATOMIC_RELAXED),
		__atomic_load_n(&interrupted, __ATOMIC_RELAXED));
	return 0;
}
