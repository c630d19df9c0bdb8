/* Which samples are left, each filter alone and together. */
#include "encoder/filter.h"
#include "tests/unit/made_view.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* A bit for each sample of made_view.h that is left. */
static unsigned left(struct filter filter, const char *focus, const char *ignore)
{
	struct error err;
	unsigned bits = 0;
	assert_int_equal(filter_compile(&filter, focus, ignore, &err), 0);
	struct view *view = filter_apply(&filter, &made_view);
	assert_non_null(view);
	for (size_t i = 0; i < view->n_samples; i++)
		for (unsigned k = 0; k < made_view.n_samples; k++)
			if (view->samples[i].values == made_samples[k].values)
				bits |= 1u << k;
	filter_view_free(view);
	filter_free(&filter);
	return bits;
}

static void without_filters_all_are_left(void **state)
{
	(void)state;
	assert_int_equal(left((struct filter){0}, NULL, NULL), 0xf);
}

static void functions_files_and_modules_match(void **state)
{
	(void)state;
	assert_int_equal(left((struct filter){0}, "^a$", NULL), 0x3);
	assert_int_equal(left((struct filter){0}, "/src/b", NULL), 0x6);
	assert_int_equal(left((struct filter){0}, "z[.]so", NULL), 0x8);
	assert_int_equal(left((struct filter){0}, NULL, "^b$"), 0x9);
	assert_int_equal(left((struct filter){0}, "^a$", "^b$"), 0x1);
	assert_int_equal(left((struct filter){0}, "nothing", NULL), 0);
	assert_int_equal(left((struct filter){0}, "^$", NULL), 0); /* what is unknown matches nothing */
}

static void labels_match_as_a_whole(void **state)
{
	(void)state;
	assert_int_equal(left((struct filter){.tid = 7}, NULL, NULL), 0x5);
	assert_int_equal(left((struct filter){.thread = "two"}, NULL, NULL), 0x2);
	assert_int_equal(left((struct filter){.thread = "tw"}, NULL, NULL), 0);
	assert_int_equal(left((struct filter){.state = "running"}, "^a$", NULL), 0x1);
}

static void a_pattern_that_does_not_compile_is_named(void **state)
{
	(void)state;
	struct error err;
	struct filter filter = {0};
	assert_int_equal(filter_compile(&filter, "a", "x(", &err), -1);
	assert_non_null(strstr(err.message, "'x('"));
	filter_free(&filter); /* of what did compile */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_filters_all_are_left),
		cmocka_unit_test(functions_files_and_modules_match),
		cmocka_unit_test(labels_match_as_a_whole),
		cmocka_unit_test(a_pattern_that_does_not_compile_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
