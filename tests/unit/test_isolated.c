/* What is left of the names when the child that reads them may not go on: this very program is read. */
#include "symbols/isolated.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* Too little for anything. */
static const uint64_t NO_MEMORY = 4096;
enum { MANY = 100000 };

extern const char __executable_start[];

static __attribute__((noinline)) void a_function_to_find(void)
{
	__asm__ volatile("");
}

struct asked {
	struct isolated *isolated;
	struct image *image;
	struct symbolized out;
	struct symbol_quality quality;
};

static void ask_again(struct asked *asked)
{
	uint64_t vaddr = (uintptr_t)a_function_to_find - (uintptr_t)__executable_start;
	assert_int_equal(
		isolated_image(asked->isolated, asked->image, &vaddr, 1, &asked->out, &asked->quality), 0);
	assert_int_equal(asked->quality.addresses, 1);
}

static void ask(struct asked *asked, const struct isolated_limits *limits, int stop_fd)
{
	struct error err;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	asked->image = image_open(fd, "self", &err);
	asked->isolated = isolated_new(limits, stop_fd);
	assert_true(asked->image != NULL && asked->isolated != NULL);
	ask_again(asked);
}

static void done(struct asked *asked)
{
	isolated_free(asked->isolated);
	image_free(asked->image);
}

static void check_named(const struct asked *asked, bool with_line)
{
	assert_int_equal(asked->out.n, 1);
	assert_string_equal(asked->out.lines[0].function, "a_function_to_find");
	assert_int_equal(asked->out.lines[0].line != 0, with_line);
	assert_int_equal(asked->quality.with_function, 1);
	assert_int_equal(asked->quality.with_line, with_line);
	assert_string_equal(asked->quality.source, with_line ? "DWARF" : "ELF symbols");
	assert_int_equal(asked->quality.complete, with_line);
}

static void check_nothing(const struct asked *asked)
{
	assert_int_equal(asked->out.n, 0);
	assert_int_equal(asked->quality.with_function, 0);
	assert_string_equal(asked->quality.source, "none");
	assert_false(asked->quality.complete);
}

static void test_all(void **state)
{
	(void)state;
	struct asked asked;
	ask(&asked, &isolated_defaults, -1);
	check_named(&asked, true);
	assert_string_equal(asked.quality.trouble, "");
	assert_string_equal(
		isolated_weakness(asked.isolated), SANITIZED ? "system calls are not filtered" : "");
	done(&asked);
}

static void test_elf_symbols_when_all_is_too_much(void **state)
{
	(void)state;
	struct asked asked;
	struct isolated_limits limits = isolated_defaults;
	limits.all_wall_ns = 1;
	ask(&asked, &limits, -1);
	check_named(&asked, false);
	assert_string_equal(asked.quality.trouble, "ELF symbols alone, because of the process that reads debug "
						   "information: it took longer than 1e-09 s");
	/* The next image starts anew. */
	ask_again(&asked);
	check_named(&asked, false);
	done(&asked);
}

static void test_debug_information_without_memory(void **state)
{
	(void)state;
	if (SANITIZED)
		skip(); /* memory is not limited */
	struct asked asked;
	struct isolated_limits limits = isolated_defaults;
	static uint64_t vaddrs[MANY]; /* one address is found in what the child's heap has left */
	static struct symbolized out[MANY];
	struct symbol_quality quality;
	limits.all.memory_bytes = NO_MEMORY;
	ask(&asked, &limits, -1);
	for (size_t i = 0; i < MANY; i++)
		vaddrs[i] = (uintptr_t)a_function_to_find - (uintptr_t)__executable_start;
	assert_int_equal(isolated_image(asked.isolated, asked.image, vaddrs, MANY, out, &quality), 0);
	assert_int_equal(out[MANY - 1].n, 1);
	assert_string_equal(out[MANY - 1].lines[0].function, "a_function_to_find");
	assert_int_equal(out[MANY - 1].lines[0].line, 0);
	assert_string_not_equal(quality.trouble, "");
	done(&asked);
}

