/* A line program over sorted addresses; then the path of each file number. */
#include "symbols/lines.h"
#include "tests/fuzz/elf.h"
#include "tests/fuzz/fuzz.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESSES = 32, KINDS = 5, BYTES_MAX = 65535 };

/* The file must have the first two. */
static const struct elf_kind kinds[KINDS] = {{".debug_info", SHT_PROGBITS, 0},
	{".debug_abbrev", SHT_PROGBITS, 0}, {".debug_line", SHT_PROGBITS, 0},
	{".debug_line_str", SHT_PROGBITS, 0}, {".debug_str", SHT_PROGBITS, 0}};

static struct image *image_make(const uint8_t *bytes, size_t len)
{
	const size_t lens[KINDS] = {1, 1, len, len / 2, len / 2};
	size_t at = 0;
	uint8_t *input = calloc(KINDS, 3 + BYTES_MAX);
	if (input == NULL)
		abort();
	for (uint8_t i = 0; i < KINDS; i++) {
		input[at] = i;
		input[at + 1] = (uint8_t)lens[i];
		input[at + 2] = (uint8_t)(lens[i] >> 8);
		if (i >= 2)
			memcpy(input + at + 3, bytes, lens[i]);
		at += 3 + lens[i];
	}
	struct image *image = elf_from_input(input, at, kinds, KINDS);
	free(input);
	return image;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	uint64_t pcs[ADDRESSES], work = 1000000;
	struct line_row rows[ADDRESSES] = {{0}};
	struct line_table table = {0};
	if (len == 0 || len > BYTES_MAX)
		return 0;
	struct arena *arena = arena_new();
	struct image *image = image_make(bytes, len);
	struct debuginfo *debuginfo = image != NULL ? debuginfo_open(image, false) : NULL;
	if (arena == NULL || debuginfo == NULL)
		abort();
	for (size_t i = 0; i < ADDRESSES; i++)
		pcs[i] = 0x10000 + i * 3;
	if (lines_read(debuginfo, 0, pcs, ADDRESSES, rows, &table, &work) != 0)
		abort();
	for (size_t i = 0; i < ADDRESSES; i++) {
		const char *path = line_table_path(&table, "/build", rows[i].file, arena);
		if (path == NULL || strlen(path) > 8 * len + 64)
			abort();
	}
	line_table_free(&table);
	debuginfo_close(debuginfo);
	image_free(image);
	arena_free(arena);
	return 0;
}
