#include "attach/calls.h"

#include "attach/syscalls.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>

enum { POLL_SHOWN = 4, PATH_SHOWN = 256, RESTART_SYSCALL = 219 };

/* What an argument is. */
enum kind {
	NOTHING, /* the end of the list */
	FD,
	DIRFD, /* or AT_FDCWD */
	POINTER,
	BYTES, /* a size or count */
	NUMBER, /* an int */
	HEX,
	TIMEOUT_MS,
	TIMESPEC, /* the address of how long to wait at most */
	TIME, /* the address of how long to wait */
	TIMEVAL,
	PATH,
	POLLFDS,
};

/* The calls that can wait for long: those of signal(7), and those that wait for a disk. */
static const struct shape {
	int nr;
	enum kind kinds[6];
} shapes[] = {
	{SYS_read, {FD, POINTER, BYTES}},
	{SYS_write, {FD, POINTER, BYTES}},
	{SYS_readv, {FD, POINTER, BYTES}},
	{SYS_writev, {FD, POINTER, BYTES}},
	{SYS_pread64, {FD, POINTER, BYTES, BYTES}},
	{SYS_pwrite64, {FD, POINTER, BYTES, BYTES}},
	{SYS_preadv, {FD, POINTER, BYTES, BYTES}},
	{SYS_pwritev, {FD, POINTER, BYTES, BYTES}},
	{SYS_ioctl, {FD, HEX, HEX}},
	{SYS_open, {PATH, HEX, HEX}},
	{SYS_openat, {DIRFD, PATH, HEX, HEX}},
	{SYS_close, {FD}},
	{SYS_fcntl, {FD, NUMBER, HEX}},
	{SYS_flock, {FD, NUMBER}},
	{SYS_fsync, {FD}},
	{SYS_fdatasync, {FD}},
	{SYS_sync_file_range, {FD, BYTES, BYTES, HEX}},
	{SYS_sendfile, {FD, FD, POINTER, BYTES}},
	{SYS_splice, {FD, POINTER, FD, POINTER, BYTES, HEX}},
	{SYS_copy_file_range, {FD, POINTER, FD, POINTER, BYTES, HEX}},
	{SYS_getdents64, {FD, POINTER, BYTES}},
	{SYS_accept, {FD, POINTER, POINTER}},
	{SYS_accept4, {FD, POINTER, POINTER, HEX}},
	{SYS_connect, {FD, POINTER, BYTES}},
	{SYS_recvfrom, {FD, POINTER, BYTES, HEX, POINTER, POINTER}},
	{SYS_recvmsg, {FD, POINTER, HEX}},
	{SYS_recvmmsg, {FD, POINTER, BYTES, HEX, TIMESPEC}},
	{SYS_sendto, {FD, POINTER, BYTES, HEX, POINTER, BYTES}},
	{SYS_sendmsg, {FD, POINTER, HEX}},
	{SYS_sendmmsg, {FD, POINTER, BYTES, HEX}},
	{SYS_poll, {POLLFDS, BYTES, TIMEOUT_MS}},
	{SYS_ppoll, {POLLFDS, BYTES, TIMESPEC, POINTER, BYTES}},
	{SYS_select, {NUMBER, POINTER, POINTER, POINTER, TIMEVAL}},
	{SYS_pselect6, {NUMBER, POINTER, POINTER, POINTER, TIMESPEC, POINTER}},
	{SYS_epoll_wait, {FD, POINTER, NUMBER, TIMEOUT_MS}},
	{SYS_epoll_pwait, {FD, POINTER, NUMBER, TIMEOUT_MS, POINTER}},
	{SYS_epoll_pwait2, {FD, POINTER, NUMBER, TIMESPEC, POINTER}},
	{SYS_nanosleep, {TIME}},
	{SYS_rt_sigtimedwait, {POINTER, POINTER, TIMESPEC, BYTES}},
	{SYS_rt_sigsuspend, {POINTER, BYTES}},
	{SYS_wait4, {NUMBER, POINTER, HEX, POINTER}},
	{SYS_waitid, {NUMBER, NUMBER, POINTER, HEX, POINTER}},
	{SYS_msgrcv, {NUMBER, POINTER, BYTES, NUMBER, HEX}},
	{SYS_msgsnd, {NUMBER, POINTER, BYTES, HEX}},
	{SYS_semop, {NUMBER, POINTER, BYTES}},
	{SYS_semtimedop, {NUMBER, POINTER, BYTES, TIMESPEC}},
	{SYS_mq_timedreceive, {FD, POINTER, BYTES, POINTER, POINTER}},
	{SYS_mq_timedsend, {FD, POINTER, BYTES, NUMBER, POINTER}},
	{SYS_io_getevents, {POINTER, NUMBER, NUMBER, POINTER, TIMESPEC}},
	{SYS_io_uring_enter, {FD, NUMBER, NUMBER, HEX, POINTER, BYTES}},
	{SYS_getrandom, {POINTER, BYTES, HEX}},
};

