/* Rules that no test machine shows all of: settings of the kernel, and which rule comes first. */
#include "attach/diagnose.h"

#include <elf.h>
#include <errno.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const uint64_t may_trace = UINT64_C(1) << CAP_SYS_PTRACE;

/* A user's tool, and another process of the same user that nothing protects. */
static struct ourselves us;
static struct situation situation;

static int set_up(void **state)
{
	(void)state;
	us = (struct ourselves){
		.id = {.pid = 1, .uid = {1000, 1000, 1000}, .gid = {100, 100, 100}}, .kernel = {6, 18}};
	situation = (struct situation){.pid = 42,
		.us = &us,
		.exists = true,
		.visible = true,
		.elf_class = ELFCLASS64,
		.machine = EM_X86_64,
		.them = {.pid = 42,
			.process = 42,
			.uid = {1000, 1000, 1000},
			.gid = {100, 100, 100},
			.threads = 1,
			.state = 'S',
			.name = "it"}};
	return 0;
}

static void check(const char *brief, bool root_helps, const char *words)
{
	struct verdict verdict;
	struct error err = {"untouched"};
	assert_int_equal(diagnose(&situation, &verdict, &err), brief != NULL ? -1 : 0);
	if (brief == NULL) {
		assert_null(verdict.brief);
		assert_string_equal(err.message, "untouched");
		return;
	}
	assert_string_equal(verdict.brief, brief);
	assert_int_equal(verdict.root_helps, root_helps);
	if (strstr(err.message, words) == NULL)
		fail_msg("no '%s' in: %s", words, err.message);
	assert_null(strchr(err.message, '\n'));
}

static void nothing_forbids_it(void **state)
{
	(void)state;
	us.scope = 3;
	us.ptrace_forbidden = true;
	situation.undumpable = true;
	check(NULL, false, ""); /* the kernel has not refused */
}

static void yama_by_its_three_settings(void **state)
{
	(void)state;
	situation.refusal = EPERM;
	us.scope = 1;
	check("ptrace_scope", true, "ptrace_scope = 1); run with sudo");
	us.scope = 2;
	check("ptrace_scope", true, "ptrace_scope = 2); run with sudo");
	us.scope = 3;
	check("ptrace_scope 3", false, "until the next boot");
	us.id.effective = may_trace;
	check("ptrace_scope 3", false, "until the next boot");
	situation.them.uid[1] = 0;
	check("ptrace_scope 3", false, "until the next boot");
}

static void root_that_is_none(void **state)
{
	(void)state;
	situation.refusal = EPERM;
	us.id.uid[0] = us.id.uid[1] = 0;
	check("CAP_SYS_PTRACE", false, "--cap-add=SYS_PTRACE");
}

static void users(void **state)
{
	(void)state;
	situation.refusal = EPERM;
	situation.them.uid[1] = 7;
	check("another user", true, "UID 7, you are 1000");
	situation.them.uid[1] = 1000;
	situation.them.gid[2] = 7;
	check("another user", true, "run with sudo");
}

static void what_a_process_does_for_itself(void **state)
{
	(void)state;
	situation.refusal = EPERM;
	situation.them.permitted = 1;
	check("capabilities", true, "CapPrm 1");
	situation.undumpable = true;
	check("not dumpable", true, "protects itself");
}

static void namespaces(void **state)
{
	(void)state;
	situation.refusal = EPERM;
	situation.user_namespace = NAMESPACE_OTHER;
	check("user namespace", false, "root of the host");
	us.id.effective = may_trace;
	check("user namespace", false, "root of the host");
	situation.user_namespace = NAMESPACE_NOT_SEEN;
	us.own_namespace = true;
	check("user namespace", false, "root of the host");
	us.own_namespace = false;
	check("security module", false, "audit log");
}

static void filters(void **state)
{
	(void)state;
	situation.refusal = EPERM;
	us.ptrace_forbidden = true;
	check("seccomp", false, "seccomp=unconfined");
	us.id.effective = may_trace;
	check("seccomp", false, "seccomp=unconfined");
}

static void kernels_and_failures(void **state)
{
	(void)state;
	situation.refusal = EIO;
	check("failure", false, "Input/output error");
	us.kernel[0] = 3;
	us.kernel[1] = 2;
	check("old kernel", false, "Linux 3.2");
	situation.refusal = ESRCH;
	check("gone", false, "ended before");
}

static void what_a_process_is_comes_before_what_it_may(void **state)
{
	(void)state;
	situation.refusal = EPERM;
	situation.elf_class = ELFCLASS32;
	situation.machine = EM_386;
	check("32-bit", false, "perf record -p 42");
	situation.elf_class = ELFCLASS64;
	situation.machine = EM_AARCH64;
	check("not x86-64", false, "ELF machine 183");
	situation.them.tracer = situation.other = 9;
	strcpy(situation.other_name, "gdb");
	check("being traced", false, "by gdb (PID 9)");
	situation.them.state = 'Z';
	check("has ended", false, "zombie");
	situation.them.threads = 2;
	check("being traced", false, "by gdb (PID 9)");
	situation.them.kernel_thread = true;
	check("kernel thread", false, "use perf");
	situation.them.process = 41;
	check("a thread", false, "-p 41 --tid 42");
	situation.visible = false;
	check("hidden", true, "hidepid");
	situation.exists = false;
	check("gone", false, "there is no process 42");
	situation.pid = 1;
	check("itself", false, "itself");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nothing_forbids_it, set_up),
		cmocka_unit_test_setup(yama_by_its_three_settings, set_up),
		cmocka_unit_test_setup(root_that_is_none, set_up),
		cmocka_unit_test_setup(users, set_up),
		cmocka_unit_test_setup(what_a_process_does_for_itself, set_up),
		cmocka_unit_test_setup(namespaces, set_up),
		cmocka_unit_test_setup(filters, set_up),
		cmocka_unit_test_setup(kernels_and_failures, set_up),
		cmocka_unit_test_setup(what_a_process_is_comes_before_what_it_may, set_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
