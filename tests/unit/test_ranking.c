/* What `top` shows of some windows, worked out by hand. Frames have addresses for names. */
#include "attach/ranking.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { S = 1000000000 };

static const struct labels one = {.thread = "one", .tid = 7, .pid = 7};
static const struct labels two = {.thread = "two", .tid = 8, .pid = 7};

static int new_ranking(void **state)
{
	*state = ranking_new();
	return *state == NULL;
}

static int free_ranking(void **state)
{
	ranking_free(*state);
	return 0;
}

/* Up to four addresses below 0x100, one in each byte, the leaf first: 0x0a0b is 0xb called by 0xa. */
static void add(struct profile *profile, uint32_t addresses, const struct labels *labels, int64_t ns)
{
	struct frame v[4];
	struct stack stack = {.v = v, .cap = 4, .why = STOP_ROOT};
	for (; addresses != 0; addresses >>= 8)
		v[stack.n++] = (struct frame){.pc = addresses & 0xff, .mapping = MAPPING_NONE};
	assert_int_equal(profile_add(profile, &stack, labels, 1, ns), 0);
}

/* A second's profile is the ranking's next window. */
static void give(struct ranking *ranking, struct profile *profile)
{
	static const struct pprof_times times = {.duration_ns = S, .period_ns = 10000000};
	struct profile_view window;
	struct error err;
	assert_int_equal(profile_view_open(profile, &times, "made", &window, &err), 0);
	profile_free(profile);
	ranking_add(ranking, &window);
	assert_null(window.view);
}

/* A window in which only this happened. */
static void give_one(struct ranking *ranking, uint32_t addresses, int64_t ns)
{
	struct profile *profile = profile_new(PROFILE_CPU);
	add(profile, addresses, &one, ns);
	give(ranking, profile);
}

static void assert_function(
	const struct ranking_function *row, const char *name, int64_t self, int64_t total, int64_t ever)
{
	assert_string_equal(row->name, name);
	assert_int_equal(row->self, self);
	assert_int_equal(row->total, total);
	assert_int_equal(row->self_ever, ever);
}

static void functions_are_of_the_last_windows(void **state)
{
	struct ranking *ranking = *state;
	size_t n;
	assert_int_equal(ranking_windows(ranking), 0);
	ranking_functions(ranking, RANKING_SELF, &n);
	assert_int_equal(n, 0);
	give_one(ranking, 0x010f, 100);
	for (int i = 0; i < RANKING_WINDOWS - 1; i++)
		give_one(ranking, 0x010a, 30);
	const struct ranking_function *rows = ranking_functions(ranking, RANKING_SELF, &n);
	assert_int_equal(n, 3);
	assert_int_equal(ranking_total(ranking), 190);
	assert_function(&rows[0], "0xf", 100, 100, 100);
	assert_function(&rows[1], "0xa", 90, 90, 90);
	assert_function(&rows[2], "0x1", 0, 190, 0);
	/* The first falls out, but for what it has used since the beginning. */
	give_one(ranking, 0x0a, 30);
	assert_int_equal(ranking_windows(ranking), RANKING_WINDOWS);
	assert_int_equal(ranking_total(ranking), 120);
	rows = ranking_functions(ranking, RANKING_SELF, &n);
	assert_int_equal(n, 3);
	assert_function(&rows[0], "0xa", 120, 120, 120);
	assert_function(&rows[1], "0x1", 0, 90, 0);
	assert_function(&rows[2], "0xf", 0, 0, 100);
}

static void assert_order(struct ranking *ranking, enum ranking_order order, const char *names)
{
	size_t n;
	char text[64] = "";
	const struct ranking_function *rows = ranking_functions(ranking, order, &n);
	for (size_t i = 0; i < n; i++)
		strcat(strcat(text, rows[i].name), " ");
	assert_string_equal(text, names);
}

