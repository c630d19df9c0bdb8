#include "attach/eintr.h"

#include <errno.h>
#include <sys/syscall.h>

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
