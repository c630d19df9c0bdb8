/* Text on its way out: escapes, what a terminal must not see, failures. */
#include "encoder/sink.h"
#include "encoder/utf8.h"
#include "tests/unit/made_view.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>

static void assert_written(void (*write)(struct sink *, const char *), const char *text, const char *expected)
{
	static struct sink sink;
	struct error err;
	int fd = memory_file();
	sink_open(&sink, fd);
	write(&sink, text);
	assert_int_equal(sink_close(&sink, &err), 0);
	char *written = text_of(fd);
	assert_non_null(written);
	assert_string_equal(written, expected);
	free(written);
	close(fd);
}

static void json_escapes_what_ends_strings_and_elements(void **state)
{
	(void)state;
	assert_written(sink_json, "", "\"\"");
	assert_written(sink_json, "a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
	assert_written(sink_json, "\x01\n\t\x1f\x7f", "\"\\u0001\\u000a\\u0009\\u001f\\u007f\"");
	assert_written(sink_json, "</script><!--", "\"\\u003c/script>\\u003c!--\"");
}

static void json_is_utf8(void **state)
{
	(void)state;
	assert_written(sink_json, "\u00e4\u20ac\U0001f600", "\"\u00e4\u20ac\U0001f600\"");
	/* A byte alone, a start without its end, an overlong form, a surrogate, beyond the last. */
	assert_written(sink_json, "\xff", "\"?\"");
	assert_written(sink_json, "\xe2\x82", "\"??\"");
	assert_written(sink_json, "\xe2\x82x", "\"??x\"");
	assert_written(sink_json, "\xc0\xaf", "\"??\"");
	assert_written(sink_json, "\xed\xa0\x80", "\"???\"");
	assert_written(sink_json, "\xf4\x90\x80\x80", "\"????\"");
	assert_written(sink_json, "\xc3\"", "\"?\\\"\"");
}

static void terminals_get_nothing_to_obey(void **state)
{
	(void)state;
	assert_written(sink_printable, "a\tb \u00e4\u00a0", "a\tb \u00e4\u00a0");
	assert_written(sink_printable, "\033[2J\r\n\x7f", "?[2J???");
	assert_written(sink_printable,
		"\xc2\x9b"
		"2J",
		"??2J"); /* CSI in one character */
	assert_written(sink_printable,
		"\x9b"
		"2J\xff",
		"?2J?");
	assert_int_equal(utf8_visible(""), 0);
}

static void more_than_the_buffer_holds_is_written_in_order(void **state)
{
	(void)state;
	enum { LINES = 20000 };
	static struct sink sink;
	struct error err;
	int fd = memory_file();
	sink_open(&sink, fd);
	for (int i = 0; i < LINES; i++)
		sink_format(&sink, "%06d\n", i);
	assert_int_equal(sink_close(&sink, &err), 0);
	char *written = text_of(fd);
	assert_int_equal(strlen(written), LINES * 7);
	for (int i = 0; i < LINES; i++)
		assert_int_equal(atoi(written + i * 7), i);
	free(written);
	close(fd);
}

static void the_first_failure_is_kept(void **state)
{
	(void)state;
	static struct sink sink;
	struct error err;
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	sink_open(&sink, fd);
	for (int i = 0; i < 2 * SINK_BYTES; i++)
		sink_text(&sink, "x");
	assert_int_equal(sink_close(&sink, &err), -1);
	assert_int_equal(sink.failure, ENOSPC);
	assert_non_null(strstr(err.message, "No space left"));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_escapes_what_ends_strings_and_elements),
		cmocka_unit_test(json_is_utf8),
		cmocka_unit_test(terminals_get_nothing_to_obey),
		cmocka_unit_test(more_than_the_buffer_holds_is_written_in_order),
		cmocka_unit_test(the_first_failure_is_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
