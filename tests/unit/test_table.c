/* The interning table: numbers, borders between keys, growth. */
#include "encoder/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MANY = 100000 };

static void numbers_ascend_in_order_of_first_sight(void **state)
{
	(void)state;
	struct table table = {0};
	assert_int_equal(table_intern(&table, "b", 1), 0);
	assert_int_equal(table_intern(&table, "a", 1), 1);
	assert_int_equal(table_intern(&table, "b", 1), 0);
	assert_int_equal(table_intern(&table, "c", 1), 2);
	assert_int_equal(table.n, 3);
	table_free(&table);
	assert_int_equal(table.n, 0);
	assert_int_equal(table_intern(&table, "c", 1), 0); /* as new */
	table_free(&table);
}

/* Keys are padded inside: their lengths must still tell them apart. */
static void keys_of_other_lengths_are_other_keys(void **state)
{
	(void)state;
	static const char zeros[32];
	struct table table = {0};
	size_t len;
	for (uint32_t i = 0; i <= sizeof zeros; i++)
		assert_int_equal(table_intern(&table, zeros, i), i);
	for (uint32_t i = 0; i <= sizeof zeros; i++) {
		assert_int_equal(table_intern(&table, zeros, i), i);
		assert_memory_equal(table_key(&table, i, &len), zeros, i > 0 ? i : 1);
		assert_int_equal(len, i);
	}
	table_free(&table);
}

static void an_empty_key_needs_no_bytes(void **state)
{
	(void)state;
	struct table table = {0};
	assert_int_equal(table_intern(&table, NULL, 0), 0);
	assert_int_equal(table_intern(&table, "", 0), 0);
	assert_int_equal(table_intern(&table, "x", 1), 1);
	table_free(&table);
}

static void keys_that_differ_in_one_byte_are_other_keys(void **state)
{
	(void)state;
	struct table table = {0};
	uint8_t key[27] = {0};
	assert_int_equal(table_intern(&table, key, sizeof key), 0);
	for (uint32_t i = 0; i < sizeof key * 8; i++) {
		key[i / 8] = (uint8_t)(1u << i % 8);
		assert_int_equal(table_intern(&table, key, sizeof key), i + 1);
		key[i / 8] = 0;
	}
	assert_int_equal(table_intern(&table, key, sizeof key), 0);
	table_free(&table);
}

static void many_keys_keep_their_numbers(void **state)
{
	(void)state;
	struct table table = {0};
	char key[32];
	size_t len;
	for (uint32_t i = 0; i < MANY; i++) {
		int n = snprintf(key, sizeof key, "%u%.*s", i, (int)(i % 20), "--------------------");
		assert_int_equal(table_intern(&table, key, (size_t)n + 1), i);
	}
	for (uint32_t i = 0; i < MANY; i++) {
		const void *there = table_key(&table, i, &len);
		char copy[32];
		assert_in_range(len, 1, sizeof copy);
		memcpy(copy, there, len);
		assert_int_equal((uintptr_t)there % 8, 0); /* keys are read as structures */
		assert_int_equal(table_intern(&table, copy, len), i);
	}
	assert_int_equal(table.n, MANY);
	table_free(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_ascend_in_order_of_first_sight),
		cmocka_unit_test(keys_of_other_lengths_are_other_keys),
		cmocka_unit_test(an_empty_key_needs_no_bytes),
		cmocka_unit_test(keys_that_differ_in_one_byte_are_other_keys),
		cmocka_unit_test(many_keys_keep_their_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
