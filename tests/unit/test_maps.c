/* Lines of /proc/PID/maps: every field, the kernel's own names, and everything that a line can lack. */
#include "unwind/maps.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const char two[] =
	"55d0c0000000-55d0c0001000 r-xp 00002000 fd:1a 1234567                    /usr/bin/a b\n"
	"7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]\n";

static struct maps parsed(const char *text)
{
	struct maps maps;
	assert_int_equal(maps_parse(text, strlen(text), &maps), 0);
	return maps;
}

static void test_fields(void **state)
{
	(void)state;
	struct maps maps = parsed(two);
	assert_int_equal(maps.n, 2);
	const struct map *m = &maps.v[0];
	assert_int_equal(m->start, 0x55d0c0000000);
	assert_int_equal(m->end, 0x55d0c0001000);
	assert_int_equal(m->offset, 0x2000);
	assert_int_equal(m->inode, 1234567);
	assert_int_equal(m->dev_major, 0xfd);
	assert_int_equal(m->dev_minor, 0x1a);
	assert_true(m->read && !m->write && m->exec && !m->deleted);
	assert_string_equal(m->path, "/usr/bin/a b");
	assert_true(maps.v[1].read && maps.v[1].write && !maps.v[1].exec);
	assert_string_equal(maps.v[1].path, "[stack]");
	maps_free(&maps);
	assert_int_equal(maps.n, 0);
}

static void test_deleted(void **state)
{
	(void)state;
	struct maps maps = parsed("1000-2000 r-xp 0 0:0 7 /tmp/x (deleted)\n"
				  "2000-3000 r-xp 0 0:0 7 /tmp/(deleted)\n"
				  "3000-4000 rw-p 0 0:0 0 \n"
				  "4000-5000 rw-p 0 0:0 0");
	assert_int_equal(maps.n, 4);
	assert_true(maps.v[0].deleted);
	assert_string_equal(maps.v[0].path, "/tmp/x");
	assert_false(maps.v[1].deleted);
	assert_string_equal(maps.v[1].path, "/tmp/(deleted)");
	assert_string_equal(maps.v[2].path, "");
	assert_string_equal(maps.v[3].path, "");
	maps_free(&maps);
}

static void test_find(void **state)
{
	(void)state;
	struct maps maps = parsed("1000-2000 r--p 0 0:0 0\n2000-3000 r-xp 0 0:0 0\n5000-6000 rw-p 0 0:0 0\n");
	assert_null(maps_find(&maps, 0));
	assert_null(maps_find(&maps, 0xfff));
	assert_ptr_equal(maps_find(&maps, 0x1000), &maps.v[0]);
	assert_ptr_equal(maps_find(&maps, 0x1fff), &maps.v[0]);
	assert_ptr_equal(maps_find(&maps, 0x2000), &maps.v[1]);
	assert_null(maps_find(&maps, 0x3000));
	assert_null(maps_find(&maps, 0x4fff));
	assert_ptr_equal(maps_find(&maps, 0x5fff), &maps.v[2]);
	assert_null(maps_find(&maps, 0x6000));
	assert_null(maps_find(&maps, UINT64_MAX));
	maps_free(&maps);
	maps = parsed("");
	assert_int_equal(maps.n, 0);
	assert_null(maps_find(&maps, 0x1000));
	maps_free(&maps);
}

static void test_bad_lines_are_left_out(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "x", "-", "1000", "1000-", "1000-2000", "1000-2000 r",
		"1000-2000 r-xp", "1000-2000 r-xp 0 0:0", "2000-1000 r-xp 0 0:0 0", "1000-1000 r-xp 0 0:0 0",
		"10000000000000000-20000000000000000 r-xp 0 0:0 0", "1000-2000 r-xp 0 00 0",
		"G000-H000 r-xp 0 0:0 0", "1000-2000 r-xp 0 0:0 99999999999999999999"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char text[256];
		strcpy(text, bad[i]);
		strcat(text, "\n7000-8000 r-xp 0 0:0 0 good\n");
		struct maps maps = parsed(text);
		assert_int_equal(maps.n, 1);
		assert_string_equal(maps.v[0].path, "good");
		maps_free(&maps);
	}
}

static void test_overlap_is_left_out(void **state)
{
	(void)state;
	struct maps maps =
		parsed("3000-5000 r-xp 0 0:0 0 a\n4000-6000 r-xp 0 0:0 0 b\n1000-2000 r-xp 0 0:0 0 c\n"
		       "5000-6000 r-xp 0 0:0 0 d\n");
	assert_int_equal(maps.n, 2);
	assert_string_equal(maps.v[0].path, "a");
	assert_string_equal(maps.v[1].path, "d");
	maps_free(&maps);
}

/* Cut anywhere: never more lines than begun, and no byte beyond the given ones is read (the copy is exact for
 * the sanitizer). */
static void test_truncated_anywhere(void **state)
{
	(void)state;
	size_t first = (size_t)(strchr(two, '\n') - two);
	for (size_t len = 0; len < sizeof two; len++) {
		struct maps maps;
		char *exact = malloc(len > 0 ? len : 1);
		memcpy(exact, two, len);
		assert_int_equal(maps_parse(exact, len, &maps), 0);
		free(exact);
		assert_true(maps.n <= 1u + (len > first + 1));
		assert_true(len < first || maps.n >= 1);
		maps_free(&maps);
	}
}

static void test_zero_bytes(void **state)
{
	(void)state;
	static const char text[] = "1000-2000 r-xp 0 0:0 0 a\0b\n\0\0\n3000-4000 r-xp 0 0:0 0 c\n";
	struct maps maps;
	assert_int_equal(maps_parse(text, sizeof text - 1, &maps), 0);
	assert_int_equal(maps.n, 2);
	assert_string_equal(maps.v[0].path, "a");
	assert_string_equal(maps.v[1].path, "c");
	maps_free(&maps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_deleted),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_bad_lines_are_left_out),
		cmocka_unit_test(test_overlap_is_left_out),
		cmocka_unit_test(test_truncated_anywhere),
		cmocka_unit_test(test_zero_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
