#include "symbols/dwarf.h"

#include "symbols/addresses.h"
#include "symbols/diename.h"
#include "symbols/lines.h"
#include "symbols/scopes.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

enum { UNITS_MAX = 1000 * 1000 };

/* The largest binaries at hand (1 GB of C++, 1,000 addresses) take a tenth of these. */
static const uint64_t DIES_MAX = 128u * 1000 * 1000;
static const uint64_t LINE_WORK_MAX = 1000u * 1000 * 1000;

/* A unit that holds wanted addresses. */
struct unit {
	Dwarf_Die die;
	size_t first, n; /* its addresses: lookup->grouped[first .. first + n) */
};

struct lookup {
	const struct debuginfo *debuginfo;
	struct arena *arena;
	struct dwarf_chain *out;
	const uint64_t *pcs;
	size_t n;
	struct unit *units;
	size_t n_units, cap_units;
	uint32_t *unit_of; /* for each address, a unit's number; 0 none */
	uint64_t *width_of; /* and how wide its range was */
	size_t *grouped; /* indices into pcs, by unit, ascending */
	uint64_t *unit_pcs; /* scratch: one unit's addresses */
	struct line_row *rows; /* scratch: their rows */
	struct budget dies;
	uint64_t line_work;
	struct diename_cache names;
	bool split;
};

static int unit_add(struct lookup *lookup, const Dwarf_Die *die)
{
	if (lookup->n_units == lookup->cap_units) {
		size_t cap = lookup->cap_units == 0 ? 64 : lookup->cap_units * 2;
		struct unit *units = reallocarray(lookup->units, cap, sizeof(*units));
		if (units == NULL)
			return -1;
		lookup->units = units;
		lookup->cap_units = cap;
	}
	lookup->units[lookup->n_units++] = (struct unit){.die = *die};
	return 0;
}

/* Gives the unit the wanted addresses in its ranges. Of two units the one with the narrower range has an
 * address: a range that spans too much is a producer's mistake, one that is too narrow is not seen. */
static int unit_claim(struct lookup *lookup, Dwarf_Die *die)
{
	Dwarf_Addr base, lo, hi;
	ptrdiff_t offset = 0;
	uint32_t own = 0;
	while ((offset = dwarf_ranges(die, offset, &base, &lo, &hi)) > 0 && budget_take(&lookup->dies, 1)) {
		if (lo == 0 || hi <= lo) /* dropped by the linker */
			continue;
		for (size_t i = addresses_from(lookup->pcs, lookup->n, lo);
			i < lookup->n && lookup->pcs[i] < hi; i++) {
			if (!budget_take(&lookup->dies, 1))
				return 0;
			if (lookup->unit_of[i] != 0 && lookup->width_of[i] <= hi - lo)
				continue;
			if (own == 0 && unit_add(lookup, die) != 0)
				return -1;
			own = (uint32_t)lookup->n_units;
			lookup->unit_of[i] = own;
			lookup->width_of[i] = hi - lo;
		}
	}
	return 0;
}

static int units_index(struct lookup *lookup)
{
	Dwarf *dwarf = debuginfo_dwarf(lookup->debuginfo);
	Dwarf_CU *unit = NULL;
	Dwarf_Die die;
	uint8_t type;
	/* The split half of a unit is not asked for: libdw would open files by a name from the image. */
	for (size_t i = 0; i < UNITS_MAX; i++) {
		if (dwarf_get_units(dwarf, unit, &unit, NULL, &type, &die, NULL) != 0)
			break;
		if (type == DW_UT_type || type == DW_UT_split_type)
			continue;
		if (unit_claim(lookup, &die) != 0)
			return -1;
	}
	return 0;
}

static void units_group(struct lookup *lookup)
{
	size_t first = 0;
	for (size_t i = 0; i < lookup->n; i++)
		if (lookup->unit_of[i] != 0)
			lookup->units[lookup->unit_of[i] - 1].n++;
	for (size_t k = 0; k < lookup->n_units; k++) {
		lookup->units[k].first = first;
		first += lookup->units[k].n;
		lookup->units[k].n = 0;
	}
	for (size_t i = 0; i < lookup->n; i++) {
		if (lookup->unit_of[i] == 0)
			continue;
		struct unit *unit = &lookup->units[lookup->unit_of[i] - 1];
		lookup->grouped[unit->first + unit->n++] = i;
	}
}

static const char *unit_folder(Dwarf_Die *die)
{
	Dwarf_Attribute attribute;
	const char *folder = dwarf_formstring(dwarf_attr(die, DW_AT_comp_dir, &attribute));
	return folder == NULL ? "" : folder;
}

static uint32_t attribute_number(Dwarf_Die *die, unsigned name, bool integrate)
{
	Dwarf_Attribute attribute;
	Dwarf_Word value;
	Dwarf_Attribute *found =
		integrate ? dwarf_attr_integrate(die, name, &attribute) : dwarf_attr(die, name, &attribute);
	if (found == NULL || dwarf_formudata(found, &value) != 0 || value > UINT32_MAX)
		return 0;
	return (uint32_t)value;
}

/* The line program of a unit; rows stay "not found" without one. */
static int unit_lines(struct lookup *lookup, struct unit *unit, struct line_table *table)
{
	struct line_sections sections = {
		.line = debuginfo_section(lookup->debuginfo, DEBUG_LINE),
		.line_str = debuginfo_section(lookup->debuginfo, DEBUG_LINE_STR),
		.str = debuginfo_section(lookup->debuginfo, DEBUG_STR),
	};
	Dwarf_Attribute attribute;
	Dwarf_Word offset;
	memset(lookup->rows, 0, unit->n * sizeof(*lookup->rows));
	if (dwarf_attr(&unit->die, DW_AT_stmt_list, &attribute) == NULL ||
		dwarf_formudata(&attribute, &offset) != 0)
		return 0;
	return lines_read(
		&sections, offset, lookup->unit_pcs, unit->n, lookup->rows, table, &lookup->line_work);
}

