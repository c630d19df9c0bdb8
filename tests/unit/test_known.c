/* Answers that are kept: many, of several images, until they are forgotten. */
#include "symbols/known.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MANY = 10000 };

/* Only their addresses matter. */
static const struct image *image_number(size_t i)
{
	static const char images[80];
	return (const struct image *)&images[i];
}

static struct symbolized answer_of(char *text, size_t size, size_t image, uint64_t vaddr)
{
	static struct source_line line;
	snprintf(text, size, "f%zu_%lu", image, (unsigned long)vaddr);
	line = (struct source_line){.function = text, .system_name = text, .file = "x.c", .line = 7};
	return (struct symbolized){&line, 1};
}

static void each_address_of_each_image(void **state)
{
	(void)state;
	char text[64];
	struct symbolized found;
	struct known *known = known_new();
	for (uint64_t i = 0; i < MANY; i++) {
		assert_false(known_find(known, image_number(i % 3), i * 16, &found));
		struct symbolized answer = answer_of(text, sizeof text, i % 3, i * 16);
		assert_int_equal(known_keep(known, image_number(i % 3), i * 16, &answer), 0);
	}
	for (uint64_t i = 0; i < MANY; i++) {
		struct symbolized answer = answer_of(text, sizeof text, i % 3, i * 16);
		assert_true(known_find(known, image_number(i % 3), i * 16, &found));
		assert_int_equal(found.n, 1);
		assert_string_equal(found.lines[0].function, answer.lines[0].function);
		assert_ptr_not_equal(found.lines[0].function, text); /* a copy */
		assert_int_equal(found.lines[0].line, 7);
		assert_false(known_find(known, image_number(i % 3 + 1), i * 16, &found));
	}
	known_tidy(known); /* these are not too many */
	assert_true(known_find(known, image_number(0), 0, &found));
	known_free(known);
}

static void an_address_without_a_name_is_known_to_have_none(void **state)
{
	(void)state;
	struct symbolized found = {NULL, 9}, nothing = {NULL, 0};
	struct known *known = known_new();
	assert_int_equal(known_keep(known, image_number(0), 5, &nothing), 0);
	assert_true(known_find(known, image_number(0), 5, &found));
	assert_int_equal(found.n, 0);
	known_free(known);
}

static void very_many_are_forgotten(void **state)
{
	(void)state;
	struct symbolized found, nothing = {NULL, 0};
	struct known *known = known_new();
	for (uint64_t i = 0; i < 1 << 18; i++)
		assert_int_equal(known_keep(known, image_number(0), i, &nothing), 0);
	assert_true(known_find(known, image_number(0), 5, &found));
	known_tidy(known);
	assert_false(known_find(known, image_number(0), 5, &found));
	assert_int_equal(known_keep(known, image_number(0), 5, &nothing), 0);
	assert_true(known_find(known, image_number(0), 5, &found));
	known_free(known);
}

static void failures_are_counted_by_image(void **state)
{
	(void)state;
	struct known *known = known_new();
	assert_int_equal(known_failures(known, image_number(1)), 0);
	known_failed(known, image_number(1));
	known_failed(known, image_number(1));
	known_failed(known, image_number(2));
	assert_int_equal(known_failures(known, image_number(0)), 0);
	assert_int_equal(known_failures(known, image_number(1)), 2);
	assert_int_equal(known_failures(known, image_number(2)), 1);
	for (size_t i = 0; i < 80; i++)
		known_failed(known, image_number(i));
	known_free(known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_address_of_each_image),
		cmocka_unit_test(an_address_without_a_name_is_known_to_have_none),
		cmocka_unit_test(very_many_are_forgotten),
		cmocka_unit_test(failures_are_counted_by_image),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
