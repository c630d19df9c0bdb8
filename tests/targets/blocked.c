/* Threads that sit in known system calls, each below a function of its own name. Prints "tid N NAME". */
#include "target.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

static int pipe_fds[2]; /* nothing is ever written to it */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t started;

__attribute__((noinline)) int wait_in_epoll(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd = epoll_create1(0);
	epoll_ctl(fd, EPOLL_CTL_ADD, pipe_fds[0], &event);
	return epoll_wait(fd, &event, 1, -1) + 1;
}

__attribute__((noinline)) int wait_in_futex(void)
{
	pthread_mutex_lock(&mutex);
	for (;;)
		pthread_cond_wait(&never, &mutex);
}

__attribute__((noinline)) int wait_in_sleep(void)
{
	struct timespec day = {.tv_sec = 86400};
	return nanosleep(&day, NULL) + 1;
}

__attribute__((noinline)) int wait_in_read(void)
{
	char byte;
	return (int)read(pipe_fds[0], &byte, 1) + 1;
}

__attribute__((noinline)) int wait_in_poll(void)
{
	struct pollfd fd = {.fd = pipe_fds[0], .events = POLLIN};
	return poll(&fd, 1, -1) + 1;
}

/* Not in glibc's order: the array is the test's list of names too. */
static const struct waiter {
	const char *name;
	int (*wait)(void);
} waiters[] = {
	{"in_epoll", wait_in_epoll},
	{"in_futex", wait_in_futex},
	{"in_sleep", wait_in_sleep},
	{"in_read", wait_in_read},
	{"in_poll", wait_in_poll},
};

enum { WAITERS = sizeof waiters / sizeof *waiters };

static pid_t tids[WAITERS];

static void *thread_main(void *arg)
{
	const struct waiter *waiter = arg;
	volatile int result;
	pthread_setname_np(pthread_self(), waiter->name);
	tids[waiter - waiters] = (pid_t)syscall(SYS_gettid);
	pthread_barrier_wait(&started);
	result = waiter->wait();
	(void)result;
	return NULL;
}

/* Until /proc says that the thread sleeps in another call than the barrier's futex, or, for the futex, just
 * sleeps. */
static void await_sleep(pid_t tid)
{
	char path[64], state = '?';
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
	while (state != 'S') {
		FILE *file = fopen(path, "r");
		if (file == NULL || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
			exit(1);
		fclose(file);
		usleep(1000);
	}
}

int main(void)
{
	target_init();
	if (pipe(pipe_fds) != 0)
		return 1;
	pthread_barrier_init(&started, NULL, WAITERS + 1);
	for (size_t i = 0; i < WAITERS; i++) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, thread_main, (void *)&waiters[i]) != 0)
			return 1;
	}
	pthread_barrier_wait(&started);
	usleep(10000); /* let them leave the barrier, then look */
	for (size_t i = 0; i < WAITERS; i++) {
		await_sleep(tids[i]);
		printf("tid %d %s\n", tids[i], waiters[i].name);
	}
	target_ready();
	for (;;)
		pause();
}
