#include "symbols/budget.h"

#include <dwarf.h>

enum {
	BYTES_PER_UNIT = 8,
	/* Namespaces are few levels deep and may be large; what is deeper is in functions, and small. Something
	 * large and deep is there to be read again at each level: test_deep_nesting. */
	SHALLOW = 8,
	SMALL_BYTES = 64 * 1024,
	DEEP_UNITS_PER_BYTE = 32
};

bool budget_take(struct budget *budget, uint64_t cost)
{
	bool enough = budget->left >= cost;
	budget->left = enough ? budget->left - cost : 0;
	return enough;
}

const void *budget_unit_end(Dwarf_Die *unit)
{
	Dwarf_Off first = dwarf_dieoffset(unit), next, type_at;
	Dwarf_Off start = first - dwarf_cuoffset(unit);
	Dwarf_Half version;
	uint8_t type;
	size_t header;
	uint64_t signature;
	if (dwarf_cu_info(unit->cu, &version, &type, NULL, NULL, NULL, NULL, NULL) != 0)
		return unit->addr;
	/* Before version 5, type units have a section of their own. */
	bool types = type == DW_UT_type && version < 5;
	if (dwarf_next_unit(dwarf_cu_getdwarf(unit->cu), start, &next, &header, NULL, NULL, NULL, NULL,
		    types ? &signature : NULL, types ? &type_at : NULL) != 0 ||
		next < first)
		return unit->addr;
	return (const char *)unit->addr + (next - first);
}

bool budget_sibling(struct budget *budget, Dwarf_Die *die, const void *end, size_t depth)
{
	Dwarf_Die next;
	bool found = dwarf_siblingof(die, &next) == 0;
	uintptr_t from = (uintptr_t)die->addr, to = (uintptr_t)(found ? next.addr : end);
	uint64_t bytes = to > from ? to - from : 0;
	uint64_t cost = 1 + bytes / BYTES_PER_UNIT;
	if (depth > SHALLOW && bytes > SMALL_BYTES)
		cost = bytes * DEEP_UNITS_PER_BYTE;
	if (!budget_take(budget, cost) || !found)
		return false;
	*die = next;
	return true;
}
