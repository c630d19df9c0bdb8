#include "attach/eintr.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

static struct user_regs_struct at(long number, long result)
{
	struct user_regs_struct regs;
	memset(&regs, 0x5a, sizeof regs);
	regs.orig_rax = (unsigned long long)number;
	regs.rax = (unsigned long long)result;
	return regs;
}

static void an_interrupted_wait_is_restarted(void **state)
{
	(void)state;
	struct user_regs_struct before = at(SYS_epoll_wait, -EINTR), regs = before;
	assert_true(eintr_repair(&regs));
	assert_int_equal((long long)regs.rax, -514);
	regs.rax = before.rax;
	assert_memory_equal(&regs, &before, sizeof regs);
}

static void what_need_not_be_repaired_is_not_touched(void **state)
{
	(void)state;
	/* close: the descriptor is gone already. -1: an interrupt, not a system call; rax is the program's own.
	 */
	const struct user_regs_struct cases[] = {at(SYS_close, -EINTR), at(-1, -EINTR),
		at(SYS_epoll_wait, -EAGAIN), at(SYS_epoll_wait, 3), at(SYS_futex, -EINTR)};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct user_regs_struct regs = cases[i];
		assert_false(eintr_repair(&regs));
		assert_memory_equal(&regs, &cases[i], sizeof regs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_interrupted_wait_is_restarted),
		cmocka_unit_test(what_need_not_be_repaired_is_not_touched),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
