#include "symbols/gosymbols.h"

#include "unwind/bytes.h"
#include "unwind/gopclntab.h"

#include <stdlib.h>
#include <string.h>

enum {
	PCDATA_INLINE_INDEX = 2, /* internal/abi/symtab.go: PCDATA_InlTreeIndex */
	FUNCDATA_INLINE_TREE = 3, /* FUNCDATA_InlTree */
	MODULE_GOFUNC_118 = 38, /* words of runtime.moduledata before gofunc: 1.18, 1.19 */
	MODULE_GOFUNC_120 = 40, /* since 1.20, by two for coverage counters */
	CHAIN_MAX = 64,
	CHECKED = 8, /* inline trees that must make sense */
	CHECKED_FUNCTIONS = 65536, /* among so many functions */
};

struct gosymbols {
	const struct image *image;
	struct gopclntab table;
	uint64_t trees; /* link-time address that inline trees count from */
	bool has_trees;
};

/* One inlined call (runtime.inlinedCall). */
struct inlined {
	int32_t name, start_line;
	int32_t parent; /* offset in the physical function of an instruction at the call */
};

static bool read_inlined(const struct gosymbols *symbols, uint64_t tree, int32_t index, struct inlined *out)
{
	uint8_t raw[20];
	bool has_start_line = symbols->table.version == GOPCLNTAB_120;
	size_t size = has_start_line ? 16 : 20;
	if (index < 0 ||
		image_read_vaddr(symbols->image, tree + (uint64_t)(uint32_t)index * size, raw, size) != size)
		return false;
	struct bytes b = {raw, size, false};
	/* 1.16: parent, id, file, line, name, parent's pc. 1.20: id, name, parent's pc, first line. */
	bytes_skip(&b, has_start_line ? 4 : 12);
	out->name = (int32_t)bytes_u32(&b);
	out->parent = (int32_t)bytes_u32(&b);
	out->start_line = has_start_line ? (int32_t)bytes_u32(&b) : 0;
	return true;
}

static bool tree_of(const struct gosymbols *symbols, const struct gofunc *func, uint64_t *tree)
{
	uint64_t offset;
	if (!symbols->has_trees || !gopclntab_funcdata(&symbols->table, func, FUNCDATA_INLINE_TREE, &offset))
		return false;
	*tree = symbols->trees + offset;
	return true;
}

static int32_t value_at(
	const struct gosymbols *symbols, const struct gofunc *func, uint32_t offset, uint64_t pc)
{
	int32_t value;
	return gopcvalue_at(&symbols->table, func, offset, pc, &value) ? value : -1;
}

static bool makes_sense(const struct gosymbols *symbols, const struct gofunc *func, const struct inlined *call)
{
	return gopclntab_name(&symbols->table, call->name)[0] != '\0' && call->parent >= 0 &&
	       (uint64_t)(uint32_t)call->parent < func->end - func->entry && call->start_line >= 0;
}

/* Do functions with inlined calls find them by this base? */
static bool trees_make_sense(const struct gosymbols *symbols)
{
	size_t checked = 0;
	for (size_t i = 0; i < symbols->table.n_funcs && i < CHECKED_FUNCTIONS && checked < CHECKED; i++) {
		struct gofunc func;
		struct inlined call;
		uint64_t tree;
		if (!gopclntab_func(&symbols->table, i, &func) || !tree_of(symbols, &func, &tree))
			continue;
		if (!read_inlined(symbols, tree, 0, &call) || !makes_sense(symbols, &func, &call))
			return false;
		checked++;
	}
	return true;
}

/* Before 1.18 trees are addressed directly. Then the module data says where they begin, in a word whose place
 * moved once; a release that moves it again gets names without inlined calls, not wrong ones. */
static void find_trees(struct gosymbols *symbols)
{
	enum gopclntab_version version = symbols->table.version;
	size_t word = version == GOPCLNTAB_120 ? MODULE_GOFUNC_120 : MODULE_GOFUNC_118;
	symbols->has_trees = version == GOPCLNTAB_116 ||
			     gopclntab_module_word(symbols->image, &symbols->table, word, &symbols->trees);
	if (symbols->has_trees)
		symbols->has_trees = trees_make_sense(symbols);
}

struct gosymbols *gosymbols_open(const struct image *image)
{
	if (!gopclntab_is_go(image))
		return NULL;
	struct gosymbols *symbols = calloc(1, sizeof *symbols);
	if (symbols == NULL || !gopclntab_load(image, &symbols->table)) {
		free(symbols);
		return NULL;
	}
	symbols->image = image;
	find_trees(symbols);
	return symbols;
}

void gosymbols_close(struct gosymbols *symbols)
{
	if (symbols == NULL)
		return;
	gopclntab_unload(&symbols->table);
	free(symbols);
}

static bool set_strings(struct arena *arena, const char *name, const char *file, struct source_line *line)
{
	line->function = line->system_name = arena_string(arena, name, strlen(name));
	line->file = arena_string(arena, file, strlen(file));
	return line->function != NULL && line->file != NULL;
}

int gosymbols_lookup(const struct gosymbols *symbols, struct arena *arena, uint64_t pc, struct symbolized *out)
{
	const struct gopclntab *table = &symbols->table;
	struct source_line lines[CHAIN_MAX];
	struct gofunc func;
	uint64_t tree = 0;
	size_t n = 0;
	if (!gopclntab_find(table, pc, &func))
		return 0;
	uint32_t indexes =
		tree_of(symbols, &func, &tree) ? gopclntab_pcdata(table, &func, PCDATA_INLINE_INDEX) : 0;
	/* From the innermost call outwards; each is at the line of the instruction that stands for it. */
	for (bool physical = false; !physical && n < CHAIN_MAX; n++) {
		struct inlined call = {.name = func.name, .start_line = func.start_line};
		int32_t index = indexes != 0 ? value_at(symbols, &func, indexes, pc) : -1;
		physical = n == CHAIN_MAX - 1 || !read_inlined(symbols, tree, index, &call) ||
			   !makes_sense(symbols, &func, &call);
		if (physical)
			call = (struct inlined){.name = func.name, .start_line = func.start_line};
		int32_t line = value_at(symbols, &func, func.pcln, pc);
		lines[n] = (struct source_line){.line = line > 0 ? (uint32_t)line : 0,
			.start_line = call.start_line > 0 ? (uint32_t)call.start_line : 0};
		if (!set_strings(arena, gopclntab_name(table, call.name),
			    gopclntab_file(table, &func, value_at(symbols, &func, func.pcfile, pc)), &lines[n]))
			return -1;
		pc = func.entry + (uint32_t)call.parent;
	}
	struct source_line *kept = arena_alloc(arena, n * sizeof *kept);
	if (kept == NULL)
		return -1;
	memcpy(kept, lines, n * sizeof *kept);
	*out = (struct symbolized){.lines = kept, .n = n};
	return 1;
}
