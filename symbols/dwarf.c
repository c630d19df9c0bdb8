#include "symbols/dwarf.h"

#include "symbols/addresses.h"
#include "symbols/lines.h"
#include "symbols/package.h"
#include "symbols/ranges.h"
#include "symbols/references.h"
#include "symbols/scopes.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

/* The largest binaries at hand (1 GB of C++, 1,000 addresses) take a tenth of these. */
static const uint64_t WORK_MAX = 256u * 1000 * 1000;
static const uint64_t LINE_WORK_MAX = 1000u * 1000 * 1000;
/* Units that do not say what code they have are read whole; most of them have none. */
static const uint64_t RANGELESS_BYTES_MAX = 64u * 1024 * 1024;

/* A unit that holds wanted addresses. */
struct hit {
	uint64_t unit; /* its offset */
	size_t first, n; /* its addresses: lookup->grouped[first .. first + n) */
};

/* Offsets of units. */
struct offsets {
	uint64_t *v;
	size_t n, cap;
};

struct lookup {
	const struct symbol_files *files;
	struct units own, shared;
	struct units *halves; /* the package, then files of split halves */
	size_t n_halves;
	struct arena *arena;
	struct dwarf_chain *out;
	const uint64_t *pcs;
	size_t n;
	struct hit *hits;
	size_t n_hits, cap_hits;
	struct offsets rangeless;
	uint32_t *hit_of; /* for each address, a hit's number; 0 none */
	uint64_t *width_of; /* and how wide its range was */
	size_t *grouped; /* indices into pcs, by unit, ascending */
	uint64_t *unit_pcs; /* scratch: one unit's addresses */
	struct line_row *rows; /* scratch: their rows */
	struct budget work;
	uint64_t line_work;
	struct split_name *missing;
	struct dwarf_outcome *outcome;
};

/* ---- which units ---- */

static int hit_add(struct lookup *lookup, uint64_t unit)
{
	if (lookup->n_hits == lookup->cap_hits) {
		size_t cap = lookup->cap_hits == 0 ? 64 : lookup->cap_hits * 2;
		struct hit *hits = reallocarray(lookup->hits, cap, sizeof(*hits));
		if (hits == NULL)
			return -1;
		lookup->hits = hits;
		lookup->cap_hits = cap;
	}
	lookup->hits[lookup->n_hits++] = (struct hit){.unit = unit};
	return 0;
}

static int offsets_add(struct offsets *offsets, uint64_t offset)
{
	if (offsets->n == offsets->cap) {
		size_t cap = offsets->cap == 0 ? 64 : offsets->cap * 2;
		uint64_t *v = reallocarray(offsets->v, cap, sizeof(*v));
		if (v == NULL)
			return -1;
		offsets->v = v;
		offsets->cap = cap;
	}
	offsets->v[offsets->n++] = offset;
	return 0;
}

/* Gives the unit the wanted addresses in its ranges. Of two units the one with the narrower range has an
 * address: a range that spans too much is a producer's mistake, one that is too narrow is not seen. */
static int unit_claim(struct lookup *lookup, const struct unit *unit, const struct die *die)
{
	struct ranges ranges;
	uint64_t lo, hi;
	uint32_t own = 0;
	if (!ranges_begin(unit, die, &ranges))
		return die->tag == DW_TAG_compile_unit && die->children
			       ? offsets_add(&lookup->rangeless, unit->offset)
			       : 0;
	while (ranges_next(&ranges, &lookup->work, &lo, &hi)) {
		for (size_t i = addresses_from(lookup->pcs, lookup->n, lo);
			i < lookup->n && lookup->pcs[i] < hi; i++) {
			if (!budget_take(&lookup->work, 1))
				return 0;
			if (lookup->hit_of[i] != 0 && lookup->width_of[i] <= hi - lo)
				continue;
			if (own == 0 && hit_add(lookup, unit->offset) != 0)
				return -1;
			own = (uint32_t)lookup->n_hits;
			lookup->hit_of[i] = own;
			lookup->width_of[i] = hi - lo;
		}
	}
	return 0;
}

