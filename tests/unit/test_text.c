/* Values for people, the table's shape, and the excerpts of --list. */
#include "encoder/text.h"
#include "tests/unit/made_view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void assert_value(int64_t value, const char *unit, const char *expected)
{
	char text[TEXT_VALUE_WIDTH];
	text_value(value, unit, text);
	assert_string_equal(text, expected);
}

static void values_have_the_largest_unit_that_fits(void **state)
{
	(void)state;
	assert_value(0, "nanoseconds", "0");
	assert_value(999, "nanoseconds", "999ns");
	assert_value(1000, "nanoseconds", "1.00us");
	assert_value(1250000, "nanoseconds", "1.25ms");
	assert_value(-1250000000, "nanoseconds", "-1.25s");
	assert_value(1500, "microseconds", "1.50ms");
	assert_value(1500, "milliseconds", "1.50s");
	assert_value(1023, "bytes", "1023B");
	assert_value(1536, "bytes", "1.50kB");
	assert_value(INT64_C(3) << 30, "bytes", "3.00GB");
	assert_value(17, "count", "17");
	assert_value(INT64_MIN, "", "-9223372036854775808");
	assert_value(INT64_MIN, "nanoseconds", "-9223372036.85s");
}

/* The text without its head, which ends with an empty line. */
static char *text_for(const struct view *view, const struct text_options *options)
{
	struct error err;
	int fd = memory_file();
	assert_int_equal(text_write(view, options, fd, &err), 0);
	char *text = text_of(fd);
	assert_non_null(text);
	close(fd);
	const char *rest = strstr(text, "\n\n");
	assert_non_null(rest);
	memmove(text, rest + 2, strlen(rest + 2) + 1);
	return text;
}

static void rows_are_aligned_and_end_where_the_samples_do(void **state)
{
	(void)state;
	char *text = text_for(&made_view, &(struct text_options){0});
	assert_string_equal(text, "      flat   flat%    sum%        cum    cum%\n"
				  "      80ns  53.33%  53.33%       80ns  53.33%  [z.so]\n"
				  "      60ns  40.00%  93.33%       60ns  40.00%  b\n"
				  "      10ns   6.67% 100.00%       30ns  20.00%  a\n"
				  "         0   0.00% 100.00%      150ns 100.00%  main\n");
	free(text);
	text = text_for(&made_view, &(struct text_options){.top = 3, .by_cum = true});
	assert_non_null(strstr(text, " main\n"));
	assert_null(strstr(text, " a\n"));
	assert_non_null(strstr(text, "\n1 more functions; --top 0 shows all\n"));
	free(text);
}

static void columns_are_as_wide_as_the_longest_number(void **state)
{
	(void)state;
	static const int64_t large[] = {INT64_MAX}, small[] = {1};
	const struct view_sample samples[] = {
		{made_stacks[0], 2, NULL, 0, large}, {made_stacks[2], 2, NULL, 0, small}};
	struct view view = made_view;
	view.samples = samples;
	view.n_samples = 2;
	view.type = 0;
	char *text = text_for(&view, &(struct text_options){.tree = true}), *rest = NULL;
	size_t name = 0;
	for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		size_t column = strcspn(line, "|+");
		assert_true(line[column] != '\0');
		assert_true(name == 0 || name == column);
		name = column;
	}
	free(text);
}

static void names_and_comments_cannot_break_lines(void **state)
{
	(void)state;
	static const char *const comments[] = {"a\033[1mb", "# hidden"};
	struct view_frame frames[FRAMES];
	memcpy(frames, made_frames, sizeof frames);
	frames[B].function = "b\nc\033]0;x\a";
	struct view view = made_view;
	view.name = "n\nm";
	view.frames = frames;
	view.comments = comments;
	view.n_comments = 2;
	struct error err;
	int fd = memory_file();
	assert_int_equal(text_write(&view, &(struct text_options){.tree = true}, fd, &err), 0);
	char *text = text_of(fd);
	assert_null(strchr(text, '\033'));
	assert_null(strchr(text, '\a'));
	assert_null(strstr(text, "hidden"));
	assert_non_null(strstr(text, "b?c?]0;x?\n"));
	assert_memory_equal(text, "n?m\n", 4);
	free(text);
	close(fd);
}

/* ---- --list ---- */

struct listed {
	char path[64];
	struct view_frame frames[4];
	uint32_t stacks[4];
	struct view_sample samples[4];
	struct view view;
	regex_t regex;
};

static const int64_t ones[] = {1, 1};

/* A function f with samples in these lines of a file of `lines` lines, each with its number in words. */
static struct listed *listed_new(int lines, const int64_t *at, size_t n)
{
	struct listed *listed = calloc(1, sizeof *listed);
	assert_non_null(listed);
	assert_int_equal(regcomp(&listed->regex, "^f$", REG_EXTENDED | REG_NOSUB), 0);
	strcpy(listed->path, "/tmp/test_text.XXXXXX");
	int fd = mkstemp(listed->path);
	assert_true(fd >= 0);
	for (int i = 1; i <= lines; i++)
		dprintf(fd, "source of %d\n", i);
	close(fd);
	for (size_t i = 0; i < n; i++) {
		listed->frames[i] = (struct view_frame){.function = "f",
			.system_name = "",
			.file = listed->path,
			.module = "",
			.line = at[i],
			.named = true};
		listed->stacks[i] = (uint32_t)i;
		listed->samples[i] = (struct view_sample){&listed->stacks[i], 1, NULL, 0, ones};
	}
	listed->view = (struct view){.name = "listed",
		.types = made_types,
		.n_types = 2,
		.frames = listed->frames,
		.n_frames = n,
		.samples = listed->samples,
		.n_samples = n};
	return listed;
}

