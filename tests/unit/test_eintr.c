#include "attach/eintr.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

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

/* A call of ours, as it stands in the registers at a stop on its way out. */
static struct user_regs_struct call(long number, long result, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct user_regs_struct regs = at(number, result);
	regs.rdi = a;
	regs.rsi = b;
	regs.rdx = c;
	regs.r10 = d;
	return regs;
}

static void short_counts_are_told_from_full_ones(void **state)
{
	(void)state;
	struct user_regs_struct cut[] = {call(SYS_write, 100, 1, 0, 200, 0),
		call(SYS_sendto, 100, 1, 0, 200, 0), call(SYS_recvfrom, 100, 1, 0, 200, MSG_WAITALL),
		call(SYS_getrandom, 100, 0, 200, 0, 0)};
	struct user_regs_struct not_cut[] = {call(SYS_write, 200, 1, 0, 200, 0),
		call(SYS_write, -EINTR, 1, 0, 200, 0), call(SYS_write, 0, 1, 0, 200, 0),
		call(SYS_read, 100, 1, 0, 200, 0), call(SYS_recvfrom, 100, 1, 0, 200, 0),
		call(SYS_sendto, 100, 1, 0, 200, MSG_DONTWAIT), call(-1, 100, 1, 0, 200, 0)};
	for (size_t i = 0; i < sizeof cut / sizeof *cut; i++)
		assert_true(eintr_may_be_cut_short(&cut[i]));
	for (size_t i = 0; i < sizeof not_cut / sizeof *not_cut; i++)
		assert_false(eintr_may_be_cut_short(&not_cut[i]));
}

/* Ourselves as the target: our descriptors, our memory. */
static void only_descriptors_that_block_are_cut_short(void **state)
{
	(void)state;
	char tasks[] = "/proc/self/task";
	struct target self = {.pid = getpid(), .task_fd = open(tasks, O_RDONLY | O_DIRECTORY)};
	struct iovec pieces[2] = {{NULL, 150}, {NULL, 50}}, endless[2] = {{NULL, SIZE_MAX}, {NULL, SIZE_MAX}};
	int blocking[2], other[2];
	assert_int_equal(pipe(blocking), 0);
	assert_int_equal(pipe2(other, O_NONBLOCK), 0);
	struct user_regs_struct regs = call(SYS_write, 100, (uint64_t)blocking[1], 0, 200, 0);
	assert_true(eintr_was_cut_short(&self, gettid(), &regs));
	regs.rdi = (uint64_t)other[1];
	assert_false(eintr_was_cut_short(&self, gettid(), &regs));
	regs.rdi = 9999;
	assert_false(eintr_was_cut_short(&self, gettid(), &regs));
	regs = call(SYS_writev, 100, (uint64_t)blocking[1], (uint64_t)(uintptr_t)pieces, 2, 0);
	assert_true(eintr_was_cut_short(&self, gettid(), &regs));
	regs.rax = 200;
	assert_false(eintr_was_cut_short(&self, gettid(), &regs));
	regs = call(SYS_writev, 100, (uint64_t)blocking[1], (uint64_t)(uintptr_t)endless, 2, 0);
	assert_false(eintr_was_cut_short(&self, gettid(), &regs));
	regs = call(SYS_writev, 100, (uint64_t)blocking[1], 8, 1u << 30, 0);
	assert_false(eintr_was_cut_short(&self, gettid(), &regs));
	close(self.task_fd);
	for (int i = 0; i < 2; i++) {
		close(blocking[i]);
		close(other[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_interrupted_wait_is_restarted),
		cmocka_unit_test(what_need_not_be_repaired_is_not_touched),
		cmocka_unit_test(short_counts_are_told_from_full_ones),
		cmocka_unit_test(only_descriptors_that_block_are_cut_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
