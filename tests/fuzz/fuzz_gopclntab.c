/* A Go table of functions, as it is found in an image and as bytes; every function's tables; then the rows. */
#include "tests/fuzz/fuzz.h"
#include "unwind/gopclntab.h"
#include "unwind/rows.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT = 0x401000, FUNCS_MAX = 4096, RUNS_MAX = 4096 };

static void look_at_runs(
	const struct gopclntab *table, const struct gofunc *func, uint32_t offset, size_t *budget)
{
	struct gopcvalue run = gopcvalue_begin(table, func, offset);
	int32_t value;
	while (*budget > 0 && gopcvalue_next(&run)) {
		--*budget;
		if (run.start < func->entry || run.end > func->end || run.start >= run.end)
			abort();
		if (!gopcvalue_at(table, func, offset, run.start, &value) || value != run.value)
			abort();
		if (run.start - func->entry > RUNS_MAX)
			break;
	}
}

static void look_at_table(const struct gopclntab *table)
{
	size_t budget = RUNS_MAX;
	for (size_t i = 0; i < table->n_funcs && i < FUNCS_MAX; i++) {
		struct gofunc func, found;
		uint64_t offset;
		if (!gopclntab_func(table, i, &func))
			continue;
		const char *name = gopclntab_name(table, func.name);
		if (strlen(name) > table->len)
			abort();
		gopclntab_find(table, func.entry, &found);
		look_at_runs(table, &func, func.pcsp, &budget);
		look_at_runs(table, &func, func.pcln, &budget);
		look_at_runs(table, &func, gopclntab_pcdata(table, &func, 2), &budget);
		gopclntab_funcdata(table, &func, 3, &offset);
	}
}

/* The image, if it is one, has the bytes as its table too. */
static void look_at_image(const uint8_t *bytes, size_t len)
{
	struct error err;
	struct gopclntab table;
	struct image *image = image_from_memory(bytes, len, "fuzz", &err);
	if (image == NULL)
		return;
	if (gopclntab_load(image, &table)) {
		look_at_table(&table);
		gopclntab_unload(&table);
	}
	struct rows *rows = rows_compile_go(image);
	for (uint64_t at = 0; rows != NULL && at < 0x1000; at++) {
		const struct row *row = rows_find(rows, TEXT + at);
		if (row != NULL && (row->kind == ROW_NONE || row->kind > ROW_EXPRESSION))
			abort();
	}
	rows_free(rows);
	image_free(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct gopclntab table;
	if (gopclntab_open(bytes, len, TEXT, &table))
		look_at_table(&table);
	look_at_image(bytes, len);
	return 0;
}