static void each_order(void **state)
{
	struct ranking *ranking = *state;
	give_one(ranking, 0x0e, 500);
	for (int i = 0; i < RANKING_WINDOWS; i++) {
		struct profile *profile = profile_new(PROFILE_CPU);
		add(profile, 0x010a, &one, 10);
		add(profile, 0x010b, &one, 20);
		add(profile, 0x010c0d, &one, 15);
		give(ranking, profile);
	}
	assert_order(ranking, RANKING_SELF, "0xb 0xd 0xa 0x1 0xc 0xe ");
	assert_order(ranking, RANKING_TOTAL, "0x1 0xb 0xd 0xc 0xa 0xe ");
	assert_order(ranking, RANKING_EVER, "0xe 0xb 0xd 0xa 0x1 0xc ");
	assert_order(ranking, RANKING_NAME, "0x1 0xa 0xb 0xc 0xd 0xe ");
}

static void a_recursion_counts_once(void **state)
{
	struct ranking *ranking = *state;
	size_t n;
	give_one(ranking, 0x0a0a0a, 10);
	const struct ranking_function *rows = ranking_functions(ranking, RANKING_SELF, &n);
	assert_int_equal(n, 1);
	assert_function(&rows[0], "0xa", 10, 10, 10);
}

static void assert_thread(
	const struct ranking_thread *row, int64_t tid, const char *name, int64_t busy_ns, const char *state)
{
	assert_int_equal(row->tid, tid);
	assert_string_equal(row->name, name);
	assert_int_equal(row->busy_ns, busy_ns);
	assert_string_equal(row->state, state);
}

static void threads_by_what_they_used(void **state)
{
	struct ranking *ranking = *state;
	size_t n;
	struct profile *profile = profile_new(PROFILE_CPU);
	add(profile, 0x0a, &one, 10);
	add(profile, 0x0a, &two, 25);
	add(profile, 0x0b, &one, 20);
	give(ranking, profile);
	const struct ranking_thread *rows = ranking_threads(ranking, &n);
	assert_int_equal(n, 2);
	assert_thread(&rows[0], 7, "one", 30, "");
	assert_thread(&rows[1], 8, "two", 25, "");
	assert_true(ranking_seconds(ranking) == 1);
}

static void threads_by_their_states(void **state)
{
	struct ranking *ranking = *state;
	size_t n;
	struct profile *profile = profile_new(PROFILE_STATE);
	struct labels labels = one;
	labels.state = "sleeping";
	add(profile, 0x0a, &labels, 500);
	labels.state = "running";
	add(profile, 0x0a, &labels, 300);
	labels.state = "runnable";
	add(profile, 0x0a, &labels, 200);
	labels = two;
	labels.state = "disk";
	add(profile, 0x0a, &labels, 1000);
	give(ranking, profile);
	const struct ranking_thread *rows = ranking_threads(ranking, &n);
	assert_int_equal(n, 2);
	assert_thread(&rows[0], 7, "one", 500, "sleeping");
	assert_thread(&rows[1], 8, "two", 0, "disk");
	assert_int_equal(rows[1].ns, 1000);
}

static void assert_caller(const struct ranking_caller *row, const char *name, unsigned indent, int64_t ns)
{
	assert_string_equal(row->name, name);
	assert_int_equal(row->indent, indent);
	assert_int_equal(row->ns, ns);
}

static void callers_stand_below_whom_they_call(void **state)
{
	struct ranking *ranking = *state;
	size_t n;
	struct profile *profile = profile_new(PROFILE_CPU);
	add(profile, 0x01020a, &one, 10); /* 1 calls 2 calls a */
	add(profile, 0x01020a0b, &one, 5); /* in a call of b */
	add(profile, 0x01030a, &two, 20);
	add(profile, 0x04030a, &two, 1);
	add(profile, 0x01020c, &two, 1000);
	give(ranking, profile);
	const struct ranking_caller *rows = ranking_callers(ranking, "0xa", &n);
	assert_int_equal(n, 6);
	assert_caller(&rows[0], "0xa", 0, 36);
	assert_caller(&rows[1], "0x3", 1, 21);
	assert_caller(&rows[2], "0x1", 2, 20);
	assert_caller(&rows[3], "0x4", 2, 1);
	assert_caller(&rows[4], "0x2", 1, 15);
	assert_caller(&rows[5], "0x1", 2, 15);
	ranking_callers(ranking, "0xee", &n);
	assert_int_equal(n, 0);
}

