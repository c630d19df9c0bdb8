/* /proc/PID/status and stat as the kernel writes them. */
#include "attach/identity.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char status[] =
	"Name:\tx)\\n(y\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4242\nNgid:\t0\nPid:\t4242\n"
	"PPid:\t17\nTracerPid:\t99\nUid:\t1000\t1001\t1002\t1003\nGid:\t10\t11\t12\t13\n"
	"FDSize:\t64\nGroups:\t4 24\nNStgid:\t4242\t300\t7\nNSpid:\t4242\t300\t7\nThreads:\t3\n"
	"CapPrm:\t000001ffffffffff\nCapEff:\t0000000000080000\nSeccomp:\t2\nSeccomp_filters:\t1\n";
static const char stat[] =
	"4242 (x) R 1\n(y) S 17 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 987654 1000 2";

static void fields_are_found_whatever_the_name(void **state)
{
	(void)state;
	struct identity id;
	assert_true(identity_parse(status, stat, &id));
	assert_int_equal(id.pid, 4242);
	assert_int_equal(id.process, 4242);
	assert_int_equal(id.own_pid, 7);
	assert_int_equal(id.parent, 17);
	assert_int_equal(id.tracer, 99);
	assert_int_equal(id.uid[0], 1000);
	assert_int_equal(id.uid[2], 1002);
	assert_int_equal(id.gid[1], 11);
	assert_int_equal(id.threads, 3);
	assert_int_equal(id.seccomp, 2);
	assert_true(id.permitted == UINT64_C(0x1ffffffffff));
	assert_true(id.effective == UINT64_C(0x80000));
	assert_int_equal(id.state, 'S');
	assert_false(id.kernel_thread);
	assert_true(id.started == 987654);
	assert_string_equal(id.name, "x) R 1\n(y");
}

static void kernel_threads_have_their_flag(void **state)
{
	(void)state;
	struct identity id;
	assert_true(identity_parse(
		status, "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0", &id));
	assert_true(id.kernel_thread);
	assert_string_equal(id.name, "kthreadd");
}

static void what_is_cut_is_refused(void **state)
{
	(void)state;
	struct identity id;
	char text[sizeof stat];
	for (size_t len = 0; len < strlen("4242 (x) R 1\n(y) S 17 4242 4242 0 -1 4194560"); len++) {
		memcpy(text, stat, len);
		text[len] = '\0';
		assert_false(identity_parse(status, text, &id));
	}
	assert_false(identity_parse("", stat, &id));
	assert_false(identity_parse("Name:\tx\nPid:\t1\nTgid:\t1\nUid:\t1\t1\n", stat, &id));
}

static void we_are_seen(void **state)
{
	(void)state;
	struct identity id;
	assert_int_equal(identity_read(getpid(), &id), 0);
	assert_int_equal(id.pid, getpid());
	assert_int_equal(id.parent, getppid());
	assert_int_equal(id.uid[1], geteuid());
	assert_int_equal(identity_read(INT32_MAX, &id), -1);
	assert_int_equal(errno, ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_are_found_whatever_the_name),
		cmocka_unit_test(kernel_threads_have_their_flag),
		cmocka_unit_test(what_is_cut_is_refused),
		cmocka_unit_test(we_are_seen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