static int units_index(struct lookup *lookup)
{
	struct unit unit;
	struct die die;
	if (units_list(&lookup->own, &lookup->work) != 0)
		return -1;
	for (size_t i = 0; i < lookup->own.n && budget_take(&lookup->work, 1); i++) {
		enum unit_open state =
			unit_open(&lookup->own, lookup->own.offsets[i], false, NULL, NULL, &unit, &die);
		int failed = state == UNIT_NO_MEMORY ? -1 : 0;
		if (state == UNIT_DAMAGED)
			lookup->outcome->unread = true;
		budget_take(&lookup->work, unit.abbrevs.n_attributes);
		if (state == UNIT_OPEN && unit.type != DW_UT_type && unit.type != DW_UT_split_type)
			failed = unit_claim(lookup, &unit, &die);
		unit_close(&unit);
		if (failed != 0)
			return -1;
	}
	return 0;
}

/* A unit without ranges gets the addresses in its functions. */
static int rangeless_claim(struct lookup *lookup, uint64_t offset, uint64_t *bytes_left)
{
	struct unit unit;
	struct die die;
	struct scopes scopes = {0};
	size_t n = 0;
	int result = 0;
	for (size_t i = 0; i < lookup->n; i++)
		if (lookup->hit_of[i] == 0)
			lookup->unit_pcs[n++] = lookup->pcs[i];
	if (n == 0)
		return 0;
	enum unit_open state = unit_open(&lookup->own, offset, true, NULL, NULL, &unit, &die);
	uint64_t cost = unit.n_bytes;
	if (state == UNIT_OPEN && cost <= *bytes_left) {
		*bytes_left -= cost;
		result = scopes_find(&unit, lookup->unit_pcs, n, &scopes, &lookup->work);
		uint32_t own = 0;
		for (size_t i = 0, k = 0; result == 0 && i < lookup->n; i++) {
			if (lookup->hit_of[i] != 0 || scopes.innermost[k++] == 0)
				continue;
			if (own == 0)
				result = hit_add(lookup, offset);
			own = (uint32_t)lookup->n_hits;
			lookup->hit_of[i] = own;
		}
	}
	scopes_free(&scopes);
	unit_close(&unit);
	return state == UNIT_NO_MEMORY ? -1 : result;
}

static int rangeless_index(struct lookup *lookup)
{
	uint64_t bytes_left = RANGELESS_BYTES_MAX;
	for (size_t i = 0; i < lookup->rangeless.n && lookup->work.left != 0; i++)
		if (rangeless_claim(lookup, lookup->rangeless.v[i], &bytes_left) != 0)
			return -1;
	return 0;
}

static void hits_group(struct lookup *lookup)
{
	size_t first = 0;
	for (size_t i = 0; i < lookup->n; i++)
		if (lookup->hit_of[i] != 0)
			lookup->hits[lookup->hit_of[i] - 1].n++;
	for (size_t k = 0; k < lookup->n_hits; k++) {
		lookup->hits[k].first = first;
		first += lookup->hits[k].n;
		lookup->hits[k].n = 0;
	}
	for (size_t i = 0; i < lookup->n; i++) {
		if (lookup->hit_of[i] == 0)
			continue;
		struct hit *hit = &lookup->hits[lookup->hit_of[i] - 1];
		lookup->grouped[hit->first + hit->n++] = i;
	}
}

/* ---- one unit ---- */

/* A unit at work. */
struct work {
	struct hit *hit;
	struct unit unit, half;
	struct die die; /* the unit's own, not its half's */
	const struct unit *from; /* whose functions are read */
	const char *folder;
	struct line_table table;
	struct scopes scopes;
	struct references references;
};

/* The line program of a unit; rows stay "not found" without one. */
static int unit_lines(struct lookup *lookup, struct work *work)
{
	memset(lookup->rows, 0, work->hit->n * sizeof(*lookup->rows));
	if (!die_has(&work->die, DIE_STMT_LIST))
		return 0;
	return lines_read(lookup->own.debuginfo, die_number(&work->die, DIE_STMT_LIST), lookup->unit_pcs,
		work->hit->n, lookup->rows, &work->table, &lookup->line_work);
}

static int missing_add(struct lookup *lookup, const struct work *work)
{
	struct dwarf_outcome *outcome = lookup->outcome;
	const char *name = die_string(&work->unit, &work->die, DIE_DWO_NAME, &lookup->shared, lookup->arena);
	if (name == NULL)
		return -1;
	if (lookup->missing == NULL)
		lookup->missing = arena_alloc(lookup->arena, SYMBOL_SPLIT_MAX * sizeof(*lookup->missing));
	if (lookup->missing == NULL)
		return -1;
	outcome->missing = lookup->missing;
	if (outcome->n_missing < SYMBOL_SPLIT_MAX)
		lookup->missing[outcome->n_missing++] =
			(struct split_name){.folder = work->folder, .name = name};
	return 0;
}

