#include "attach/histogram.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void percentiles_are_within_a_bucket(void **state)
{
	(void)state;
	static struct histogram h;
	for (uint64_t i = 1; i <= 100000; i++)
		histogram_add(&h, i * 10);
	assert_int_equal(h.count, 100000);
	assert_int_equal(h.max_ns, 1000000);
	assert_in_range(histogram_percentile(&h, 50), 500000 * 94 / 100, 500000 * 106 / 100);
	assert_in_range(histogram_percentile(&h, 99), 990000 * 94 / 100, 990000 * 106 / 100);
	assert_in_range(histogram_percentile(&h, 100), 1000000 * 94 / 100, 1000000);
}

static void the_ends_of_the_range_have_buckets(void **state)
{
	(void)state;
	static struct histogram h;
	assert_int_equal(histogram_percentile(&h, 50), 0);
	histogram_add(&h, 0);
	assert_int_equal(histogram_percentile(&h, 50), 0);
	histogram_add(&h, UINT64_MAX);
	assert_int_equal(h.max_ns, UINT64_MAX);
	assert_true(histogram_percentile(&h, 100) > UINT64_MAX / 16 * 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(percentiles_are_within_a_bucket),
		cmocka_unit_test(the_ends_of_the_range_have_buckets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
