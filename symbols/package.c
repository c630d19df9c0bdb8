#include "symbols/package.h"

#include <dwarf.h>

enum { COLUMNS_MAX = 16 };

/* The sections of a package by their numbers in its index; two of them differ between the versions. */
enum column {
	COLUMN_INFO = 1,
	COLUMN_ABBREV = 3,
	COLUMN_STR_OFFSETS = 6,
	COLUMN_RNGLISTS = 8 /* .debug_macro in version 2, which has no such lists */
};

struct table {
	struct debuginfo *debuginfo;
	uint64_t columns, units, slots;
	uint64_t hashes, rows, names, offsets; /* where the parts of the table begin */
};

static bool table_open(struct debuginfo *debuginfo, struct table *table)
{
	uint64_t size = debuginfo_size(debuginfo, DEBUG_CU_INDEX);
	unsigned version = (unsigned)debuginfo_uint(debuginfo, DEBUG_CU_INDEX, 0, 2);
	*table = (struct table){.debuginfo = debuginfo,
		.columns = debuginfo_uint(debuginfo, DEBUG_CU_INDEX, 4, 4),
		.units = debuginfo_uint(debuginfo, DEBUG_CU_INDEX, 8, 4),
		.slots = debuginfo_uint(debuginfo, DEBUG_CU_INDEX, 12, 4),
		.hashes = 16};
	if ((version != 2 && version != 5) || table->columns > COLUMNS_MAX || table->slots == 0)
		return false;
	table->rows = table->hashes + 8 * table->slots;
	table->names = table->rows + 4 * table->slots;
	table->offsets = table->names + 4 * table->columns;
	return table->offsets <= size && (size - table->offsets) / 4 >= table->units * table->columns;
}

/* The row of an id, counted from 1; 0 when there is none. */
static uint64_t row_of(const struct table *table, uint64_t id, struct budget *budget)
{
	uint64_t mask = table->slots - 1, at = id & mask, step = ((id >> 32) & mask) | 1;
	if ((table->slots & mask) != 0)
		return 0;
	for (uint64_t i = 0; i < table->slots && budget_take(budget, 1); i++, at = (at + step) & mask) {
		uint64_t row = debuginfo_uint(table->debuginfo, DEBUG_CU_INDEX, table->rows + 4 * at, 4);
		if (row == 0)
			return 0;
		if (debuginfo_uint(table->debuginfo, DEBUG_CU_INDEX, table->hashes + 8 * at, 8) == id)
			return row <= table->units ? row : 0;
	}
	return 0;
}

static uint64_t contribution(const struct table *table, uint64_t row, enum column column)
{
	for (uint64_t i = 0; i < table->columns; i++)
		if (debuginfo_uint(table->debuginfo, DEBUG_CU_INDEX, table->names + 4 * i, 4) == column)
			return debuginfo_uint(table->debuginfo, DEBUG_CU_INDEX,
				table->offsets + 4 * ((row - 1) * table->columns + i), 4);
	return 0;
}

static bool is_half(const struct unit *unit, const struct unit *skeleton)
{
	return unit->id == skeleton->id && unit->type != DW_UT_type && unit->type != DW_UT_split_type;
}

static bool find_by_index(struct units *units, const struct unit *skeleton, struct budget *budget,
	struct unit *unit, struct die *die)
{
	struct table table;
	if (!table_open(units->debuginfo, &table))
		return false;
	uint64_t row = row_of(&table, skeleton->id, budget);
	if (row == 0)
		return false;
	struct contributions contributions = {.abbrev = contribution(&table, row, COLUMN_ABBREV),
		.str_offsets = contribution(&table, row, COLUMN_STR_OFFSETS),
		.rnglists = contribution(&table, row, COLUMN_RNGLISTS)};
	return unit_open(units, contribution(&table, row, COLUMN_INFO), true, skeleton, &contributions, unit,
		       die) == UNIT_OPEN &&
	       is_half(unit, skeleton);
}

static bool find_by_search(struct units *units, const struct unit *skeleton, struct budget *budget,
	struct unit *unit, struct die *die)
{
	if (units_list(units, budget) != 0)
		return false;
	for (size_t i = 0; i < units->n && budget_take(budget, 1); i++) {
		bool found =
			unit_open(units, units->offsets[i], false, skeleton, NULL, unit, die) == UNIT_OPEN &&
			is_half(unit, skeleton);
		unit_close(unit);
		if (found)
			return unit_open(units, units->offsets[i], true, skeleton, NULL, unit, die) ==
			       UNIT_OPEN;
	}
	return false;
}

bool package_find(struct units *units, const struct unit *skeleton, struct budget *budget, struct unit *unit,
	struct die *die)
{
	*unit = (struct unit){0};
	if (debuginfo_size(units->debuginfo, DEBUG_CU_INDEX) != 0)
		return find_by_index(units, skeleton, budget, unit, die);
	return find_by_search(units, skeleton, budget, unit, die);
}