/* A text that grows up to its end. */
struct words {
	const struct target *target;
	pid_t tid;
	char *text;
	size_t n;
};

__attribute__((format(printf, 2, 3))) static void say(struct words *words, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int n = vsnprintf(words->text + words->n, CALL_WIDTH - words->n, format, arguments);
	va_end(arguments);
	if (n > 0)
		words->n += (size_t)n < CALL_WIDTH - words->n ? (size_t)n : CALL_WIDTH - words->n - 1;
}

static bool read_memory(const struct words *words, uint64_t address, void *out, size_t len)
{
	return address != 0 && target_read(words->tid, address, out, len) == len;
}

static void say_pointer(struct words *words, uint64_t value)
{
	if (value == 0)
		say(words, "NULL");
	else
		say(words, "0x%" PRIx64, value);
}

static void say_fd(struct words *words, int fd)
{
	char name[PATH_MAX];
	say(words, "fd %d", fd);
	if (fd >= 0 && target_file_name(words->target, words->tid, fd, name, sizeof name) == 0)
		say(words, " -> %.300s", name);
}

static void say_time(struct words *words, int64_t seconds, int64_t ns)
{
	char text[40];
	snprintf(text, sizeof text, "%" PRId64 ".%09" PRId64, seconds, ns);
	size_t n = strlen(text);
	while (n > 0 && text[n - 1] == '0')
		n--;
	n -= n > 0 && text[n - 1] == '.';
	say(words, "%.*s s", (int)n, text);
}

/* `begin`: "timeout ", or what stands before the time. */
static void say_timespec(struct words *words, uint64_t address, const char *begin)
{
	int64_t time[2];
	if (address == 0) {
		say(words, "no timeout");
	} else if (read_memory(words, address, time, sizeof time)) {
		say(words, "%s", begin);
		say_time(words, time[0], time[1]);
	} else {
		say_pointer(words, address);
	}
}

static void say_timeval(struct words *words, uint64_t address)
{
	int64_t time[2];
	if (address == 0) {
		say(words, "no timeout");
	} else if (read_memory(words, address, time, sizeof time)) {
		say(words, "timeout ");
		say_time(words, time[0], time[1] * 1000);
	} else {
		say_pointer(words, address);
	}
}

static void say_path(struct words *words, uint64_t address)
{
	char path[PATH_SHOWN + 1] = {0};
	size_t n = address != 0 ? target_read(words->tid, address, path, PATH_SHOWN) : 0;
	if (n == 0) {
		say_pointer(words, address);
		return;
	}
	bool whole = memchr(path, '\0', n) != NULL;
	say(words, "\"%s\"%s", path, whole ? "" : "...");
}

static void say_pollfds(struct words *words, uint64_t address, uint64_t n)
{
	struct pollfd fds[POLL_SHOWN];
	size_t shown = n < POLL_SHOWN ? (size_t)n : POLL_SHOWN;
	if (shown == 0 || !read_memory(words, address, fds, shown * sizeof *fds)) {
		say_pointer(words, address);
		return;
	}
	say(words, "[");
	for (size_t i = 0; i < shown; i++) {
		say(words, "%s", i > 0 ? ", " : "");
		say_fd(words, fds[i].fd);
	}
	say(words, "%s]", shown < n ? ", ..." : "");
}

static const char *clock_name(uint64_t clock)
{
	return clock == CLOCK_REALTIME ? "CLOCK_REALTIME" : clock == CLOCK_MONOTONIC ? "CLOCK_MONOTONIC" : NULL;
}

static void say_clock(struct words *words, uint64_t clock)
{
	const char *name = clock_name(clock);
	if (name != NULL)
		say(words, "%s", name);
	else
		say(words, "clock %d", (int)clock);
}

static void say_argument(struct words *words, enum kind kind, const uint64_t *argument)
{
	switch (kind) {
	case FD:
		say_fd(words, (int)*argument);
		break;
	case DIRFD:
		if ((int)*argument == AT_FDCWD)
			say(words, "AT_FDCWD");
		else
			say_fd(words, (int)*argument);
		break;
	case BYTES:
		say(words, "%" PRIu64, *argument);
		break;
	case NUMBER:
		say(words, "%d", (int)*argument);
		break;
	case TIMEOUT_MS:
		if ((int)*argument < 0)
			say(words, "no timeout");
		else
			say(words, "timeout %d ms", (int)*argument);
		break;
	case TIMESPEC:
		say_timespec(words, *argument, "timeout ");
		break;
	case TIME:
		say_timespec(words, *argument, "");
		break;
	case TIMEVAL:
		say_timeval(words, *argument);
		break;
	case PATH:
		say_path(words, *argument);
		break;
	case POLLFDS:
		say_pollfds(words, argument[0], argument[1]);
		break;
	case HEX:
		say(words, "0x%" PRIx64, *argument);
		break;
	case POINTER:
	default:
		say_pointer(words, *argument);
		break;
	}
}