static void test_addresses_when_elf_is_too_much(void **state)
{
	(void)state;
	struct asked asked;
	struct isolated_limits limits = isolated_defaults;
	limits.all_wall_ns = limits.elf_wall_ns = 1;
	ask(&asked, &limits, -1);
	check_nothing(&asked);
	assert_string_equal(asked.quality.trouble,
		"not named, because of the process that reads symbols: it took longer than 1e-09 s");
	done(&asked);
}

/* After the first image the time for all is used up, and after the second that for ELF symbols. */
static void test_time_for_all_modules(void **state)
{
	(void)state;
	struct asked asked;
	struct isolated_limits limits = isolated_defaults;
	limits.all_wall_ns = limits.total_wall_ns = 1;
	ask(&asked, &limits, -1);
	check_nothing(&asked);
	assert_non_null(strstr(asked.quality.trouble, "the time for all modules is used up"));
	done(&asked);
	limits = isolated_defaults;
	limits.all_wall_ns = 0;
	ask(&asked, &limits, -1);
	check_named(&asked, false);
	done(&asked);
}

static void test_interrupted(void **state)
{
	(void)state;
	struct asked asked;
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "x", 1), 1);
	ask(&asked, &isolated_defaults, ends[0]);
	check_nothing(&asked);
	assert_string_equal(asked.quality.trouble, "not named: interrupted");
	ask_again(&asked);
	assert_string_equal(asked.quality.trouble, "not named: interrupted");
	done(&asked);
	close(ends[0]);
	close(ends[1]);
}

/* What was found once is not read again: the second answer needs no child, which could not do it. */
static void test_remembered(void **state)
{
	(void)state;
	struct asked asked;
	struct known *known = known_new();
	assert_non_null(known);
	ask(&asked, &isolated_defaults, -1);
	isolated_remember(asked.isolated, known);
	ask_again(&asked);
	check_named(&asked, true);
	isolated_free(asked.isolated);
	struct isolated_limits none = isolated_defaults;
	none.all_wall_ns = none.elf_wall_ns = 1;
	asked.isolated = isolated_new(&none, -1);
	assert_non_null(asked.isolated);
	isolated_remember(asked.isolated, known);
	ask_again(&asked);
	assert_string_equal(asked.out.lines[0].function, "a_function_to_find");
	assert_int_equal(known_failures(known, asked.image), 0);
	known_free(known);
	done(&asked);
}

/* What a child could not do is not tried every second. */
static void test_failures_are_remembered(void **state)
{
	(void)state;
	struct asked asked;
	uint64_t vaddr = (uintptr_t)ask - (uintptr_t)__executable_start;
	struct known *known = known_new();
	struct isolated_limits limits = isolated_defaults;
	assert_non_null(known);
	ask(&asked, &isolated_defaults, -1);
	isolated_free(asked.isolated);
	limits.all_wall_ns = 1;
	asked.isolated = isolated_new(&limits, -1);
	isolated_remember(asked.isolated, known);
	ask_again(&asked);
	check_named(&asked, false);
	assert_int_equal(known_failures(known, asked.image), 1);
	isolated_free(asked.isolated);
	/* Now it could, but is asked for ELF symbols alone. */
	asked.isolated = isolated_new(&isolated_defaults, -1);
	isolated_remember(asked.isolated, known);
	assert_int_equal(isolated_image(asked.isolated, asked.image, &vaddr, 1, &asked.out, &asked.quality), 0);
	assert_string_equal(asked.out.lines[0].function, "ask");
	assert_int_equal(asked.out.lines[0].line, 0);
	known_failed(known, asked.image);
	vaddr++;
	assert_int_equal(isolated_image(asked.isolated, asked.image, &vaddr, 1, &asked.out, &asked.quality), 0);
	check_nothing(&asked);
	assert_string_not_equal(asked.quality.trouble, "");
	known_free(known);
	done(&asked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_elf_symbols_when_all_is_too_much),
		cmocka_unit_test(test_debug_information_without_memory),
		cmocka_unit_test(test_addresses_when_elf_is_too_much),
		cmocka_unit_test(test_time_for_all_modules),
		cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_remembered),
		cmocka_unit_test(test_failures_are_remembered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
