/* Every call that can block and that signal(7) says may fail with EINTR: how to block in it, and how to let it
 * end. */
#include "eintr_canary.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <pty.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { SOON_US = 3000, LATER_US = 20000, NEVER_US = 60000000, LARGE = 256 << 10 };

_Atomic pid_t eintr_feeder;

#define ARG(cell, ...)                                                                                         \
	do {                                                                                                   \
		const long args_[] = {__VA_ARGS__};                                                            \
		memcpy((cell)->arg, args_, sizeof args_);                                                      \
	} while (0)
#define POINTER(p) ((long)(intptr_t)(p))

static uint64_t timeout_ns(const struct cell *cell)
{
	return (uint64_t)cell->kind->timeout_us * 1000;
}

static struct timespec *to_timespec(struct cell *cell, uint64_t ns)
{
	cell->time = (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
	return &cell->time;
}

/* The call's own timeout, written anew since some calls change it; NULL when it has none. */
static long relative(struct cell *cell)
{
	return cell->kind->timeout_us == 0 ? 0 : POINTER(to_timespec(cell, timeout_ns(cell)));
}

static long absolute(struct cell *cell, clockid_t clock)
{
	return cell->kind->timeout_us == 0
		       ? 0
		       : POINTER(to_timespec(cell, target_clock_ns(clock) + timeout_ns(cell)));
}

static void set_nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* ---- fd: reads and writes ---- */

static int keep_pair(struct cell *cell, int fd, int other)
{
	cell->fd = fd;
	cell->other = other;
	set_nonblocking(other);
	return 0;
}

static int open_pipe(struct cell *cell)
{
	int fds[2];
	return pipe(fds) != 0 ? -1 : keep_pair(cell, fds[0], fds[1]);
}

static int open_socketpair(struct cell *cell)
{
	int fds[2];
	struct timeval time = {cell->kind->timeout_us / 1000000, cell->kind->timeout_us % 1000000};
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
		return -1;
	if (cell->kind->timeout_us > 0) {
		setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
		setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
	}
	/* As little as the kernel gives: full after a write or two. */
	if (cell->kind->bytes < LARGE)
		setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int));
	return keep_pair(cell, fds[0], fds[1]);
}

static int open_tty(struct cell *cell)
{
	int master, slave;
	struct termios raw;
	if (openpty(&master, &slave, NULL, NULL, NULL) != 0)
		return -1;
	tcgetattr(slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	return keep_pair(cell, slave, master);
}

static int open_eventfd(struct cell *cell)
{
	cell->fd = cell->other = eventfd(0, 0);
	return cell->fd < 0 ? -1 : 0;
}

static int open_timerfd(struct cell *cell)
{
	cell->fd = timerfd_create(CLOCK_MONOTONIC, 0);
	return cell->fd < 0 ? -1 : 0;
}

static int open_signalfd(struct cell *cell)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + SIGNAL_TAKEN);
	cell->fd = signalfd(-1, &set, 0);
	return cell->fd < 0 ? -1 : 0;
}

static int temporary(struct cell *cell, const char *what)
{
	snprintf(cell->path, sizeof cell->path, "/tmp/eintr-%d-%s", getpid(), what);
	unlink(cell->path);
	return open(cell->path, O_RDWR | O_CREAT | O_EXCL, 0600);
}

static int open_inotify(struct cell *cell)
{
	cell->other = temporary(cell, "inotify");
	cell->fd = inotify_init1(0);
	int outcome = cell->other < 0 || cell->fd < 0 ? -1 : inotify_add_watch(cell->fd, cell->path, IN_MODIFY);
	unlink(cell->path);
	return outcome < 0 ? -1 : 0;
}