/* ---- calls whose arguments depend on each other ---- */

static const char *const futex_operations[] = {
	[FUTEX_WAIT] = "FUTEX_WAIT",
	[FUTEX_WAKE] = "FUTEX_WAKE",
	[FUTEX_REQUEUE] = "FUTEX_REQUEUE",
	[FUTEX_CMP_REQUEUE] = "FUTEX_CMP_REQUEUE",
	[FUTEX_WAKE_OP] = "FUTEX_WAKE_OP",
	[FUTEX_LOCK_PI] = "FUTEX_LOCK_PI",
	[FUTEX_UNLOCK_PI] = "FUTEX_UNLOCK_PI",
	[FUTEX_TRYLOCK_PI] = "FUTEX_TRYLOCK_PI",
	[FUTEX_WAIT_BITSET] = "FUTEX_WAIT_BITSET",
	[FUTEX_WAKE_BITSET] = "FUTEX_WAKE_BITSET",
	[FUTEX_WAIT_REQUEUE_PI] = "FUTEX_WAIT_REQUEUE_PI",
	[FUTEX_CMP_REQUEUE_PI] = "FUTEX_CMP_REQUEUE_PI",
};

/* FUTEX_WAIT's time is relative, that of the others is on a clock (futex(2)). */
static void say_futex(struct words *words, const uint64_t *a)
{
	unsigned operation = (unsigned)a[1] & (unsigned)FUTEX_CMD_MASK;
	const char *name = operation < sizeof futex_operations / sizeof *futex_operations
				   ? futex_operations[operation]
				   : NULL;
	bool realtime = (a[1] & FUTEX_CLOCK_REALTIME) != 0 || operation == FUTEX_LOCK_PI;
	say_pointer(words, a[0]);
	if (name != NULL)
		say(words, ", %s%s", name, (a[1] & FUTEX_PRIVATE_FLAG) != 0 ? "_PRIVATE" : "");
	else
		say(words, ", operation %u", operation);
	say(words, ", %" PRIu32 ", ", (uint32_t)a[2]);
	if (operation == FUTEX_WAIT) {
		say_timespec(words, a[3], "timeout ");
		return;
	}
	say_timespec(words, a[3], "until ");
	if (a[3] != 0)
		say(words, " of %s", realtime ? "CLOCK_REALTIME" : "CLOCK_MONOTONIC");
}

static void say_clock_nanosleep(struct words *words, const uint64_t *a)
{
	bool absolute = (a[1] & TIMER_ABSTIME) != 0;
	say_clock(words, a[0]);
	say(words, ", ");
	say_timespec(words, a[2], absolute ? "until " : "");
}

/* ---- */

static const struct shape *shape_of(int nr)
{
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		if (shapes[i].nr == nr)
			return &shapes[i];
	return NULL;
}

static void say_arguments(struct words *words, const struct blocked *call)
{
	static const struct shape unknown = {0, {HEX, HEX, HEX, HEX, HEX, HEX}};
	static const struct shape none = {0};
	const struct shape *shape = shape_of(call->nr);
	if (call->nr == SYS_pause)
		shape = &none;
	if (shape == NULL)
		shape = &unknown;
	for (int i = 0; i < 6 && shape->kinds[i] != NOTHING; i++) {
		say(words, "%s", i > 0 ? ", " : "");
		say_argument(words, shape->kinds[i], &call->argument[i]);
	}
}

void call_words(const struct target *target, pid_t tid, const struct blocked *call, char text[CALL_WIDTH])
{
	struct words words = {target, tid, text, 0};
	const char *name = syscall_name(call->nr);
	if (call->nr == RESTART_SYSCALL) {
		snprintf(text, CALL_WIDTH,
			"restart_syscall(a call that was interrupted and goes on: nanosleep, poll, futex ...)");
		return;
	}
	if (name != NULL)
		say(&words, "%s(", name);
	else
		say(&words, "system call %d(", call->nr);
	if (call->nr == SYS_futex)
		say_futex(&words, call->argument);
	else if (call->nr == SYS_clock_nanosleep)
		say_clock_nanosleep(&words, call->argument);
	else
		say_arguments(&words, call);
	say(&words, ")");
}