/* Finds the other half of a split unit. Without it, there are lines, and what the unit itself has of functions.
 */
static int half_find(struct lookup *lookup, struct work *work)
{
	struct die die;
	work->from = &work->unit;
	if (!die_has(&work->die, DIE_DWO_NAME))
		return 0;
	for (size_t i = 0; i < lookup->n_halves; i++) {
		if (package_find(&lookup->halves[i], &work->unit, &lookup->work, &work->half, &die)) {
			work->from = &work->half;
			return 0;
		}
		unit_close(&work->half);
	}
	return missing_add(lookup, work);
}

/* Names all scopes. Those without a linkage name are put behind what encloses them, all in one pass. */
static int scopes_name(struct lookup *lookup, struct work *work)
{
	struct scopes *scopes = &work->scopes;
	struct qualification *wanted = calloc(scopes->n + 1, sizeof(*wanted));
	size_t n = 0;
	int result = wanted == NULL ? -1 : 0;
	for (size_t i = 0; i < scopes->n && result == 0; i++) {
		struct scope *scope = &scopes->v[i];
		struct function_names names;
		result = references_names(&work->references, scope->die, lookup->arena, &names);
		if (result != 0)
			break;
		scope->start_line = names.line;
		scope->system_name = names.linkage[0] != '\0' ? names.linkage : names.plain;
		scope->function = names.linkage[0] != '\0' ? "" : names.plain;
		const char *between = references_separator(names.language);
		if (scope->function[0] != '\0' && between != NULL)
			wanted[n++] = (struct qualification){.units = names.units,
				.declaration = names.declaration,
				.plain = names.plain,
				.between = between,
				.qualified = &scope->function};
		scope->call_path = "";
		if (scope->parent != 0)
			scope->call_path =
				line_table_path(&work->table, work->folder, scope->call_file, lookup->arena);
		if (scope->call_path == NULL)
			result = -1;
	}
	if (result == 0)
		result = references_qualify(&work->references, wanted, n, lookup->arena);
	free(wanted);
	return result;
}

/* From the innermost scope outwards: each function is at the line where it calls the one before. */
static int chain_make(
	struct lookup *lookup, const struct scopes *scopes, uint32_t innermost, struct dwarf_chain *chain)
{
	size_t n = 0;
	for (uint32_t k = innermost; k != 0 && n < SYMBOLS_CHAIN_MAX; k = scopes->v[k - 1].parent)
		n++;
	struct source_line *lines = arena_alloc(lookup->arena, n * sizeof(*lines));
	const char *file = chain->file;
	uint32_t line = chain->line, k = innermost;
	if (lines == NULL)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct scope *scope = &scopes->v[k - 1];
		lines[i] = (struct source_line){.function = scope->function,
			.system_name = scope->system_name,
			.file = file,
			.line = line,
			.start_line = scope->start_line};
		file = scope->call_path;
		line = scope->call_line;
		k = scope->parent;
	}
	chain->lines = lines;
	chain->n = n;
	return 0;
}

static int unit_chains(struct lookup *lookup, struct work *work)
{
	for (size_t i = 0; i < work->hit->n; i++) {
		struct dwarf_chain *chain = &lookup->out[lookup->grouped[work->hit->first + i]];
		const struct line_row *row = &lookup->rows[i];
		if (row->found) {
			chain->line = row->line;
			chain->file = line_table_path(&work->table, work->folder, row->file, lookup->arena);
		}
		if (chain->file == NULL)
			return -1;
		uint32_t innermost = work->scopes.innermost[i];
		if (innermost != 0 && chain_make(lookup, &work->scopes, innermost, chain) != 0)
			return -1;
	}
	return 0;
}

static int unit_answer(struct lookup *lookup, struct work *work)
{
	enum unit_open state =
		unit_open(&lookup->own, work->hit->unit, true, NULL, NULL, &work->unit, &work->die);
	if (state != UNIT_OPEN || !budget_take(&lookup->work, work->unit.abbrevs.n_attributes))
		return state == UNIT_NO_MEMORY ? -1 : 0;
	for (size_t i = 0; i < work->hit->n; i++)
		lookup->unit_pcs[i] = lookup->pcs[lookup->grouped[work->hit->first + i]];
	work->folder = die_string(&work->unit, &work->die, DIE_COMP_DIR, &lookup->shared, lookup->arena);
	if (work->folder == NULL || half_find(lookup, work) != 0 || unit_lines(lookup, work) != 0)
		return -1;
	work->references.shared = &lookup->shared;
	work->references.budget = &lookup->work;
	work->references.current = work->from;
	if (scopes_find(work->from, lookup->unit_pcs, work->hit->n, &work->scopes, &lookup->work) != 0 ||
		scopes_name(lookup, work) != 0)
		return -1;
	return unit_chains(lookup, work);
}

