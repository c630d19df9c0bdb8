/* A line program over sorted addresses; then the path of each file number. */
#include "symbols/lines.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { ADDRESSES = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	uint64_t pcs[ADDRESSES], work = 1000000;
	struct line_row rows[ADDRESSES] = {{0}};
	struct line_table table = {0};
	struct arena *arena = arena_new();
	struct line_sections sections = {
		.line = {bytes, len}, .line_str = {bytes, len / 2}, .str = {bytes, len / 2}};
	if (arena == NULL)
		abort();
	for (size_t i = 0; i < ADDRESSES; i++)
		pcs[i] = 0x10000 + i * 3;
	if (lines_read(&sections, 0, pcs, ADDRESSES, rows, &table, &work) != 0)
		abort();
	for (size_t i = 0; i < ADDRESSES; i++) {
		const char *path = line_table_path(&table, "/build", rows[i].file, arena);
		if (path == NULL || strlen(path) > 8 * len + 64)
			abort();
	}
	line_table_free(&table);
	arena_free(arena);
	return 0;
}