/* The numbers of the lines that are shown, "..." for what is left out, '*' behind those with samples. */
static void assert_listed(int lines, const int64_t *at, size_t n, const char *expected)
{
	struct listed *listed = listed_new(lines, at, n);
	char *text = text_for(&listed->view, &(struct text_options){.list = &listed->regex});
	char shown[512] = "", *rest = NULL;
	strtok_r(text, "\n", &rest); /* the function */
	strtok_r(NULL, "\n", &rest); /* the columns */
	for (char *line = strtok_r(NULL, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		char flat[16], cum[16], number[16];
		int of = 0;
		if (strcmp(line, "       ...") == 0) {
			strcat(shown, "... ");
			continue;
		}
		assert_int_equal(sscanf(line, "%15s %15s %15s source of %d", flat, cum, number, &of) >= 3, 1);
		if (of > 0)
			assert_int_equal(atoi(number), of);
		snprintf(shown + strlen(shown), sizeof shown - strlen(shown), "%s%s ", number,
			strcmp(cum, ".") != 0 ? "*" : "");
	}
	assert_string_equal(shown, expected);
	free(text);
	unlink(listed->path);
	regfree(&listed->regex);
	free(listed);
}

#define LISTED(lines, expected, ...)                                                                           \
	assert_listed(                                                                                         \
		lines, (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / 8, expected)

static void each_line_has_its_surroundings_once(void **state)
{
	(void)state;
	LISTED(40, "1 2* 3 4 5 6 7 ", 2);
	LISTED(40, "15 16 17 18 19 20* 21 22 23 24 25 ", 20);
	LISTED(40, "35 36 37 38 39 40* ", 40);
	/* Overlapping, touching, with one line between, far. */
	LISTED(40, "5 6 7 8 9 10* 11 12* 13 14 15 16 17 ", 10, 12);
	LISTED(40, "5 6 7 8 9 10* 11* 12 13 14 15 16 ", 11, 10);
	LISTED(40, "1 2 3 4 5* 6 7 8 9 10 11 12 13 14 15 16* 17 18 19 20 21 ", 5, 16);
	LISTED(40, "1 2 3 4 5* 6 7 8 9 10 ... 12 13 14 15 16 17* 18 19 20 21 22 ", 5, 17);
	LISTED(40, "1* 2 3 4 5 6 ... 25 26 27 28 29 30* 31 32 33 34 35 ", 30, 1);
}

static void lines_beyond_the_source_are_shown_alone(void **state)
{
	(void)state;
	LISTED(3, "1 2 3* ", 3);
	LISTED(3, "1 2 3* 4* ", 4, 3);
	LISTED(3, "2147483647* ", INT32_MAX);
	LISTED(0, "7* 9* ", 9, 7); /* an empty file */
	LISTED(20, "?* 1 2 3* 4 5 6 7 8 ", 0, 3); /* of a line that is not known */
}

static void what_cannot_be_read_is_listed_by_numbers(void **state)
{
	(void)state;
	regex_t regex;
	assert_int_equal(regcomp(&regex, "^[ab]$", REG_EXTENDED | REG_NOSUB), 0);
	char *text = text_for(&made_view, &(struct text_options){.list = &regex});
	assert_string_equal(text, "a in /src/m.c (cannot be read here: the lines' numbers only)\n"
				  "      flat        cum   line\n"
				  "      10ns       30ns     20  \n"
				  "         .       20ns     21  \n"
				  "\n"
				  "b in /src/b.c (cannot be read here: the lines' numbers only)\n"
				  "      flat        cum   line\n"
				  "      60ns       60ns      1  \n"
				  "\n");
	free(text);
	regfree(&regex);
}

static void a_pattern_without_samples_writes_nothing(void **state)
{
	(void)state;
	regex_t regex;
	struct error err;
	int fd = memory_file();
	assert_int_equal(regcomp(&regex, "^c$", REG_EXTENDED | REG_NOSUB), 0);
	assert_int_equal(text_write(&made_view, &(struct text_options){.list = &regex}, fd, &err), -1);
	assert_non_null(strstr(err.message, "no function"));
	assert_int_equal(lseek(fd, 0, SEEK_END), 0);
	regfree(&regex);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_have_the_largest_unit_that_fits),
		cmocka_unit_test(rows_are_aligned_and_end_where_the_samples_do),
		cmocka_unit_test(columns_are_as_wide_as_the_longest_number),
		cmocka_unit_test(names_and_comments_cannot_break_lines),
		cmocka_unit_test(each_line_has_its_surroundings_once),
		cmocka_unit_test(lines_beyond_the_source_are_shown_alone),
		cmocka_unit_test(what_cannot_be_read_is_listed_by_numbers),
		cmocka_unit_test(a_pattern_without_samples_writes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