static int hit_answer(struct lookup *lookup, struct hit *hit)
{
	struct work *work = calloc(1, sizeof(*work));
	if (work == NULL)
		return -1;
	work->hit = hit;
	int result = unit_answer(lookup, work);
	references_close(&work->references);
	line_table_free(&work->table);
	scopes_free(&work->scopes);
	unit_close(&work->half);
	unit_close(&work->unit);
	free(work);
	return result;
}

/* ---- all ---- */

static int lookup_run(struct lookup *lookup)
{
	if (units_index(lookup) != 0 || rangeless_index(lookup) != 0)
		return -1;
	hits_group(lookup);
	for (size_t k = 0; k < lookup->n_hits; k++)
		if (lookup->hits[k].n != 0 && hit_answer(lookup, &lookup->hits[k]) != 0)
			return -1;
	return 0;
}

static int halves_open(struct lookup *lookup)
{
	const struct symbol_files *files = lookup->files;
	lookup->halves = calloc(files->n_split + 2, sizeof(*lookup->halves));
	if (lookup->halves == NULL)
		return -1;
	for (size_t i = 0; i <= files->n_split; i++) {
		const struct image *image = i == 0 ? files->package : files->split[i - 1];
		struct debuginfo *debuginfo = image != NULL ? debuginfo_open(image, true) : NULL;
		if (debuginfo != NULL)
			lookup->halves[lookup->n_halves++].debuginfo = debuginfo;
	}
	return 0;
}

static int scratch_open(struct lookup *lookup)
{
	size_t n = lookup->n + 1;
	lookup->hit_of = calloc(n, sizeof(*lookup->hit_of));
	lookup->width_of = calloc(n, sizeof(*lookup->width_of));
	lookup->grouped = calloc(n, sizeof(*lookup->grouped));
	lookup->unit_pcs = calloc(n, sizeof(*lookup->unit_pcs));
	lookup->rows = calloc(n, sizeof(*lookup->rows));
	return lookup->hit_of != NULL && lookup->width_of != NULL && lookup->grouped != NULL &&
			       lookup->unit_pcs != NULL && lookup->rows != NULL
		       ? 0
		       : -1;
}

static void units_close(struct units *units)
{
	debuginfo_close(units->debuginfo);
	units_free(units);
}

static void lookup_close(struct lookup *lookup)
{
	units_close(&lookup->own);
	units_close(&lookup->shared);
	for (size_t i = 0; i < lookup->n_halves; i++)
		units_close(&lookup->halves[i]);
	free(lookup->halves);
	free(lookup->hits);
	free(lookup->rangeless.v);
	free(lookup->hit_of);
	free(lookup->width_of);
	free(lookup->grouped);
	free(lookup->unit_pcs);
	free(lookup->rows);
}

int dwarf_lookup(const struct symbol_files *files, struct arena *arena, const uint64_t *pcs, size_t n,
	struct dwarf_chain *out, struct dwarf_outcome *outcome)
{
	struct lookup lookup = {.files = files,
		.arena = arena,
		.out = out,
		.pcs = pcs,
		.n = n,
		.work = {.left = WORK_MAX},
		.line_work = LINE_WORK_MAX,
		.outcome = outcome};
	int result = -1;
	*outcome = (struct dwarf_outcome){.found = false};
	for (size_t i = 0; i < n; i++)
		out[i] = (struct dwarf_chain){.file = ""};
	lookup.own.debuginfo = debuginfo_open(files->debug != NULL ? files->debug : files->binary, false);
	if (lookup.own.debuginfo == NULL)
		return 0;
	outcome->found = true;
	if (files->shared != NULL)
		lookup.shared.debuginfo = debuginfo_open(files->shared, false);
	if (halves_open(&lookup) == 0 && scratch_open(&lookup) == 0)
		result = lookup_run(&lookup);
	outcome->limited = lookup.work.left == 0 || lookup.line_work == 0;
	lookup_close(&lookup);
	return result;
}