static void callers_of_a_recursion_begin_at_its_innermost_call(void **state)
{
	struct ranking *ranking = *state;
	size_t n;
	give_one(ranking, 0x010a0a, 10);
	const struct ranking_caller *rows = ranking_callers(ranking, "0xa", &n);
	assert_int_equal(n, 3);
	assert_caller(&rows[0], "0xa", 0, 10);
	assert_caller(&rows[1], "0xa", 1, 10);
	assert_caller(&rows[2], "0x1", 2, 10);
}

static void a_line_of_callers_is_not_indented(void **state)
{
	struct ranking *ranking = *state;
	size_t n;
	struct profile *profile = profile_new(PROFILE_CPU);
	add(profile, 0x0102030a, &one, 10);
	add(profile, 0x0402030a, &one, 5);
	give(ranking, profile);
	const struct ranking_caller *rows = ranking_callers(ranking, "0xa", &n);
	assert_int_equal(n, 5);
	assert_caller(&rows[0], "0xa", 0, 15);
	assert_caller(&rows[1], "0x3", 1, 15);
	assert_caller(&rows[2], "0x2", 2, 15);
	assert_caller(&rows[3], "0x1", 3, 10);
	assert_caller(&rows[4], "0x4", 3, 5);
	give_one(ranking, 0x010b0c0d, 7);
	rows = ranking_callers(ranking, "0xd", &n);
	assert_int_equal(n, 4);
	assert_caller(&rows[2], "0xb", 2, 7);
	assert_caller(&rows[3], "0x1", 2, 7);
}

/* More ways than are shown, each deeper than is shown. */
static void ways_without_end(void **state)
{
	enum { WAYS = 6000, DEPTH = 300 };
	struct ranking *ranking = *state;
	struct profile *profile = profile_new(PROFILE_CPU);
	struct frame v[DEPTH];
	struct stack stack = {.v = v, .cap = DEPTH, .n = DEPTH, .why = STOP_ROOT};
	size_t n;
	for (uint64_t i = 0; i < WAYS; i++) {
		for (uint64_t k = 0; k < DEPTH; k++)
			v[k] = (struct frame){.pc = k == 0 ? 1 : 2 + i * 7 + k, .mapping = MAPPING_NONE};
		stack.n = i < 16 ? DEPTH : 2;
		assert_int_equal(profile_add(profile, &stack, &one, 1, 10), 0);
	}
	give(ranking, profile);
	const struct ranking_caller *rows = ranking_callers(ranking, "0x1", &n);
	assert_in_range(n, 1000, 5000);
	assert_caller(&rows[0], "0x1", 0, (int64_t)WAYS * 10);
	unsigned deepest = 0;
	for (size_t i = 0; i < n; i++)
		deepest = rows[i].indent > deepest ? rows[i].indent : deepest;
	assert_int_equal(deepest, 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, new_ranking, free_ranking)
	const struct CMUnitTest tests[] = {
		TEST(functions_are_of_the_last_windows),
		TEST(each_order),
		TEST(a_recursion_counts_once),
		TEST(threads_by_what_they_used),
		TEST(threads_by_their_states),
		TEST(callers_stand_below_whom_they_call),
		TEST(callers_of_a_recursion_begin_at_its_innermost_call),
		TEST(a_line_of_callers_is_not_indented),
		TEST(ways_without_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
