#include "symbols/libdw.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <string.h>

enum { DIES_MAX = 10 * 1000 * 1000, DEPTH_MAX = 256 };

/* The innermost subprogram below `die` that holds `pc`: an iterative walk, since nesting is the file's to
 * choose. */
static bool find_function(Dwarf_Die *unit, uint64_t pc, size_t *dies, Dwarf_Die *found)
{
	Dwarf_Die path[DEPTH_MAX];
	size_t depth = 0;
	bool any = false;
	if (dwarf_child(unit, &path[0]) != 0)
		return false;
	for (;;) {
		Dwarf_Die *die = &path[depth];
		int tag = dwarf_tag(die);
		if ((*dies)-- == 0)
			return any;
		if (tag == DW_TAG_subprogram && dwarf_haspc(die, pc) == 1) {
			*found = *die;
			any = true;
		}
		bool scope = tag == DW_TAG_subprogram || tag == DW_TAG_namespace || tag == DW_TAG_module;
		if (scope && depth + 1 < DEPTH_MAX && dwarf_child(die, &path[depth + 1]) == 0) {
			depth++;
			continue;
		}
		while (dwarf_siblingof(&path[depth], &path[depth]) != 0)
			if (depth-- == 0)
				return any;
	}
}

/* The linkage name, from the declaration when that has it; else the plain name. */
static const char *name_of(Dwarf_Die *function)
{
	Dwarf_Attribute attribute;
	const char *name = NULL;
	if (dwarf_attr_integrate(function, DW_AT_linkage_name, &attribute) != NULL ||
		dwarf_attr_integrate(function, DW_AT_MIPS_linkage_name, &attribute) != NULL)
		name = dwarf_formstring(&attribute);
	if (name == NULL)
		name = dwarf_diename(function);
	return name != NULL ? name : "";
}

static int fill_line(Dwarf_Die *unit, uint64_t pc, struct arena *arena, struct dwarf_chain *out)
{
	Dwarf_Line *line = dwarf_getsrc_die(unit, pc);
	const char *file = line != NULL ? dwarf_linesrc(line, NULL, NULL) : NULL;
	int number = 0;
	if (file == NULL)
		return 0;
	out->file = arena_string(arena, file, strlen(file));
	if (dwarf_lineno(line, &number) == 0 && number > 0)
		out->line = (uint32_t)number;
	return out->file != NULL ? 0 : -1;
}

static int fill(Dwarf *dwarf, uint64_t pc, struct arena *arena, size_t *dies, struct dwarf_chain *out)
{
	Dwarf_Die unit, function;
	int declared;
	if (dwarf_addrdie(dwarf, pc, &unit) == NULL)
		return 0;
	if (fill_line(&unit, pc, arena, out) != 0)
		return -1;
	if (!find_function(&unit, pc, dies, &function))
		return 0;
	const char *name = name_of(&function);
	out->lines = arena_alloc(arena, sizeof *out->lines);
	name = arena_string(arena, name, strlen(name));
	if (out->lines == NULL || name == NULL)
		return -1;
	*out->lines =
		(struct source_line){.function = "", .system_name = name, .file = out->file, .line = out->line};
	if (dwarf_decl_line(&function, &declared) == 0 && declared > 0)
		out->lines->start_line = (uint32_t)declared;
	out->n = 1;
	return 0;
}

const char *libdw_version(void)
{
	return dwfl_version(NULL);
}

int libdw_lookup(int fd, struct arena *arena, const uint64_t *pcs, size_t n, struct dwarf_chain *out)
{
	size_t dies = DIES_MAX;
	int result = 0;
	Dwarf *dwarf = dwarf_begin(fd, DWARF_C_READ);
	if (dwarf == NULL)
		return 0;
	for (size_t i = 0; i < n && result == 0 && dies > 0; i++)
		if (out[i].n == 0)
			result = fill(dwarf, pcs[i], arena, &dies, &out[i]);
	dwarf_end(dwarf);
	return result;
}
