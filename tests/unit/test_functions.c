/* Sums by function and by pair of functions, worked out by hand for the stacks of made_view.h. */
#include "encoder/edges.h"
#include "tests/unit/made_view.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct function_sum *find(const struct functions *functions, const char *name)
{
	for (size_t i = 0; i < functions->n; i++)
		if (strcmp(functions->v[i].name, name) == 0)
			return &functions->v[i];
	fail_msg("no function %s", name);
	return NULL;
}

static void assert_sums(const struct functions *functions, const char *name, int64_t flat, int64_t cum)
{
	assert_int_equal(find(functions, name)->flat, flat);
	assert_int_equal(find(functions, name)->cum, cum);
}

static void a_stack_counts_once_for_a_function(void **state)
{
	(void)state;
	struct functions functions;
	assert_int_equal(functions_sum(&made_view, 1, &functions), 0);
	assert_int_equal(functions.total, 150);
	assert_sums(&functions, "main", 0, 150);
	assert_sums(&functions, "a", 10, 30);
	assert_sums(&functions, "b", 60, 60);
	assert_sums(&functions, "[z.so]", 80, 80);
	assert_sums(&functions, "c", 0, 0);
	functions_free(&functions);
}

static void functions_without_samples_come_last(void **state)
{
	(void)state;
	static const char *const by_flat[] = {"[z.so]", "b", "a", "main", "c"};
	static const char *const by_cum[] = {"main", "[z.so]", "b", "a", "c"};
	struct functions functions;
	assert_int_equal(functions_sum(&made_view, 0, &functions), 0);
	assert_int_equal(functions.n, 5);
	assert_int_equal(functions.n_used, 4);
	for (size_t i = 0; i < functions.n; i++) {
		assert_string_equal(functions.v[functions.by_flat[i]].name, by_flat[i]);
		assert_string_equal(functions.v[functions.by_cum[i]].name, by_cum[i]);
	}
	functions_free(&functions);
}

static void sums_stay_at_the_largest_number(void **state)
{
	(void)state;
	static const int64_t large[] = {INT64_MAX - 1, INT64_MIN};
	const struct view_sample samples[] = {
		{made_stacks[0], 2, NULL, 0, large}, {made_stacks[0], 2, NULL, 0, large}};
	struct view view = made_view;
	struct functions functions;
	view.samples = samples;
	view.n_samples = 2;
	assert_int_equal(functions_sum(&view, 0, &functions), 0);
	assert_sums(&functions, "a", INT64_MAX, INT64_MAX);
	functions_free(&functions);
	assert_int_equal(functions_sum(&view, 1, &functions), 0);
	assert_sums(&functions, "a", INT64_MIN, INT64_MIN);
	assert_string_equal(functions.v[functions.by_flat[0]].name, "a"); /* the size counts, not the sign */
	functions_free(&functions);
}

static void a_function_does_not_call_itself(void **state)
{
	(void)state;
	struct functions functions;
	struct edges edges;
	size_t n;
	assert_int_equal(functions_sum(&made_view, 1, &functions), 0);
	assert_int_equal(edges_sum(&made_view, 1, &functions, &edges), 0);
	assert_int_equal(edges.n, 4); /* main to a, b and [z.so]; a to b */
	uint32_t a = (uint32_t)(find(&functions, "a") - functions.v),
		 b = (uint32_t)(find(&functions, "b") - functions.v);
	const struct edge *callers = edges_callers(&edges, a, &n);
	assert_int_equal(n, 1);
	assert_int_equal(callers[0].value, 30);
	callers = edges_callers(&edges, b, &n);
	assert_int_equal(n, 2);
	assert_string_equal(functions.v[callers[0].caller].name, "main");
	assert_int_equal(callers[0].value, 40);
	assert_int_equal(callers[1].caller, a);
	assert_int_equal(callers[1].value, 20);
	assert_ptr_not_equal(edges_callees(&edges, a, &n), NULL);
	assert_int_equal(n, 1);
	edges_callees(&edges, b, &n);
	assert_int_equal(n, 0);
	edges_free(&edges);
	functions_free(&functions);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stack_counts_once_for_a_function),
		cmocka_unit_test(functions_without_samples_come_last),
		cmocka_unit_test(sums_stay_at_the_largest_number),
		cmocka_unit_test(a_function_does_not_call_itself),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
