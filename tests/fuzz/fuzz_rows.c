/* A section of call frame information in both forms; then the rows over its addresses. */
#include "tests/fuzz/fuzz.h"
#include "unwind/cfi.h"
#include "unwind/rows.h"

#include <stdlib.h>

enum { VADDR = 0x10000 };

static void look_up(const struct rows *rows)
{
	for (uint64_t at = 0; at < 0x20000; at += 61) {
		struct fde fde;
		struct cfi_entry entry;
		const struct row *row = rows_find(rows, at);
		if (row == NULL)
			continue;
		if (row->kind == ROW_NONE || row->kind > ROW_EXPRESSION || rows_function_start(rows, row) > at)
			abort();
		if (rows_fde(rows, row, &fde) && rows_entry(rows, &fde, &entry) &&
			(entry.start != fde.start || entry.end != fde.end))
			abort();
	}
	rows_find(rows, UINT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	for (int debug = 0; debug < 2; debug++) {
		struct rows *rows = rows_from_bytes(bytes, len, debug ? 0 : VADDR, debug);
		if (rows == NULL)
			continue;
		look_up(rows);
		rows_free(rows);
	}
	return 0;
}
