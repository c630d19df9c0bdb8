/* Threads that wait, each in a call whose arguments it knows: prints "tid N NAME", and for each "call NAME
 * TEXT" with how the call reads in words. An asterisk stands for an address. */
#include "target.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static int pipe_fds[2], pair[2], listener, epoll_fd, locked_fd;
static char pipe_name[128], pair_name[128], listener_name[128];
static sem_t never;

static long in_nanosleep(void)
{
	struct timespec time = {1000, 250000000};
	return syscall(SYS_nanosleep, &time, NULL);
}

static long in_clock_nanosleep(void)
{
	struct timespec time = {4000000000, 0};
	return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static long in_read(void)
{
	char bytes[7];
	return read(pipe_fds[0], bytes, sizeof bytes);
}

static long in_recvfrom(void)
{
	char bytes[9];
	return recv(pair[0], bytes, sizeof bytes, 0);
}

static long in_accept(void)
{
	return accept(listener, NULL, NULL);
}

static long in_epoll_wait(void)
{
	struct epoll_event event;
	return syscall(SYS_epoll_wait, epoll_fd, &event, 1, 86400000);
}

static long in_poll(void)
{
	struct pollfd fds[2] = {{.fd = pipe_fds[0], .events = POLLIN}, {.fd = pair[0], .events = POLLIN}};
	return syscall(SYS_poll, fds, 2, -1);
}

static long in_ppoll(void)
{
	struct timespec day = {86400, 0};
	struct pollfd fd = {.fd = pipe_fds[0], .events = POLLIN};
	return syscall(SYS_ppoll, &fd, 1, &day, NULL, 8);
}

static long in_select(void)
{
	struct timeval time = {86400, 500000};
	return syscall(SYS_select, 0, NULL, NULL, NULL, &time);
}

static long in_futex(void)
{
	return sem_wait(&never);
}

static long in_flock(void)
{
	return flock(locked_fd, LOCK_EX);
}

static long in_sigtimedwait(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	return sigwaitinfo(&set, NULL);
}

/* Uninterruptible until the child ends, which it does with this thread. */
static long in_vfork(void)
{
	if (vfork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		for (;;)
			syscall(SYS_pause);
	}
	return 0;
}

static const struct wait {
	const char *name;
	long (*wait)(void);
} waits[] = {
	{"nanosleep", in_nanosleep},
	{"clock_nanosleep", in_clock_nanosleep},
	{"read", in_read},
	{"recvfrom", in_recvfrom},
	{"accept", in_accept},
	{"epoll_wait", in_epoll_wait},
	{"poll", in_poll},
	{"ppoll", in_ppoll},
	{"select", in_select},
	{"futex", in_futex},
	{"flock", in_flock},
	{"sigtimedwait", in_sigtimedwait},
	{"vfork", in_vfork},
};

enum { WAITS = sizeof waits / sizeof *waits };

static pid_t tids[WAITS];
static pthread_barrier_t started;

static void *thread_main(void *arg)
{
	const struct wait *wait = arg;
	volatile long result;
	pthread_setname_np(pthread_self(), wait->name);
	tids[wait - waits] = (pid_t)syscall(SYS_gettid);
	pthread_barrier_wait(&started);
	result = wait->wait();
	(void)result;
	return NULL;
}

/* Until /proc says that the thread waits in another call than the barrier's, or, for the semaphore, in a futex.
 */
static void await_call(size_t i)
{
	char path[64];
	int nr = -1;
	snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tids[i]);
	while (nr == -1 || (nr == SYS_futex && strcmp(waits[i].name, "futex") != 0)) {
		FILE *file = fopen(path, "r");
		if (file == NULL)
			exit(1);
		if (fscanf(file, "%d", &nr) != 1)
			nr = -1;
		fclose(file);
		usleep(1000);
	}
}

static void read_name(int fd, char name[128])
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, name, 127);
	name[n > 0 ? n : 0] = '\0';
}

static void open_all(void)
{
	char path[] = "/tmp/waits-XXXXXX";
	struct epoll_event event = {.events = EPOLLIN};
	int other = mkstemp(path);
	locked_fd = open(path, O_RDWR);
	unlink(path);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	epoll_fd = epoll_create1(0);
	if (pipe(pipe_fds) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || listen(listener, 1) != 0 ||
		flock(other, LOCK_EX) != 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pipe_fds[0], &event) != 0 ||
		sem_init(&never, 0, 0) != 0)
		exit(1);
	read_name(pipe_fds[0], pipe_name);
	read_name(pair[0], pair_name);
	read_name(listener, listener_name);
}

static void say_calls(void)
{
	printf("call nanosleep nanosleep(1000.25 s)\n");
	printf("call clock_nanosleep clock_nanosleep(CLOCK_MONOTONIC, until 4000000000 s)\n");
	printf("call read read(fd %d -> %s, *, 7)\n", pipe_fds[0], pipe_name);
	printf("call recvfrom recvfrom(fd %d -> %s, *, 9, 0x0, NULL, NULL)\n", pair[0], pair_name);
	printf("call accept accept(fd %d -> %s, NULL, NULL)\n", listener, listener_name);
	printf("call epoll_wait epoll_wait(fd %d -> anon_inode:[eventpoll], *, 1, timeout 86400000 ms)\n",
		epoll_fd);
	printf("call poll poll([fd %d -> %s, fd %d -> %s], 2, no timeout)\n", pipe_fds[0], pipe_name, pair[0],
		pair_name);
	printf("call ppoll ppoll([fd %d -> %s], 1, timeout 86400 s, NULL, 8)\n", pipe_fds[0], pipe_name);
	printf("call select select(0, NULL, NULL, NULL, timeout 86400.5 s)\n");
	printf("call futex futex(*, FUTEX_WAIT_BITSET_PRIVATE, 0, no timeout)\n");
	printf("call flock flock(fd %d -> *, 2)\n", locked_fd);
	printf("call sigtimedwait rt_sigtimedwait(*, NULL, no timeout, 8)\n");
	printf("call vfork vfork(*)\n");
}

int main(void)
{
	sigset_t set;
	target_init();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	open_all();
	pthread_barrier_init(&started, NULL, WAITS + 1);
	for (size_t i = 0; i < WAITS; i++) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, thread_main, (void *)&waits[i]) != 0)
			return 1;
	}
	pthread_barrier_wait(&started);
	for (size_t i = 0; i < WAITS; i++) {
		await_call(i);
		printf("tid %d %s\n", tids[i], waits[i].name);
	}
	say_calls();
	target_ready();
	for (;;)
		pause();
}