static int fill(int fd)
{
	static const char zeros[4096];
	set_nonblocking(fd);
	while (write(fd, zeros, sizeof zeros) > 0)
		;
	return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

static int open_writer(struct cell *cell)
{
	int fds[2];
	return pipe(fds) != 0 ? -1 : keep_pair(cell, fds[1], fds[0]);
}

static int open_full_pipe(struct cell *cell)
{
	if (open_writer(cell) != 0 || fcntl(cell->fd, F_SETPIPE_SZ, 4096) < 0)
		return -1;
	return fill(cell->fd);
}

static int open_full_socket(struct cell *cell)
{
	return open_socketpair(cell) != 0 ? -1 : fill(cell->fd);
}

/* What the call wrote may leave place for more: the next one is to block. */
static void after_write(struct cell *cell, long result)
{
	if (result > 0)
		fill(cell->fd);
}

static void arm_buffer(struct cell *cell)
{
	ARG(cell, cell->fd, POINTER(cell->buffer), (long)cell->kind->bytes, 0, 0, 0);
}

static void arm_waitall(struct cell *cell)
{
	ARG(cell, cell->fd, POINTER(cell->buffer), (long)cell->kind->bytes, MSG_WAITALL, 0, 0);
}

static void arm_iovec(struct cell *cell)
{
	static _Thread_local struct iovec v;
	v = (struct iovec){cell->buffer, cell->kind->bytes};
	ARG(cell, cell->fd, POINTER(&v), 1);
}

static void arm_message(struct cell *cell)
{
	static _Thread_local struct iovec v;
	static _Thread_local struct mmsghdr message;
	v = (struct iovec){cell->buffer, cell->kind->bytes};
	message = (struct mmsghdr){.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
	/* sendmsg and recvmsg take the first member and three arguments. */
	if (cell->kind->nr == SYS_recvmmsg || cell->kind->nr == SYS_sendmmsg)
		ARG(cell, cell->fd, POINTER(&message), 1, 0, 0);
	else
		ARG(cell, cell->fd, POINTER(&message.msg_hdr), 0);
}

static void arm_timerfd(struct cell *cell)
{
	struct itimerspec timer = {.it_value = {0, cell->kind->timeout_us * 1000}};
	timerfd_settime(cell->fd, 0, &timer, NULL);
	arm_buffer(cell);
}

static void arm_splice(struct cell *cell)
{
	if (cell->kind->nr == SYS_tee)
		ARG(cell, cell->fd, cell->third, 1, 0);
	else
		ARG(cell, cell->fd, 0, cell->third, 0, 1, 0);
}

static int open_splice(struct cell *cell)
{
	int fds[2];
	if (open_pipe(cell) != 0 || pipe(fds) != 0)
		return -1;
	cell->third = fds[1];
	cell->child = fds[0]; /* where it goes: emptied after each call */
	set_nonblocking(fds[0]);
	return 0;
}

static void after_splice(struct cell *cell, long result)
{
	char byte;
	if (result == 1 && read(cell->child, &byte, 1) == 1 && cell->kind->nr == SYS_tee &&
		read(cell->fd, &byte, 1) != 1)
		abort();
}

static bool feed_byte(struct cell *cell)
{
	return write(cell->other, "x", 1) == 1;
}

static bool feed_eight(struct cell *cell)
{
	static const uint64_t one = 1;
	return write(cell->other, &one, sizeof one) == sizeof one;
}

static bool feed_taken_signal(struct cell *cell)
{
	return syscall(SYS_tgkill, getpid(), cell->tid, SIGRTMIN + SIGNAL_TAKEN) == 0;
}

/* For a writer: takes all there is. */
static bool feed_place(struct cell *cell)
{
	static char sink[65536];
	while (read(cell->other, sink, sizeof sink) > 0)
		;
	return true;
}

static bool feed_pieces(struct cell *cell)
{
	return write(cell->other, cell->buffer, cell->kind->bytes / 4) > 0;
}

/* ---- sockets: accept, connect ---- */

static struct sockaddr_un unix_address(const struct cell *cell)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	/* Abstract: sun_path[0] is 0 and nothing is left behind in a file system. */
	snprintf(
		address.sun_path + 1, sizeof address.sun_path - 1, "eintr-%d-%p", getpid(), (const void *)cell);
	return address;
}

static int open_listener(struct cell *cell)
{
	struct sockaddr_un address = unix_address(cell);
	struct timeval time = {cell->kind->timeout_us / 1000000, cell->kind->timeout_us % 1000000};
	cell->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (cell->fd < 0 || bind(cell->fd, (struct sockaddr *)&address, sizeof address) != 0)
		return -1;
	if (cell->kind->timeout_us > 0)
		setsockopt(cell->fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
	return listen(cell->fd, 8);
}

static void arm_accept(struct cell *cell)
{
	ARG(cell, cell->fd, 0, 0, 0);
}

static bool feed_connection(struct cell *cell)
{
	struct sockaddr_un address = unix_address(cell);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	bool connected = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
	close(fd);
	return connected;
}

static void after_fd(struct cell *cell, long result)
{
	(void)cell;
	if (result >= 0)
		close((int)result);
}

/* A listener whose queue is full: connect waits until the feeder accepts one. */
static int open_full_listener(struct cell *cell)
{
	struct sockaddr_un address = unix_address(cell);
	cell->other = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	cell->fd = -1;
	if (cell->other < 0 || bind(cell->other, (struct sockaddr *)&address, sizeof address) != 0 ||
		listen(cell->other, 0) != 0)
		return -1;
	cell->third = socket(AF_UNIX, SOCK_STREAM, 0);
	return connect(cell->third, (struct sockaddr *)&address, sizeof address);
}

static void arm_connect(struct cell *cell)
{
	static _Thread_local struct sockaddr_un address;
	struct timeval time = {cell->kind->timeout_us / 1000000, cell->kind->timeout_us % 1000000};
	address = unix_address(cell);
	cell->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (cell->kind->timeout_us > 0)
		setsockopt(cell->fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
	ARG(cell, cell->fd, POINTER(&address), sizeof address);
}

static bool feed_accept(struct cell *cell)
{
	int fd = accept(cell->other, NULL, NULL);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void after_connect(struct cell *cell, long result)
{
	(void)result;
	close(cell->fd);
}

/* The same over TCP: the listener of the loopback drops what its queue cannot hold, so that connect waits for
 * its SO_SNDTIMEO. */
static int open_full_tcp(struct cell *cell)
{
	static struct sockaddr_in address;
	socklen_t len = sizeof address;
	address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	cell->memory = &address;
	cell->other = socket(AF_INET, SOCK_STREAM, 0);
	if (cell->other < 0 || bind(cell->other, (struct sockaddr *)&address, sizeof address) != 0 ||
		listen(cell->other, 0) != 0 || getsockname(cell->other, (struct sockaddr *)&address, &len) != 0)
		return -1;
	for (int i = 0; i < 4; i++)
		connect(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), (struct sockaddr *)&address, len);
	usleep(10000);
	return 0;
}

static void arm_connect_tcp(struct cell *cell)
{
	struct timeval time = {0, cell->kind->timeout_us};
	cell->fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(cell->fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
	ARG(cell, cell->fd, POINTER(cell->memory), sizeof(struct sockaddr_in));
}

/* ---- waiting for several: poll, select, epoll ---- */

/* As after a read that took the byte. */
static void after_ready(struct cell *cell, long result)
{
	char byte;
	if (result == 1 && read(cell->fd, &byte, 1) != 1)
		abort();
}

/* All but the signals with handlers, as the kernel's own 8 bytes. */
static uint64_t mask_within(void)
{
	uint64_t mask = 0;
	return mask | UINT64_C(1) << (SIGRTMIN + SIGNAL_TAKEN - 1);
}

static void arm_poll(struct cell *cell)
{
	static _Thread_local struct pollfd polled;
	polled = (struct pollfd){cell->fd, POLLIN, 0};
	if (cell->kind->nr == SYS_poll)
		ARG(cell, POINTER(&polled), 1,
			cell->kind->timeout_us == 0 ? -1 : cell->kind->timeout_us / 1000);
	else
		ARG(cell, POINTER(&polled), 1, relative(cell), 0, 0);
}

static void arm_ppoll_masked(struct cell *cell)
{
	static _Thread_local uint64_t mask;
	mask = mask_within();
	ARG(cell, 0, 0, 0, POINTER(&mask), sizeof mask);
}

static void arm_select(struct cell *cell)
{
	static _Thread_local fd_set set;
	static _Thread_local struct timeval time;
	FD_ZERO(&set);
	FD_SET(cell->fd, &set);
	time = (struct timeval){0, cell->kind->timeout_us};
	if (cell->kind->nr == SYS_select)
		ARG(cell, cell->fd + 1, POINTER(&set), 0, 0, cell->kind->timeout_us == 0 ? 0 : POINTER(&time));
	else
		ARG(cell, cell->fd + 1, POINTER(&set), 0, 0, relative(cell), 0);
}

static void arm_pselect_masked(struct cell *cell)
{
	static _Thread_local uint64_t mask;
	static _Thread_local struct {
		const uint64_t *mask;
		size_t bytes;
	} sixth;
	mask = mask_within();
	sixth.mask = &mask;
	sixth.bytes = sizeof mask;
	ARG(cell, 0, 0, 0, 0, 0, POINTER(&sixth));
}

static int open_epoll(struct cell *cell)
{
	struct epoll_event event = {.events = EPOLLIN};
	if (open_pipe(cell) != 0)
		return -1;
	cell->third = epoll_create1(0);
	return cell->third < 0 ? -1 : epoll_ctl(cell->third, EPOLL_CTL_ADD, cell->fd, &event);
}

static void arm_epoll(struct cell *cell)
{
	static _Thread_local uint64_t mask;
	long ms = cell->kind->timeout_us == 0 ? -1 : cell->kind->timeout_us / 1000;
	mask = mask_within();
	bool masked = (cell->kind->flags & SIGNAL_MASKED) != 0;
	if (cell->kind->nr == SYS_epoll_pwait2)
		ms = relative(cell);
	ARG(cell, cell->third, POINTER(cell->buffer), 1, ms, masked ? POINTER(&mask) : 0, sizeof mask);
}

/* ---- sleeps and signals ---- */

static int open_nothing(struct cell *cell)
{
	(void)cell;
	return 0;
}

static void arm_nanosleep(struct cell *cell)
{
	if (cell->kind->nr == SYS_nanosleep)
		ARG(cell, relative(cell), 0);
	else
		ARG(cell, CLOCK_MONOTONIC, 0, relative(cell), 0);
}

static void arm_sleep_until(struct cell *cell)
{
	ARG(cell, CLOCK_MONOTONIC, TIMER_ABSTIME, absolute(cell, CLOCK_MONOTONIC), 0);
}

static void arm_sigtimedwait(struct cell *cell)
{
	static _Thread_local uint64_t set;
	set = UINT64_C(1) << (SIGRTMIN + SIGNAL_TAKEN - 1);
	ARG(cell, POINTER(&set), 0, relative(cell), sizeof set);
}

static void arm_sigsuspend(struct cell *cell)
{
	static _Thread_local uint64_t mask;
	mask = mask_within();
	ARG(cell, POINTER(&mask), sizeof mask);
}

static void arm_nothing(struct cell *cell)
{
	ARG(cell, 0);
}

static bool feed_signal(struct cell *cell)
{
	/* Both kinds in turn: SA_RESTART restarts none of the calls that are fed so. */
	return syscall(SYS_tgkill, getpid(), cell->tid,
		       SIGRTMIN + (cell->feeds % 2 ? SIGNAL_PLAIN : SIGNAL_RESTART)) == 0;
}

/* ---- futexes ---- */

static void arm_futex(struct cell *cell)
{
	__atomic_store_n(&cell->word, 0, __ATOMIC_SEQ_CST);
	ARG(cell, POINTER(&cell->word), FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, relative(cell), 0, 0);
}

static void arm_futex_bitset(struct cell *cell)
{
	__atomic_store_n(&cell->word, 0, __ATOMIC_SEQ_CST);
	ARG(cell, POINTER(&cell->word), FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0,
		absolute(cell, CLOCK_MONOTONIC), 0, FUTEX_BITSET_MATCH_ANY);
}

static void arm_futex_waitv(struct cell *cell)
{
	static _Thread_local struct futex_waitv v;
	__atomic_store_n(&cell->word, 0, __ATOMIC_SEQ_CST);
	v = (struct futex_waitv){.uaddr = (uintptr_t)&cell->word, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
	ARG(cell, POINTER(&v), 1, 0, absolute(cell, CLOCK_MONOTONIC), CLOCK_MONOTONIC);
}

/* The word stays 0: that a wake came is known from the result alone. False while nobody waits. */
static bool feed_futex(struct cell *cell)
{
	return syscall(SYS_futex, &cell->word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1) == 1;
}

static void arm_lock_pi(struct cell *cell)
{
	__atomic_store_n(&cell->word, (uint32_t)atomic_load(&eintr_feeder), __ATOMIC_SEQ_CST);
	ARG(cell, POINTER(&cell->word), FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, absolute(cell, CLOCK_REALTIME));
}

static bool feed_unlock_pi(struct cell *cell)
{
	return syscall(SYS_futex, &cell->word, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG) == 0;
}

static void after_lock_pi(struct cell *cell, long result)
{
	if (result == 0)
		syscall(SYS_futex, &cell->word, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG);
}

/* ---- children ---- */

static int open_child(struct cell *cell)
{
	cell->child = fork();
	if (cell->child != 0)
		return cell->child < 0 ? -1 : 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	for (;;)
		pause();
}

static void arm_wait(struct cell *cell)
{
	if (cell->kind->nr == SYS_wait4)
		ARG(cell, cell->child, POINTER(cell->buffer), WUNTRACED | WCONTINUED, 0);
	else
		ARG(cell, P_PID, cell->child, POINTER(cell->buffer), WSTOPPED | WCONTINUED, 0);
}

static bool feed_child(struct cell *cell)
{
	return kill(cell->child, cell->feeds % 2 ? SIGSTOP : SIGCONT) == 0;
}

static void after_wait(struct cell *cell, long result)
{
	/* wait4 tells the child. */
	if (cell->kind->nr == SYS_wait4 && result != -EINTR && result != cell->child)
		abort();
}

/* ---- locks and FIFOs ---- */

static int open_lock(struct cell *cell)
{
	cell->fd = temporary(cell, cell->kind->name);
	cell->other = open(cell->path, O_RDWR);
	unlink(cell->path);
	return cell->fd < 0 || cell->other < 0 ? -1 : 0;
}

static const struct flock exclusive = {.l_type = F_WRLCK}, unlocked = {.l_type = F_UNLCK};

static void arm_flock(struct cell *cell)
{
	flock(cell->other, LOCK_EX);
	ARG(cell, cell->fd, LOCK_EX);
}

static bool feed_flock(struct cell *cell)
{
	return flock(cell->other, LOCK_UN) == 0;
}

static void after_flock(struct cell *cell, long result)
{
	if (result == 0)
		flock(cell->fd, LOCK_UN);
}

/* F_OFD_SETLKW waits as F_SETLKW does (fs/locks.c, fcntl_setlk), but against one's own process, too. */
static void arm_setlkw(struct cell *cell)
{
	struct flock lock = exclusive;
	fcntl(cell->other, F_OFD_SETLK, &lock);
	memcpy(cell->buffer, &exclusive, sizeof exclusive);
	ARG(cell, cell->fd, F_OFD_SETLKW, POINTER(cell->buffer));
}

static bool feed_setlkw(struct cell *cell)
{
	struct flock lock = unlocked;
	return fcntl(cell->other, F_OFD_SETLK, &lock) == 0;
}

static void after_setlkw(struct cell *cell, long result)
{
	struct flock lock = unlocked;
	if (result == 0)
		fcntl(cell->fd, F_OFD_SETLK, &lock);
}

/* Without a name in any folder, and so gone with the process: opened by its descriptor's. */
static int open_fifo(struct cell *cell)
{
	char path[64];
	snprintf(path, sizeof path, "/tmp/eintr-%d-fifo", getpid());
	if (mkfifo(path, 0600) != 0)
		return -1;
	cell->fd = open(path, O_PATH);
	unlink(path);
	snprintf(cell->path, sizeof cell->path, "/proc/self/fd/%d", cell->fd);
	return cell->fd < 0 ? -1 : 0;
}

static void arm_fifo(struct cell *cell)
{
	ARG(cell, AT_FDCWD, POINTER(cell->path), O_RDONLY, 0);
}

static bool feed_fifo(struct cell *cell)
{
	int fd = open(cell->path, O_WRONLY | O_NONBLOCK);
	if (fd >= 0)
		close(fd);
	return fd >= 0; /* else ENXIO: nobody reads yet */
}

/* ---- System V and POSIX queues ---- */

struct message {
	long type;
	char text[1024];
};

static int open_queue(struct cell *cell)
{
	cell->fd = msgget(IPC_PRIVATE, 0600);
	return cell->fd < 0 ? -1 : 0;
}

static int open_full_queue(struct cell *cell)
{
	static const struct message message = {1, ""};
	if (open_queue(cell) != 0)
		return -1;
	while (msgsnd(cell->fd, &message, sizeof message.text, IPC_NOWAIT) == 0)
		;
	return 0;
}

static void arm_message_queue(struct cell *cell)
{
	*(long *)(void *)cell->buffer = 1;
	if (cell->kind->nr == SYS_msgrcv)
		ARG(cell, cell->fd, POINTER(cell->buffer), 1024, 0, 0);
	else
		ARG(cell, cell->fd, POINTER(cell->buffer), 1024, 0);
}

static bool feed_msgsnd(struct cell *cell)
{
	static const struct message message = {1, ""};
	return msgsnd(cell->fd, &message, sizeof message.text, IPC_NOWAIT) == 0;
}

static bool feed_msgrcv(struct cell *cell)
{
	struct message message;
	return msgrcv(cell->fd, &message, sizeof message.text, 0, IPC_NOWAIT) >= 0;
}

static int open_semaphore(struct cell *cell)
{
	cell->fd = semget(IPC_PRIVATE, 1, 0600);
	return cell->fd < 0 ? -1 : 0;
}

static void arm_semaphore(struct cell *cell)
{
	static const struct sembuf wait = {.sem_op = -1};
	ARG(cell, cell->fd, POINTER(&wait), 1, relative(cell));
}

static bool feed_semaphore(struct cell *cell)
{
	struct sembuf post = {.sem_op = 1};
	return semop(cell->fd, &post, 1) == 0;
}

static int open_mq(struct cell *cell)
{
	struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 8};
	snprintf(cell->path, sizeof cell->path, "/eintr-%d-%p", getpid(), (void *)cell);
	cell->fd = mq_open(cell->path, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	cell->other = mq_open(cell->path, O_RDWR | O_NONBLOCK);
	mq_unlink(cell->path);
	return cell->fd < 0 || cell->other < 0 ? -1 : 0;
}

static int open_full_mq(struct cell *cell)
{
	return open_mq(cell) != 0 ? -1 : mq_send(cell->other, "x", 1, 0);
}

static void arm_mq(struct cell *cell)
{
	ARG(cell, cell->fd, POINTER(cell->buffer), cell->kind->nr == SYS_mq_timedsend ? 1 : 8, 0,
		absolute(cell, CLOCK_REALTIME));
}

static bool feed_mq_send(struct cell *cell)
{
	return mq_send(cell->other, "x", 1, 0) == 0;
}

static bool feed_mq_receive(struct cell *cell)
{
	char text[8];
	return mq_receive(cell->other, text, sizeof text, NULL) >= 0;
}

/* ---- asynchronous I/O ---- */

static int open_aio(struct cell *cell)
{
	aio_context_t context = 0;
	cell->other = memfd_create("eintr", 0);
	if (cell->other < 0 || syscall(SYS_io_setup, 8, &context) != 0)
		return -1;
	cell->memory = (void *)(uintptr_t)context;
	return 0;
}

static void arm_aio(struct cell *cell)
{
	ARG(cell, POINTER(cell->memory), 1, 1, POINTER(cell->buffer), relative(cell), 0);
}

static bool feed_aio(struct cell *cell)
{
	static char byte;
	struct iocb write = {.aio_fildes = (uint32_t)cell->other,
			    .aio_lio_opcode = IOCB_CMD_PWRITE,
			    .aio_buf = (uintptr_t)&byte,
			    .aio_nbytes = 1},
		    *list[] = {&write};
	return syscall(SYS_io_submit, cell->memory, 1L, list) == 1;
}

struct ring {
	char *submissions, *completions;
	struct io_uring_sqe *entries;
	struct io_uring_params params;
};

static int open_uring(struct cell *cell)
{
	struct ring *ring = calloc(1, sizeof *ring);
	cell->memory = ring;
	cell->fd = (int)syscall(SYS_io_uring_setup, 8, &ring->params);
	if (cell->fd < 0)
		return -1;
	ring->submissions = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, cell->fd, IORING_OFF_SQ_RING);
	ring->completions = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, cell->fd, IORING_OFF_CQ_RING);
	ring->entries = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, cell->fd, IORING_OFF_SQES);
	return (void *)ring->entries == MAP_FAILED ? -1 : 0;
}

static uint32_t *ring_word(char *ring, uint32_t offset)
{
	return (uint32_t *)(void *)(ring + offset);
}

static void arm_uring(struct cell *cell)
{
	static _Thread_local struct io_uring_getevents_arg arg;
	arg = (struct io_uring_getevents_arg){.ts = (uint64_t)relative(cell)};
	if (cell->kind->timeout_us > 0)
		ARG(cell, cell->fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, POINTER(&arg),
			sizeof arg);
	else
		ARG(cell, cell->fd, 0, 1, IORING_ENTER_GETEVENTS, 0, 0);
}

static bool feed_uring(struct cell *cell)
{
	struct ring *ring = cell->memory;
	uint32_t *tail = ring_word(ring->submissions, ring->params.sq_off.tail);
	uint32_t at = *tail & *ring_word(ring->submissions, ring->params.sq_off.ring_mask);
	ring->entries[at] = (struct io_uring_sqe){.opcode = IORING_OP_NOP};
	ring_word(ring->submissions, ring->params.sq_off.array)[at] = at;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	return syscall(SYS_io_uring_enter, cell->fd, 1, 0, 0, NULL, 0) == 1;
}

static void after_uring(struct cell *cell, long result)
{
	struct ring *ring = cell->memory;
	uint32_t *head = ring_word(ring->completions, ring->params.cq_off.head);
	if (result == 0 && *head != __atomic_load_n(ring_word(ring->completions, ring->params.cq_off.tail),
					    __ATOMIC_ACQUIRE))
		__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
}

static void arm_random(struct cell *cell)
{
	ARG(cell, POINTER(cell->buffer), (long)cell->kind->bytes, 0);
}

void eintr_remove(const struct cell *cell)
{
	switch (cell->kind->nr) {
	case SYS_msgrcv:
	case SYS_msgsnd:
		msgctl(cell->fd, IPC_RMID, NULL);
		break;
	case SYS_semop:
	case SYS_semtimedop:
		semctl(cell->fd, 0, IPC_RMID);
		break;
	}
}

/* ---- the list ---- */

/* clang-format off */
#define FED(label, number, restarts, opens, arms, feeds_, afters, wants, ...) \
	{.name = label, .nr = number, .restart = restarts, .open = opens, .arm = arms, .feed = feeds_, .after = afters, \
		.want = wants, __VA_ARGS__}
#define TIMED(label, number, restarts, opens, arms, us, wants, ...) \
	{.name = label, .nr = number, .restart = restarts, .open = opens, .arm = arms, .want = wants, .timeout_us = us, \
		__VA_ARGS__}

const struct kind eintr_kinds[] = {
	FED("read-pipe", SYS_read, RESTARTS, open_pipe, arm_buffer, feed_byte, NULL, 1, .bytes = 1),
	FED("readv-pipe", SYS_readv, RESTARTS, open_pipe, arm_iovec, feed_byte, NULL, 1, .bytes = 1),
	FED("read-tty", SYS_read, RESTARTS, open_tty, arm_buffer, feed_byte, NULL, 1, .bytes = 1),
	FED("read-socket", SYS_read, RESTARTS, open_socketpair, arm_buffer, feed_byte, NULL, 1, .bytes = 1),
	FED("read-eventfd", SYS_read, RESTARTS, open_eventfd, arm_buffer, feed_eight, NULL, 8, .bytes = 8),
	TIMED("read-timerfd", SYS_read, RESTARTS, open_timerfd, arm_timerfd, SOON_US, 8, .bytes = 8),
	FED("read-signalfd", SYS_read, RESTARTS, open_signalfd, arm_buffer, feed_taken_signal, NULL,
		sizeof(struct signalfd_siginfo), .bytes = sizeof(struct signalfd_siginfo)),
	FED("read-inotify", SYS_read, RESTARTS, open_inotify, arm_buffer, feed_byte, NULL,
		sizeof(struct inotify_event), .bytes = 4096),
	FED("recvfrom", SYS_recvfrom, RESTARTS, open_socketpair, arm_buffer, feed_byte, NULL, 1, .bytes = 1),
	FED("recvmsg", SYS_recvmsg, RESTARTS, open_socketpair, arm_message, feed_byte, NULL, 1, .bytes = 1),
	FED("recvmmsg", SYS_recvmmsg, RESTARTS, open_socketpair, arm_message, feed_byte, NULL, 1, .bytes = 1),
	FED("read-rcvtimeo", SYS_read, ENDS, open_socketpair, arm_buffer, feed_byte, NULL, 1, .bytes = 1, .timeout_us = NEVER_US),
	TIMED("read-rcvtimeo-end", SYS_read, ENDS, open_socketpair, arm_buffer, SOON_US, -EAGAIN, .bytes = 1, .flags = JIFFIES),
	TIMED("readv-rcvtimeo-end", SYS_readv, ENDS, open_socketpair, arm_iovec, SOON_US, -EAGAIN, .bytes = 1, .flags = JIFFIES),
	FED("recvfrom-rcvtimeo", SYS_recvfrom, ENDS, open_socketpair, arm_buffer, feed_byte, NULL, 1, .bytes = 1, .timeout_us = NEVER_US),
	TIMED("recvfrom-rcvtimeo-end", SYS_recvfrom, ENDS, open_socketpair, arm_buffer, SOON_US, -EAGAIN, .bytes = 1, .flags = JIFFIES),
	TIMED("recvmsg-rcvtimeo-end", SYS_recvmsg, ENDS, open_socketpair, arm_message, SOON_US, -EAGAIN, .bytes = 1, .flags = JIFFIES),
	TIMED("recvmmsg-rcvtimeo-end", SYS_recvmmsg, ENDS, open_socketpair, arm_message, SOON_US, -EAGAIN, .bytes = 1, .flags = JIFFIES),

	FED("write-pipe", SYS_write, RESTARTS, open_full_pipe, arm_buffer, feed_place, after_write, 4096, .bytes = 4096),
	FED("writev-pipe", SYS_writev, RESTARTS, open_full_pipe, arm_iovec, feed_place, after_write, 4096, .bytes = 4096),
	FED("write-socket", SYS_write, RESTARTS, open_full_socket, arm_buffer, feed_place, after_write, ANY_COUNT, .bytes = 4096),
	FED("sendto", SYS_sendto, RESTARTS, open_full_socket, arm_buffer, feed_place, after_write, ANY_COUNT, .bytes = 4096),
	FED("sendmsg", SYS_sendmsg, RESTARTS, open_full_socket, arm_message, feed_place, after_write, ANY_COUNT, .bytes = 4096),
	FED("sendmmsg", SYS_sendmmsg, RESTARTS, open_full_socket, arm_message, feed_place, after_write, 1, .bytes = 4096),
	FED("sendto-sndtimeo", SYS_sendto, ENDS, open_full_socket, arm_buffer, feed_place, after_write, ANY_COUNT, .bytes = 4096, .timeout_us = NEVER_US),
	TIMED("write-sndtimeo-end", SYS_write, ENDS, open_full_socket, arm_buffer, SOON_US, -EAGAIN, .bytes = 4096, .flags = JIFFIES),
	TIMED("writev-sndtimeo-end", SYS_writev, ENDS, open_full_socket, arm_iovec, SOON_US, -EAGAIN, .bytes = 4096, .flags = JIFFIES),
	TIMED("sendto-sndtimeo-end", SYS_sendto, ENDS, open_full_socket, arm_buffer, SOON_US, -EAGAIN, .bytes = 4096, .flags = JIFFIES),
	TIMED("sendmsg-sndtimeo-end", SYS_sendmsg, ENDS, open_full_socket, arm_message, SOON_US, -EAGAIN, .bytes = 4096, .flags = JIFFIES),
	TIMED("sendmmsg-sndtimeo-end", SYS_sendmmsg, ENDS, open_full_socket, arm_message, SOON_US, -EAGAIN, .bytes = 4096, .flags = JIFFIES),

	FED("accept", SYS_accept, RESTARTS, open_listener, arm_accept, feed_connection, after_fd, ANY_FD),
	FED("accept4", SYS_accept4, RESTARTS, open_listener, arm_accept, feed_connection, after_fd, ANY_FD),
	FED("accept-rcvtimeo", SYS_accept, ENDS, open_listener, arm_accept, feed_connection, after_fd, ANY_FD, .timeout_us = NEVER_US),
	TIMED("accept-rcvtimeo-end", SYS_accept, ENDS, open_listener, arm_accept, SOON_US, -EAGAIN, .flags = JIFFIES),
	TIMED("accept4-rcvtimeo-end", SYS_accept4, ENDS, open_listener, arm_accept, SOON_US, -EAGAIN, .flags = JIFFIES),
	FED("connect-unix", SYS_connect, RESTARTS, open_full_listener, arm_connect, feed_accept, after_connect, 0),
	FED("connect-unix-sndtimeo", SYS_connect, ENDS, open_full_listener, arm_connect, feed_accept, after_connect, 0, .timeout_us = NEVER_US),
	{.name = "connect-unix-sndtimeo-end", .nr = SYS_connect, .restart = ENDS, .open = open_full_listener, .arm = arm_connect,
		.after = after_connect, .want = -EAGAIN, .timeout_us = SOON_US, .flags = JIFFIES},
	{.name = "connect-tcp-sndtimeo-end", .nr = SYS_connect, .restart = ENDS, .open = open_full_tcp, .arm = arm_connect_tcp,
		.after = after_connect, .want = -EINPROGRESS, .timeout_us = SOON_US, .flags = JIFFIES},

	FED("poll", SYS_poll, ENDS, open_pipe, arm_poll, feed_byte, after_ready, 1),
	TIMED("poll-end", SYS_poll, ENDS, open_pipe, arm_poll, SOON_US, 0),
	TIMED("poll-20ms-end", SYS_poll, ENDS, open_pipe, arm_poll, LATER_US, 0),
	FED("ppoll", SYS_ppoll, ENDS, open_pipe, arm_poll, feed_byte, after_ready, 1),
	TIMED("ppoll-end", SYS_ppoll, ENDS, open_pipe, arm_poll, SOON_US, 0),
	FED("ppoll-masked", SYS_ppoll, ENDS, open_nothing, arm_ppoll_masked, feed_signal, NULL, -EINTR, .flags = BY_SIGNAL | SIGNAL_MASKED),
	FED("select", SYS_select, ENDS, open_pipe, arm_select, feed_byte, after_ready, 1),
	TIMED("select-end", SYS_select, ENDS, open_pipe, arm_select, SOON_US, 0),
	FED("pselect6", SYS_pselect6, ENDS, open_pipe, arm_select, feed_byte, after_ready, 1),
	TIMED("pselect6-end", SYS_pselect6, ENDS, open_pipe, arm_select, SOON_US, 0),
	FED("pselect6-masked", SYS_pselect6, ENDS, open_nothing, arm_pselect_masked, feed_signal, NULL, -EINTR, .flags = BY_SIGNAL | SIGNAL_MASKED),
	FED("epoll_wait", SYS_epoll_wait, ENDS, open_epoll, arm_epoll, feed_byte, after_ready, 1),
	TIMED("epoll_wait-1ms-end", SYS_epoll_wait, ENDS, open_epoll, arm_epoll, 1000, 0),
	TIMED("epoll_wait-end", SYS_epoll_wait, ENDS, open_epoll, arm_epoll, SOON_US, 0),
	TIMED("epoll_wait-20ms-end", SYS_epoll_wait, ENDS, open_epoll, arm_epoll, LATER_US, 0),
	FED("epoll_pwait", SYS_epoll_pwait, ENDS, open_epoll, arm_epoll, feed_byte, after_ready, 1),
	TIMED("epoll_pwait-end", SYS_epoll_pwait, ENDS, open_epoll, arm_epoll, SOON_US, 0),
	FED("epoll_pwait-masked", SYS_epoll_pwait, ENDS, open_epoll, arm_epoll, feed_signal, NULL, -EINTR, .flags = BY_SIGNAL | SIGNAL_MASKED),
	FED("epoll_pwait2", SYS_epoll_pwait2, ENDS, open_epoll, arm_epoll, feed_byte, after_ready, 1),
	TIMED("epoll_pwait2-end", SYS_epoll_pwait2, ENDS, open_epoll, arm_epoll, SOON_US, 0),
	FED("epoll_pwait2-masked", SYS_epoll_pwait2, ENDS, open_epoll, arm_epoll, feed_signal, NULL, -EINTR, .flags = BY_SIGNAL | SIGNAL_MASKED),

	TIMED("nanosleep", SYS_nanosleep, ENDS, open_nothing, arm_nanosleep, SOON_US, 0),
	TIMED("clock_nanosleep", SYS_clock_nanosleep, ENDS, open_nothing, arm_nanosleep, SOON_US, 0),
	TIMED("clock_nanosleep-20ms", SYS_clock_nanosleep, ENDS, open_nothing, arm_nanosleep, LATER_US, 0),
	TIMED("clock_nanosleep-abs", SYS_clock_nanosleep, ENDS, open_nothing, arm_sleep_until, SOON_US, 0),
	FED("sigwaitinfo", SYS_rt_sigtimedwait, ENDS, open_nothing, arm_sigtimedwait, feed_taken_signal, NULL, ANY_FD),
	FED("sigtimedwait", SYS_rt_sigtimedwait, ENDS, open_nothing, arm_sigtimedwait, feed_taken_signal, NULL, ANY_FD, .timeout_us = NEVER_US),
	TIMED("sigtimedwait-end", SYS_rt_sigtimedwait, ENDS, open_nothing, arm_sigtimedwait, SOON_US, -EAGAIN),
	FED("sigsuspend", SYS_rt_sigsuspend, ENDS, open_nothing, arm_sigsuspend, feed_signal, NULL, -EINTR, .flags = BY_SIGNAL | SIGNAL_MASKED),
	FED("pause", SYS_pause, ENDS, open_nothing, arm_nothing, feed_signal, NULL, -EINTR, .flags = BY_SIGNAL),

	FED("futex-wait", SYS_futex, RESTARTS, open_nothing, arm_futex, feed_futex, NULL, 0),
	TIMED("futex-wait-end", SYS_futex, ENDS, open_nothing, arm_futex, SOON_US, -ETIMEDOUT),
	FED("futex-bitset", SYS_futex, RESTARTS, open_nothing, arm_futex_bitset, feed_futex, NULL, 0),
	TIMED("futex-bitset-end", SYS_futex, ENDS, open_nothing, arm_futex_bitset, SOON_US, -ETIMEDOUT),
	FED("futex-waitv", SYS_futex_waitv, RESTARTS, open_nothing, arm_futex_waitv, feed_futex, NULL, 0),
	TIMED("futex-waitv-end", SYS_futex_waitv, RESTARTS, open_nothing, arm_futex_waitv, SOON_US, -ETIMEDOUT),
	FED("futex-lock-pi", SYS_futex, GOES_ON, open_nothing, arm_lock_pi, feed_unlock_pi, after_lock_pi, 0, .flags = FED_EACH),
	TIMED("futex-lock-pi-end", SYS_futex, GOES_ON, open_nothing, arm_lock_pi, SOON_US, -ETIMEDOUT),

	FED("wait4", SYS_wait4, RESTARTS, open_child, arm_wait, feed_child, after_wait, ANY_FD),
	FED("waitid", SYS_waitid, RESTARTS, open_child, arm_wait, feed_child, after_wait, 0),
	FED("flock", SYS_flock, RESTARTS, open_lock, arm_flock, feed_flock, after_flock, 0, .flags = FED_EACH),
	FED("fcntl-setlkw", SYS_fcntl, RESTARTS, open_lock, arm_setlkw, feed_setlkw, after_setlkw, 0, .flags = FED_EACH),
	FED("open-fifo", SYS_openat, RESTARTS, open_fifo, arm_fifo, feed_fifo, after_fd, ANY_FD, .flags = FED_EACH),

	FED("msgrcv", SYS_msgrcv, ENDS, open_queue, arm_message_queue, feed_msgsnd, NULL, 1024),
	FED("msgsnd", SYS_msgsnd, ENDS, open_full_queue, arm_message_queue, feed_msgrcv, NULL, 0),
	FED("semop", SYS_semop, ENDS, open_semaphore, arm_semaphore, feed_semaphore, NULL, 0),
	FED("semtimedop", SYS_semtimedop, ENDS, open_semaphore, arm_semaphore, feed_semaphore, NULL, 0, .timeout_us = NEVER_US),
	TIMED("semtimedop-end", SYS_semtimedop, ENDS, open_semaphore, arm_semaphore, SOON_US, -EAGAIN),
	FED("mq_receive", SYS_mq_timedreceive, RESTARTS, open_mq, arm_mq, feed_mq_send, NULL, 1),
	TIMED("mq_timedreceive-end", SYS_mq_timedreceive, RESTARTS, open_mq, arm_mq, SOON_US, -ETIMEDOUT),
	FED("mq_send", SYS_mq_timedsend, RESTARTS, open_full_mq, arm_mq, feed_mq_receive, NULL, 0),
	TIMED("mq_timedsend-end", SYS_mq_timedsend, RESTARTS, open_full_mq, arm_mq, SOON_US, -ETIMEDOUT),

	FED("io_getevents", SYS_io_getevents, ENDS, open_aio, arm_aio, feed_aio, NULL, 1),
	TIMED("io_getevents-end", SYS_io_getevents, ENDS, open_aio, arm_aio, SOON_US, 0),
	FED("io_pgetevents", SYS_io_pgetevents, ENDS, open_aio, arm_aio, feed_aio, NULL, 1),
	TIMED("io_pgetevents-end", SYS_io_pgetevents, ENDS, open_aio, arm_aio, SOON_US, 0),
	FED("io_uring_enter", SYS_io_uring_enter, ENDS, open_uring, arm_uring, feed_uring, after_uring, 0),
	TIMED("io_uring_enter-end", SYS_io_uring_enter, ENDS, open_uring, arm_uring, SOON_US, -ETIME),
	FED("splice", SYS_splice, RESTARTS, open_splice, arm_splice, feed_byte, after_splice, 1),
	FED("tee", SYS_tee, RESTARTS, open_splice, arm_splice, feed_byte, after_splice, 1),

	FED("write-pipe-large", SYS_write, RESTARTS, open_writer, arm_buffer, feed_place, NULL, ANY_COUNT,
		.bytes = LARGE, .flags = SHORT_COUNTS),
	FED("sendto-large", SYS_sendto, RESTARTS, open_socketpair, arm_buffer, feed_place, NULL, ANY_COUNT,
		.bytes = LARGE, .flags = SHORT_COUNTS),
	FED("recv-waitall", SYS_recvfrom, RESTARTS, open_socketpair, arm_waitall, feed_pieces, NULL, ANY_COUNT,
		.bytes = 4096, .flags = SHORT_COUNTS),
	{.name = "getrandom", .nr = SYS_getrandom, .open = open_nothing, .arm = arm_random, .want = ANY_COUNT, .bytes = LARGE,
		.flags = SHORT_COUNTS},
	{.name = "getpid", .nr = SYS_getpid, .open = open_nothing, .arm = arm_nothing, .want = ANY_FD},
};
/* clang-format on */

const size_t eintr_n_kinds = sizeof eintr_kinds / sizeof *eintr_kinds;
