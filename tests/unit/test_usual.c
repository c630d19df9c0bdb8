#include "attach/usual.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_few_values_tell_nothing(void **state)
{
	(void)state;
	struct usual usual = {0};
	int64_t ns = 1;
	for (int i = 0; i < 4; i++) {
		assert_false(usual_is(&usual, &ns));
		usual_add(&usual, 10);
	}
	assert_false(usual_is(&usual, &ns));
	usual_add(&usual, 10);
	assert_true(usual_is(&usual, &ns));
	assert_int_equal(ns, 10);
}

static void test_outliers_do_not_move_it(void **state)
{
	(void)state;
	struct usual usual = {0};
	int64_t ns;
	for (int i = 0; i < 100; i++)
		usual_add(&usual, i % 3 == 0 ? 1000000 + i : i % 3 == 1 ? 12 : -7);
	assert_true(usual_is(&usual, &ns));
	assert_int_equal(ns, 12);
}

static void test_it_follows(void **state)
{
	(void)state;
	struct usual usual = {0};
	int64_t ns;
	for (int i = 0; i < 40; i++)
		usual_add(&usual, 10);
	for (int i = 0; i < USUAL_KEPT / 2 + 1; i++)
		usual_add(&usual, 20);
	assert_true(usual_is(&usual, &ns));
	assert_int_equal(ns, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few_values_tell_nothing),
		cmocka_unit_test(test_outliers_do_not_move_it),
		cmocka_unit_test(test_it_follows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
