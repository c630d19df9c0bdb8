/* Folded stacks, and the same stacks for other programs. */
#include "encoder/format.h"
#include "tests/unit/made_view.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char *written_as(enum format format, const struct view *view)
{
	struct error err;
	struct text_options options = {0};
	int fd = memory_file();
	assert_int_equal(format_write(view, NULL, format, &options, fd, &err), 0);
	char *text = text_of(fd);
	assert_non_null(text);
	close(fd);
	return text;
}

static void assert_written(enum format format, const struct view *view, const char *expected)
{
	char *text = written_as(format, view);
	assert_string_equal(text, expected);
	free(text);
}

static void lines_are_in_order_of_threads_and_stacks(void **state)
{
	(void)state;
	assert_written(FORMAT_FOLDED, &made_view,
		"main;[z.so] 80\n"
		"one;main;a 10\n"
		"one;main;b 40\n"
		"two;main;a;a;a;b 20\n");
}

static void stacks_alike_are_one_line(void **state)
{
	(void)state;
	static const uint32_t again[] = {MAIN, A2};
	static const int64_t minus[] = {-1, -1}, rest[] = {0, 1};
	const struct view_sample samples[] = {
		{made_stacks[0], 2, NULL, 0, made_values[0]},
		{made_stacks[2], 2, NULL, 0, minus},
		{again, 2, NULL, 0, made_values[1]},
		{NULL, 0, NULL, 0, made_values[2]},
		{NULL, 0, made_labels[0], 1, made_values[3]},
		{made_stacks[3], 2, NULL, 0, minus},
		{made_stacks[3], 2, NULL, 0, rest},
	};
	struct view view = made_view;
	view.samples = samples;
	view.n_samples = 7;
	/* a is one function, whatever the line; values below 1 have no place in the format. */
	assert_written(FORMAT_FOLDED, &view, "[no stack] 40\nmain;a 30\none 80\n");
}

static void names_cannot_break_the_format(void **state)
{
	(void)state;
	static const struct view_label label[] = {{"thread", "a;b\n", "", 0}, {"thread", "second", "", 0}};
	const struct view_sample sample = {made_stacks[2], 2, label, 2, made_values[0]};
	struct view_frame frames[FRAMES];
	memcpy(frames, made_frames, sizeof frames);
	frames[MAIN].function = "operator;\r\n";
	frames[B].function = "b 7\033\xff";
	struct view view = made_view;
	view.frames = frames;
	view.samples = &sample;
	view.n_samples = 1;
	assert_written(FORMAT_FOLDED, &view, "a:b ;operator:  ;b 7?? 10\n");
	/* And an object has a key once. */
	char *json = written_as(FORMAT_JSON, &view);
	assert_non_null(strstr(json, "\"labels\":{\"thread\":\"a;b\\u000a\"}}"));
	free(json);
}

static void speedscope_has_all_threads_and_each(void **state)
{
	(void)state;
	char *text = written_as(FORMAT_SPEEDSCOPE, &made_view);
	assert_non_null(strstr(text,
		"{\"type\":\"sampled\",\"name\":\"all "
		"threads\",\"unit\":\"nanoseconds\",\"samples\":[\n[0,1],\n"
		"[0,1,2,1,3],\n[0,3],\n[0,5]],\"weights\":[10,20,40,80],\"startValue\":0,\"endValue\":150}"));
	assert_non_null(strstr(text, "\"name\":\"one\",\"unit\":\"nanoseconds\",\"samples\":[\n[0,1],\n[0,3]],"
				     "\"weights\":[10,40],"));
	assert_non_null(strstr(text, "\"samples\":[\n[0,1,2,1,3]],\"weights\":[20],"));
	free(text);
}

static void json_says_what_is_known_and_nothing_else(void **state)
{
	(void)state;
	char *text = written_as(FORMAT_JSON, &made_view);
	assert_non_null(strstr(
		text, "\n{\"function\":\"main\",\"file\":\"/src/m.c\",\"line\":10,\"module\":\"/bin/m\"},"));
	assert_non_null(strstr(text, "\n{\"function\":\"[z.so]\",\"module\":\"/lib/"
				     "z.so\",\"address\":\"0xffffffffffffffff\",\"named\":false}]"));
	assert_non_null(strstr(text, "\n{\"stack\":[0,1],\"values\":[1,10],\"labels\":{\"thread\":\"one\","
				     "\"tid\":7,\"state\":\"running\"}},"));
	assert_non_null(strstr(text, "\n{\"stack\":[0,5],\"values\":[8,80]}]}\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_in_order_of_threads_and_stacks),
		cmocka_unit_test(stacks_alike_are_one_line),
		cmocka_unit_test(names_cannot_break_the_format),
		cmocka_unit_test(speedscope_has_all_threads_and_each),
		cmocka_unit_test(json_says_what_is_known_and_nothing_else),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
