/* Names from perf maps: last line wins, damage is skipped, nothing is endless. */
#include "symbols/perfmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int file_of(const char *text, size_t len)
{
	int fd = memfd_create("perfmap", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	return fd;
}

/* Looks up `pc` in a map of that text. */
static void expect(const char *text, uint64_t pc, const char *name)
{
	struct arena *arena = arena_new();
	struct perfmap_name asked = {.pc = pc};
	int fd = file_of(text, strlen(text));
	assert_int_equal(perfmap_lookup(fd, arena, &asked, 1), 0);
	assert_string_equal(asked.name, name);
	close(fd);
	arena_free(arena);
}

static void lines_cover_their_range(void **state)
{
	(void)state;
	static const char map[] = "1000 20 first\n0x2000 0x10 LazyCompile:~run /srv/a b.js:12\n";
	expect(map, 0xfff, "");
	expect(map, 0x1000, "first");
	expect(map, 0x101f, "first");
	expect(map, 0x1020, "");
	expect(map, 0x200f, "LazyCompile:~run /srv/a b.js:12");
}

static void the_last_line_that_covers_an_address_holds(void **state)
{
	(void)state;
	expect("1000 20 old\n1000 20 new\n", 0x1000, "new");
	expect("1000 100 outer\n1010 10 moved here\n", 0x1010, "moved here");
	expect("1000 100 outer\n1010 10 moved here\n", 0x1020, "outer");
	expect("1010 10 before\n1000 100 over it\n", 0x1010, "over it");
}

static void damage_is_skipped(void **state)
{
	(void)state;
	expect("\n \nzz 10 x\n1000 xx y\n1000 10\n1000 10 \n1000 10 good\n-1 5 z\n", 0x1000, "good");
	expect("11111111111111111 10 too many digits\n1000 10 good\n", 0x1000, "good");
	expect("1000 10 good\n1000 10 not whole", 0x1000, "good");
	expect("ffffffffffffff00 ffffffffffffffff wraps\n", 0x10, "");
	expect("ffffffffffffff00 ffffffffffffffff wraps\n", 0xffffffffffffffff, "wraps");
	expect("", 0x1000, "");
}

static void addresses_are_asked_together(void **state)
{
	(void)state;
	enum { N = 3000 };
	struct arena *arena = arena_new();
	struct perfmap_name *asked = calloc(N, sizeof *asked);
	size_t cap = N * 64, len = 0;
	char *text = malloc(cap), wanted[64];
	for (size_t i = 0; i < N; i++) {
		len += (size_t)snprintf(text + len, cap - len, "%zx 10 function_%zu\n", 0x10000 + 0x10 * i, i);
		asked[i].pc = 0x10000 + 0x10 * i + i % 16;
	}
	int fd = file_of(text, len);
	assert_int_equal(perfmap_lookup(fd, arena, asked, N), 0);
	for (size_t i = 0; i < N; i++) {
		snprintf(wanted, sizeof wanted, "function_%zu", i);
		assert_string_equal(asked[i].name, wanted);
	}
	close(fd);
	free(text);
	free(asked);
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_cover_their_range),
		cmocka_unit_test(the_last_line_that_covers_an_address_holds),
		cmocka_unit_test(damage_is_skipped),
		cmocka_unit_test(addresses_are_asked_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
