/* Choosing a process by its name, and what is said when none or many have it; text for terminals. */
#include "attach/processes.h"
#include "encoder/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct process some[] = {
	{.id = {.pid = 10},
		.user = "redis",
		.name = "redis-server",
		.program = "redis-server",
		.command = "redis-server *:6379"},
	{.id = {.pid = 11},
		.user = "root",
		.name = "main",
		.program = "postgres",
		.called = "postgres: walwriter",
		.command = "postgres: walwriter"},
	{.id = {.pid = 12},
		.user = "root",
		.name = "postgres",
		.program = "postgres",
		.called = "postgres",
		.command = "/usr/bin/postgres -D x"},
	{.id = {.pid = 13},
		.user = "me",
		.name = "python3",
		.program = "python3.11",
		.called = "python3",
		.command = "python3 report.py"},
	{.id = {.pid = 14},
		.user = "me",
		.name = "sh",
		.program = "dash",
		.called = "sh",
		.command = "sh -c cprof-attach -n starter",
		.ours = true},
	{.id = {.pid = 15}, .user = "me", .name = "py", .program = "py", .called = "py", .command = "py"},
};
static struct processes list = {some, sizeof some / sizeof *some, 0};

static void chosen(const char *pattern, pid_t wanted)
{
	struct error err = {""};
	pid_t pid = 0;
	if (processes_choose_from(&list, pattern, &pid, &err) != 0)
		fail_msg("%s: %s", pattern, err.message);
	assert_int_equal(pid, wanted);
}

static void refused(const char *pattern, const char *words)
{
	struct error err = {""};
	pid_t pid = 7;
	assert_int_equal(processes_choose_from(&list, pattern, &pid, &err), -1);
	assert_int_equal(pid, 7);
	if (strstr(err.message, words) == NULL)
		fail_msg("no '%s' in: %s", words, err.message);
	assert_null(strchr(err.message, '\n'));
}

static void one_is_chosen(void **state)
{
	(void)state;
	chosen("redis-server", 10);
	chosen("redis", 10);
	chosen("^r.*r$", 10);
	chosen("main", 11);
	chosen("walwriter", 11);
	chosen("python3.11", 13);
	chosen("dash", 14);
	chosen("py", 15); /* exactly so, though others have it in their names */
	chosen("(python|nothing)", 13);
}

static void many_are_named(void **state)
{
	(void)state;
	refused("postgres",
		"2 processes are called 'postgres': choose one with -p PID: 11 (root, postgres: walwriter), "
		"12 (root, /usr/bin/postgres -D x)");
	refused("[a-z]", "6 processes");
}

static void none_says_what_is_near(void **state)
{
	(void)state;
	refused("redsi-server", "is it redis-server (PID 10)?");
	refused("Redis-Server", "is it redis-server (PID 10)?");
	refused("report.py", "process 13 has it in its command line");
	refused("starter", "'starter': cprof-attach ps lists all"); /* only our own starter has it */
	refused("something-else", "'something-else': cprof-attach ps lists all");
	refused("[", "'[': cprof-attach ps lists all"); /* not a regular expression, and nobody's name */
}

static void long_lists_are_cut(void **state)
{
	(void)state;
	static struct process many[100];
	struct processes crowd = {many, 100, 0};
	struct error err;
	pid_t pid;
	for (int i = 0; i < 100; i++) {
		many[i].id.pid = 4000000 + i;
		strcpy(many[i].name, "crowd");
		memset(many[i].user, 'u', sizeof many[i].user - 1);
		for (size_t k = 0; k + 3 < sizeof many[i].command; k += 3)
			memcpy(many[i].command + k, "\xe2\x82\xac", 3);
	}
	assert_int_equal(processes_choose_from(&crowd, "crowd", &pid, &err), -1);
	assert_non_null(strstr(err.message, " more"));
	char text[sizeof err.message];
	strcpy(text, err.message);
	utf8_clean(text);
	assert_string_equal(text, err.message); /* no character was cut in two */
}

static void a_filter_keeps_what_matches(void **state)
{
	(void)state;
	struct process copy[6];
	struct processes some_of = {copy, 6, 0};
	struct error err;
	memcpy(copy, some, sizeof copy);
	assert_int_equal(processes_filter(&some_of, "p(y|ostgres)", &err), 0);
	assert_int_equal(some_of.n, 4);
	assert_int_equal(processes_filter(&some_of, "report", &err), 0);
	assert_int_equal(some_of.n, 1);
	assert_int_equal(some_of.v[0].id.pid, 13);
	assert_int_equal(processes_filter(&some_of, "redis", &err), -1);
	assert_int_equal(some_of.n, 1);
}

static void we_are_not_listed_and_our_parent_is(void **state)
{
	(void)state;
	struct processes all;
	struct error err;
	bool parent = false;
	assert_int_equal(processes_list(&all, &err), 0);
	for (size_t i = 0; i < all.n; i++) {
		assert_int_not_equal(all.v[i].id.pid, getpid());
		if (all.v[i].id.pid == getppid())
			parent = all.v[i].ours;
	}
	assert_true(parent);
	processes_free(&all);
}

static void text_for_terminals(void **state)
{
	(void)state;
	char text[] = "a\x1b[1m\x7f\xc2\x9b\xc2\xa0\xff\n\xe2\x82\xac", euro[] = "x\xe2\x82\xacy";
	utf8_printable(text);
	assert_string_equal(text, "a?[1m???\xc2\xa0??\xe2\x82\xac");
	assert_int_equal(utf8_columns(euro), 3);
	assert_int_equal(utf8_cut(euro, 2), 4);
	assert_int_equal(utf8_cut(euro, 0), 0);
	assert_int_equal(utf8_cut(euro, SIZE_MAX), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_is_chosen),
		cmocka_unit_test(many_are_named),
		cmocka_unit_test(none_says_what_is_near),
		cmocka_unit_test(long_lists_are_cut),
		cmocka_unit_test(a_filter_keeps_what_matches),
		cmocka_unit_test(we_are_not_listed_and_our_parent_is),
		cmocka_unit_test(text_for_terminals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
