#include "attach/eintr.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* The kernel's own codes for "restart me" (include/linux/errno.h); not visible to programs. */
enum { KERNEL_ERESTARTNOHAND = 514 };

/* The calls of signal(7), "Interruption of system calls ... by stop signals", as measured: these return EINTR
 * after any ptrace stop. Never close(2): its descriptor is gone already. connect is not restarted: a second
 * connect(2) says EALREADY, but for a connect that timed out under SO_SNDTIMEO the kernel continues waiting in
 * the second call, as the first would have. */
static bool interrupted_by_stops(long long number)
{
	switch (number) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_rt_sigtimedwait:
	case SYS_io_getevents:
	case SYS_io_uring_enter:
	case SYS_read:
	case SYS_readv:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_write:
	case SYS_writev:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_accept:
	case SYS_accept4:
	case SYS_connect:
		return true;
	default:
		return false;
	}
}

bool eintr_repair(struct user_regs_struct *regs)
{
	if ((long long)regs->rax != -EINTR || !interrupted_by_stops((long long)regs->orig_rax))
		return false;
	/* Not rip -= 2: that loses a real signal's EINTR. Not -ERESTARTSYS: that restarts under SA_RESTART
	 * handlers, where these calls must not. With -ERESTARTNOHAND the kernel decides after the stop,
	 * atomically with the signal's delivery. */
	regs->rax = (unsigned long long)-KERNEL_ERESTARTNOHAND;
	return true;
}

/* ---- short counts ---- */

enum { IOVECS = 64 };

/* What the call was asked for: `bytes`, or the sum of the `n` pieces that `iovecs` points to. */
struct request {
	uint64_t bytes, iovecs, n;
	int fd; /* -1: no descriptor is involved */
};

/* Returns false for a call that is free to do less at any time, as read(2) is. */
static bool requested(const struct user_regs_struct *regs, struct request *out)
{
	*out = (struct request){.fd = (int)regs->rdi};
	switch ((long long)regs->orig_rax) {
	case SYS_write:
		out->bytes = regs->rdx;
		return true;
	case SYS_writev:
		out->iovecs = regs->rsi;
		out->n = regs->rdx;
		return true;
	case SYS_sendto:
		out->bytes = regs->rdx;
		return (regs->r10 & MSG_DONTWAIT) == 0;
	case SYS_recvfrom:
		out->bytes = regs->rdx;
		return (regs->r10 & (MSG_WAITALL | MSG_DONTWAIT)) == MSG_WAITALL;
	case SYS_sendfile:
		out->bytes = regs->r10;
		return true;
	case SYS_copy_file_range:
		out->bytes = regs->r8;
		return true;
	case SYS_getrandom:
		out->bytes = regs->rsi;
		out->fd = -1;
		return true;
	default:
		return false;
	}
}

bool eintr_may_be_cut_short(const struct user_regs_struct *regs)
{
	struct request request;
	if ((long long)regs->rax <= 0 || !requested(regs, &request))
		return false;
	return request.iovecs != 0 || regs->rax < request.bytes;
}

static bool sum_iovecs(pid_t tid, struct request *request)
{
	struct iovec v[IOVECS];
	if (request->n > IOVECS ||
		target_read(tid, request->iovecs, v, request->n * sizeof *v) != request->n * sizeof *v)
		return false;
	for (uint64_t i = 0; i < request->n; i++)
		if (__builtin_add_overflow(request->bytes, v[i].iov_len, &request->bytes))
			return false;
	return true;
}

bool eintr_was_cut_short(const struct target *target, pid_t tid, const struct user_regs_struct *regs)
{
	struct request request;
	int flags = 0;
	if (!requested(regs, &request) || (request.iovecs != 0 && !sum_iovecs(tid, &request)) ||
		regs->rax >= request.bytes)
		return false;
	/* Who writes to a descriptor that does not block expects less than all. */
	return request.fd < 0 ||
	       (target_file_flags(target, tid, request.fd, &flags) == 0 && (flags & O_NONBLOCK) == 0);
}
