#include "attach/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void names_are_expanded(void **state)
{
	(void)state;
	char path[PATH_MAX];
	struct error err;
	setenv("TZ", "UTC", 1);
	assert_int_equal(output_expand(OUTPUT_PATTERN ".pb.gz", 42, "redis-server", 0, path, &err), 0);
	assert_string_equal(path, "cprof-redis-server-42-19700101T000000.pb.gz");
	assert_int_equal(output_expand("a%p/%%%x", 42, "x", 0, path, &err), 0);
	assert_string_equal(path, "a42/%%x");
}

static void a_program_cannot_choose_the_folder(void **state)
{
	(void)state;
	char path[PATH_MAX];
	struct error err;
	assert_int_equal(output_expand("%n", 1, "../../etc/x y", 0, path, &err), 0);
	assert_string_equal(path, ".._.._etc_x_y");
}

static void too_long_a_name_is_refused(void **state)
{
	(void)state;
	char pattern[PATH_MAX + 8], path[PATH_MAX] = "untouched";
	struct error err;
	memset(pattern, 'a', sizeof pattern - 1);
	pattern[sizeof pattern - 1] = '\0';
	assert_int_equal(output_expand(pattern, 1, "x", 0, path, &err), -1);
	assert_string_equal(path, "untouched");
}

static char folder[] = "/tmp/test_output.XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) != NULL && chdir(folder) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static void the_name_appears_only_when_committed(void **state)
{
	(void)state;
	struct output output;
	struct error err;
	assert_int_equal(output_open("out", false, &output, &err), 0);
	assert_int_equal(access("out", F_OK), -1);
	assert_int_equal(write(output.fd, "x", 1), 1);
	assert_int_equal(output_commit(&output, &err), 0);
	struct stat st;
	assert_int_equal(stat("out", &st), 0);
	assert_int_equal(st.st_size, 1);
	assert_int_equal(st.st_mode & 0777, 0644);
	output_discard(&output);
	assert_int_equal(access("out", F_OK), 0);
	assert_int_equal(unlink("out"), 0);
}

static void a_discarded_file_leaves_nothing(void **state)
{
	(void)state;
	struct output output;
	struct error err;
	assert_int_equal(output_open("out", false, &output, &err), 0);
	output_discard(&output);
	output_discard(&output);
	/* remove_folder fails if a temporary is left. */
	assert_int_equal(access("out", F_OK), -1);
}

static void bad_places_are_refused(void **state)
{
	(void)state;
	struct output output;
	struct error err;
	assert_int_equal(output_open("no/such/folder", false, &output, &err), -1);
	assert_non_null(strstr(err.message, "no/such/: No such file"));
	assert_int_equal(output_open("/tmp", false, &output, &err), -1);
	assert_non_null(strstr(err.message, "is a folder"));
}

int main(void)
{
	umask(022);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_expanded),
		cmocka_unit_test(a_program_cannot_choose_the_folder),
		cmocka_unit_test(too_long_a_name_is_refused),
		cmocka_unit_test(the_name_appears_only_when_committed),
		cmocka_unit_test(a_discarded_file_leaves_nothing),
		cmocka_unit_test(bad_places_are_refused),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
