/* Two readers of DWARF, ours and libdw, on this very program: the same functions, files and lines. */
#include "symbols/libdw.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 400, STEP = 61 };

static uint64_t pcs[N];
static struct dwarf_chain ours[N], theirs[N];

/* Every 61st byte of our own code, from main on downwards and upwards. */
static void choose(const struct image *image)
{
	struct section text;
	assert_true(image_section(image, ".text", &text));
	uint64_t step = text.size / N;
	for (size_t i = 0; i < N; i++)
		pcs[i] = text.vaddr + i * (step > STEP ? step : STEP);
}

static bool same_place(const struct dwarf_chain *a, const struct dwarf_chain *b)
{
	/* libdw leaves "." and ".." of folders in. */
	const char *x = strrchr(a->file, '/'), *y = strrchr(b->file, '/');
	return a->line == b->line && strcmp(x != NULL ? x : a->file, y != NULL ? y : b->file) == 0;
}

static void both_readers_agree(void **state)
{
	char path[] = "/proc/self/exe";
	struct error err;
	struct dwarf_outcome outcome;
	struct symbol_files files = {0};
	size_t functions = 0, same_functions = 0, places = 0, same_places = 0;
	(void)state;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct image *image = image_open(open(path, O_RDONLY | O_CLOEXEC), path, &err);
	struct arena *arena = arena_new();
	assert_non_null(image);
	choose(image);
	files.binary = image;
	assert_int_equal(dwarf_lookup(&files, arena, pcs, N, ours, &outcome), 0);
	assert_true(outcome.found && !outcome.limited && !outcome.unread);
	for (size_t i = 0; i < N; i++)
		theirs[i] = (struct dwarf_chain){.file = ""};
	assert_int_equal(libdw_lookup(fd, arena, pcs, N, theirs), 0);
	for (size_t i = 0; i < N; i++) {
		if (ours[i].line != 0 && theirs[i].line != 0) {
			places++;
			same_places += same_place(&ours[i], &theirs[i]);
		}
		if (ours[i].n == 0 || theirs[i].n == 0)
			continue;
		const char *name = ours[i].lines[ours[i].n - 1].system_name;
		functions++;
		same_functions += strcmp(name, theirs[i].lines[0].system_name) == 0;
	}
	print_message("%zu functions, %zu places\n", functions, places);
	assert_true(functions > N / 2 && places > N / 2);
	assert_int_equal(same_functions, functions);
	assert_int_equal(same_places, places);
	arena_free(arena);
	image_free(image);
	close(fd);
}

static void what_was_found_is_kept(void **state)
{
	struct source_line line = {.function = "", .system_name = "kept", .file = "a.c", .line = 7};
	struct dwarf_chain chain = {.lines = &line, .n = 1, .file = "a.c", .line = 7};
	uint64_t pc = pcs[N / 2];
	struct arena *arena = arena_new();
	(void)state;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_int_equal(libdw_lookup(fd, arena, &pc, 1, &chain), 0);
	assert_ptr_equal(chain.lines, &line);
	close(fd);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	chain = (struct dwarf_chain){.file = ""};
	assert_int_equal(libdw_lookup(fd, arena, &pc, 1, &chain), 0);
	assert_int_equal(chain.n, 0);
	close(fd);
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_readers_agree),
		cmocka_unit_test(what_was_found_is_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