/* Reads what a scope's DIE says, at its first use. */
static int scope_resolve(
	struct lookup *lookup, struct scope *scope, const struct line_table *table, const char *folder)
{
	if (scope->resolved)
		return 0;
	if (diename_read(&scope->die, lookup->arena, &lookup->names, &lookup->dies, &scope->system_name,
		    &scope->function) != 0)
		return -1;
	scope->start_line = attribute_number(&scope->die, DW_AT_decl_line, true);
	scope->call_file = "";
	if (scope->parent != 0) {
		scope->call_line = attribute_number(&scope->die, DW_AT_call_line, false);
		scope->call_file = line_table_path(
			table, folder, attribute_number(&scope->die, DW_AT_call_file, false), lookup->arena);
	}
	if (scope->call_file == NULL)
		return -1;
	scope->resolved = 1;
	return 0;
}

/* From the innermost scope outwards: each function is at the line where it calls the one before. */
static int chain_make(struct lookup *lookup, struct scopes *scopes, uint32_t innermost,
	const struct line_table *table, const char *folder, struct dwarf_chain *chain)
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
		struct scope *scope = &scopes->v[k - 1];
		if (scope_resolve(lookup, scope, table, folder) != 0)
			return -1;
		lines[i] = (struct source_line){.function = scope->function,
			.system_name = scope->system_name,
			.file = file,
			.line = line,
			.start_line = scope->start_line};
		file = scope->call_file;
		line = scope->call_line;
		k = scope->parent;
	}
	chain->lines = lines;
	chain->n = n;
	return 0;
}

static int unit_chains(
	struct lookup *lookup, struct unit *unit, struct scopes *scopes, const struct line_table *table)
{
	const char *folder = unit_folder(&unit->die);
	for (size_t i = 0; i < unit->n; i++) {
		struct dwarf_chain *chain = &lookup->out[lookup->grouped[unit->first + i]];
		const struct line_row *row = &lookup->rows[i];
		if (row->found) {
			chain->line = row->line;
			chain->file = line_table_path(table, folder, row->file, lookup->arena);
		}
		if (chain->file == NULL)
			return -1;
		if (scopes->innermost[i] != 0 &&
			chain_make(lookup, scopes, scopes->innermost[i], table, folder, chain) != 0)
			return -1;
	}
	return 0;
}

static int unit_lookup(struct lookup *lookup, struct unit *unit)
{
	struct line_table table = {0};
	struct scopes scopes = {0};
	Dwarf_Attribute attribute;
	int result = -1;
	for (size_t i = 0; i < unit->n; i++)
		lookup->unit_pcs[i] = lookup->pcs[lookup->grouped[unit->first + i]];
	if (dwarf_attr(&unit->die, DW_AT_dwo_name, &attribute) != NULL ||
		dwarf_attr(&unit->die, DW_AT_GNU_dwo_name, &attribute) != NULL)
		lookup->split = true;
	if (unit_lines(lookup, unit, &table) == 0 &&
		scopes_find(&unit->die, lookup->unit_pcs, unit->n, &scopes, &lookup->dies) == 0)
		result = unit_chains(lookup, unit, &scopes, &table);
	line_table_free(&table);
	scopes_free(&scopes);
	return result;
}

static int lookup_run(struct lookup *lookup)
{
	if (units_index(lookup) != 0)
		return -1;
	units_group(lookup);
	for (size_t k = 0; k < lookup->n_units; k++)
		if (lookup->units[k].n != 0 && unit_lookup(lookup, &lookup->units[k]) != 0)
			return -1;
	return 0;
}

int dwarf_lookup(const struct debuginfo *debuginfo, struct arena *arena, const uint64_t *pcs, size_t n,
	struct dwarf_chain *out, enum dwarf_extent *extent)
{
	int result = -1;
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	if (lookup == NULL)
		return -1;
	lookup->debuginfo = debuginfo;
	lookup->arena = arena;
	lookup->out = out;
	lookup->pcs = pcs;
	lookup->n = n;
	lookup->dies.left = DIES_MAX;
	lookup->line_work = LINE_WORK_MAX;
	lookup->unit_of = calloc(n + 1, sizeof(*lookup->unit_of));
	lookup->width_of = calloc(n + 1, sizeof(*lookup->width_of));
	lookup->grouped = calloc(n + 1, sizeof(*lookup->grouped));
	lookup->unit_pcs = calloc(n + 1, sizeof(*lookup->unit_pcs));
	lookup->rows = calloc(n + 1, sizeof(*lookup->rows));
	for (size_t i = 0; i < n; i++)
		out[i] = (struct dwarf_chain){.file = ""};
	if (lookup->unit_of != NULL && lookup->width_of != NULL && lookup->grouped != NULL &&
		lookup->unit_pcs != NULL && lookup->rows != NULL)
		result = lookup_run(lookup);
	*extent = lookup->split ? DWARF_SPLIT : DWARF_WHOLE;
	if (lookup->dies.left == 0 || lookup->line_work == 0)
		*extent = DWARF_LIMITED;
	diename_cache_clear(&lookup->names);
	free(lookup->units);
	free(lookup->unit_of);
	free(lookup->width_of);
	free(lookup->grouped);
	free(lookup->unit_pcs);
	free(lookup->rows);
	free(lookup);
	return result;
}
