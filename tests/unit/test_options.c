#include "attach/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int parse(struct options *options, struct error *err, char **argv)
{
	int argc = 0;
	while (argv[argc] != NULL)
		argc++;
	return options_parse(argc, argv, options, err);
}

#define PARSE(options, err, ...) parse(options, err, (char *[]){(char *)"cprof-attach", __VA_ARGS__, NULL})

static void durations_are_understood(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {{"30", 30000000000}, {"30s", 30000000000}, {"1m30s", 90000000000}, {"500ms", 500000000},
		{"1h", 3600000000000}, {"1.5s", 1500000000}, {"1m500ms", 60500000000}};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		int64_t ns = 0;
		assert_true(options_duration(good[i].text, &ns));
		assert_int_equal(ns, good[i].ns);
	}
}

static void bad_durations_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "0", "s", "-1", "1x", "30s1m", "1m1m", "1e5", "nan", "inf",
		"1mss", " 1", "999999h", "0x10", "1 s"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int64_t ns = 7;
		assert_false(options_duration(bad[i], &ns));
		assert_int_equal(ns, 7);
	}
}

static void the_defaults_are_those_of_the_help(void **state)
{
	(void)state;
	struct options options;
	struct error err;
	assert_int_equal(PARSE(&options, &err, (char *)"-p", (char *)"42"), 0);
	assert_int_equal(options.pid, 42);
	assert_int_equal(options.duration_ns, 30000000000);
	assert_true(options.rate_hz == 99);
	assert_int_equal(options.kind, PROFILE_CPU);
	assert_null(options.output);
	assert_int_equal(options.max_depth, 16384);
	assert_non_null(strstr(options_help(), "default 30s"));
	assert_non_null(strstr(options_help(), "default 99"));
	assert_non_null(strstr(options_help(), "default 16384"));
}

static void every_option_is_taken(void **state)
{
	(void)state;
	struct options options;
	struct error err;
	assert_int_equal(PARSE(&options, &err, (char *)"42", (char *)"-F", (char *)"250",
				 (char *)"--event=state", (char *)"--tid", (char *)"7", (char *)"--tid=8",
				 (char *)"-o", (char *)"-", (char *)"-qv", (char *)"--max-depth", (char *)"64",
				 (char *)"--max-overhead", (char *)"0.5%", (char *)"--max-pause=250us",
				 (char *)"--no-realtime", (char *)"--unwinder=both"),
		0);
	assert_true(options.max_overhead == 0.005);
	assert_int_equal(options.max_pause_ns, 250000);
	assert_true(options.no_realtime);
	assert_int_equal(options.unwinder, UNWINDER_BOTH);
	assert_int_equal(options.pid, 42);
	assert_true(options.rate_hz == 250);
	assert_int_equal(options.kind, PROFILE_STATE);
	assert_int_equal(options.n_tids, 2);
	assert_int_equal(options.tids[1], 8);
	assert_string_equal(options.output, "-");
	assert_true(options.quiet && options.verbose);
	assert_int_equal(options.max_depth, 64);
}

static void a_name_stands_for_a_pid(void **state)
{
	(void)state;
	struct options options;
	struct error err;
	assert_int_equal(PARSE(&options, &err, (char *)"-n", (char *)"redis", (char *)"-d1s"), 0);
	assert_string_equal(options.name, "redis");
	assert_int_equal(options.pid, 0);
	assert_int_equal(PARSE(&options, &err, (char *)"--name=redis"), 0);
	assert_string_equal(options.name, "redis");
}

static void refuse(const char *word, char **argv)
{
	struct options options;
	struct error err = {""};
	assert_int_equal(parse(&options, &err, argv), -1);
	assert_non_null(strstr(err.message, word));
	assert_null(strchr(err.message, '\n'));
}

static void usage_errors_name_what_is_wrong(void **state)
{
	(void)state;
#define REFUSE(word, ...) refuse(word, (char *[]){(char *)"cprof-attach", __VA_ARGS__, NULL})
	refuse("which process", (char *[]){(char *)"cprof-attach", NULL});
	REFUSE("'x' is not a PID", (char *)"x");
	REFUSE("'0' is not a PID", (char *)"-p", (char *)"0");
	REFUSE("one process at a time", (char *)"1", (char *)"2");
	REFUSE("not a rate", (char *)"1", (char *)"-r", (char *)"0");
	REFUSE("not a rate", (char *)"1", (char *)"-r", (char *)"nan");
	REFUSE("not a kind", (char *)"1", (char *)"-e", (char *)"heap");
	REFUSE("no option -z", (char *)"1", (char *)"-z");
	REFUSE("--nope is not an option", (char *)"1", (char *)"--nope");
	REFUSE("--duration needs an argument", (char *)"1", (char *)"--duration");
	REFUSE("not a depth", (char *)"1", (char *)"--max-depth=1");
	REFUSE("not an unwinder", (char *)"1", (char *)"--unwinder=gdb");
	REFUSE("not a share", (char *)"1", (char *)"--max-overhead=0");
	REFUSE("not a share", (char *)"1", (char *)"--max-overhead=5x");
	REFUSE("not a pause", (char *)"1", (char *)"--max-pause=soon");
	REFUSE("not a duration", (char *)"1", (char *)"-d", (char *)"5us");
	REFUSE("name is empty", (char *)"1", (char *)"-o", (char *)"");
	REFUSE("name is empty", (char *)"-n", (char *)"");
	REFUSE("one process at a time", (char *)"1", (char *)"-n", (char *)"redis");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_are_understood),
		cmocka_unit_test(bad_durations_are_refused),
		cmocka_unit_test(the_defaults_are_those_of_the_help),
		cmocka_unit_test(every_option_is_taken),
		cmocka_unit_test(a_name_stands_for_a_pid),
		cmocka_unit_test(usage_errors_name_what_is_wrong),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
