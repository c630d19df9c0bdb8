#include "symbols/scopes.h"

#include "symbols/addresses.h"

#include <dwarf.h>
#include <stdlib.h>

enum { DEPTH_MAX = 256 };

struct level {
	Dwarf_Die die; /* the next one to visit */
	const void *end; /* behind the last one */
	uint32_t scope; /* that encloses them; 0 none */
};

struct walk {
	const uint64_t *pcs;
	size_t n;
	struct scopes *scopes;
	struct budget *budget;
	bool types; /* functions may be inside types: not in C */
	bool thorough; /* look for functions inside of functions that do not match, too */
	struct level levels[DEPTH_MAX];
};

enum cover { COVER_NO_RANGES, COVER_NONE, COVER_SOME, COVER_NO_MEMORY };

static int scope_add(struct scopes *scopes, const Dwarf_Die *die, uint32_t parent)
{
	if (scopes->n == scopes->cap) {
		size_t cap = scopes->cap == 0 ? 64 : scopes->cap * 2;
		struct scope *v = cap > UINT32_MAX ? NULL : reallocarray(scopes->v, cap, sizeof(*v));
		if (v == NULL)
			return -1;
		scopes->v = v;
		scopes->cap = cap;
	}
	scopes->v[scopes->n++] = (struct scope){.die = *die, .parent = parent};
	return 0;
}

/* Does the DIE's code hold a wanted address? When `claim` is set, the addresses whose innermost scope is
 * `parent` get a new scope. An address stays with the first of two siblings that both claim it. */
static enum cover ranges_cover(struct walk *walk, Dwarf_Die *die, uint32_t parent, bool claim)
{
	Dwarf_Addr base, lo, hi;
	ptrdiff_t offset = 0;
	enum cover cover = COVER_NO_RANGES;
	uint32_t own = 0;
	while ((offset = dwarf_ranges(die, offset, &base, &lo, &hi)) > 0 && budget_take(walk->budget, 1)) {
		if (cover == COVER_NO_RANGES)
			cover = COVER_NONE;
		if (lo == 0) /* dropped by the linker */
			continue;
		for (size_t i = addresses_from(walk->pcs, walk->n, lo); i < walk->n && walk->pcs[i] < hi; i++) {
			if (!budget_take(walk->budget, 1))
				return cover;
			if (!claim) /* its children will say */
				return COVER_SOME;
			if (walk->scopes->innermost[i] != parent)
				continue;
			if (own == 0 && scope_add(walk->scopes, die, parent) != 0)
				return COVER_NO_MEMORY;
			own = (uint32_t)walk->scopes->n;
			walk->scopes->innermost[i] = own;
			cover = COVER_SOME;
		}
	}
	return cover;
}

enum step { STEP_OVER, STEP_INTO, STEP_NO_MEMORY };

static enum step function_visit(struct walk *walk, Dwarf_Die *die, uint32_t *scope, bool inlined)
{
	/* A function inside a function (a closure, a local class) has its code elsewhere: it starts a chain of
	 * its own. */
	uint32_t parent = inlined ? *scope : 0;
	if (inlined && parent == 0)
		return STEP_OVER;
	switch (ranges_cover(walk, die, parent, true)) {
	case COVER_SOME:
		*scope = (uint32_t)walk->scopes->n;
		return STEP_INTO;
	case COVER_NO_MEMORY:
		return STEP_NO_MEMORY;
	default:
		*scope = 0;
		return !inlined && walk->thorough ? STEP_INTO : STEP_OVER;
	}
}

/* Decides about one DIE; *scope is what encloses it, and becomes what encloses its children. Imported units are
 * not followed: one that has code is a unit with ranges itself, and the index knows it. */
static enum step visit(struct walk *walk, Dwarf_Die *die, uint32_t *scope)
{
	switch (dwarf_tag(die)) {
	case DW_TAG_subprogram:
		return function_visit(walk, die, scope, false);
	case DW_TAG_inlined_subroutine:
		return function_visit(walk, die, scope, true);
	case DW_TAG_lexical_block:
	case DW_TAG_try_block:
	case DW_TAG_catch_block:
		if (*scope == 0)
			return walk->thorough ? STEP_INTO : STEP_OVER;
		return ranges_cover(walk, die, *scope, false) == COVER_NONE ? STEP_OVER : STEP_INTO;
	case DW_TAG_namespace:
	case DW_TAG_module:
		return *scope == 0 ? STEP_INTO : STEP_OVER;
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
	case DW_TAG_enumeration_type:
	case DW_TAG_interface_type:
		return *scope == 0 && walk->types ? STEP_INTO : STEP_OVER;
	default:
		return STEP_OVER;
	}
}

static int walk_unit(struct walk *walk, Dwarf_Die *unit)
{
	size_t depth = 0;
	if (dwarf_child(unit, &walk->levels[0].die) == 0) {
		walk->levels[0].end = budget_unit_end(unit);
		walk->levels[0].scope = 0;
		depth = 1;
	}
	while (depth > 0 && walk->budget->left != 0) {
		struct level *level = &walk->levels[depth - 1];
		struct level inner = *level;
		enum step step = visit(walk, &inner.die, &inner.scope);
		if (step == STEP_NO_MEMORY)
			return -1;
		Dwarf_Die child;
		bool into = step == STEP_INTO && depth < DEPTH_MAX && dwarf_child(&inner.die, &child) == 0;
		if (budget_sibling(walk->budget, &level->die, level->end, depth))
			inner.end = level->die.addr;
		else
			depth--;
		if (into) {
			inner.die = child;
			walk->levels[depth++] = inner;
		}
	}
	return 0;
}

static bool language_has_functions_in_types(Dwarf_Die *unit)
{
	switch (dwarf_srclang(unit)) {
	case DW_LANG_C:
	case DW_LANG_C89:
	case DW_LANG_C99:
	case DW_LANG_C11:
	case DW_LANG_Go:
	case DW_LANG_Mips_Assembler:
		return false;
	default:
		return true;
	}
}

static bool all_found(const struct walk *walk)
{
	for (size_t i = 0; i < walk->n; i++)
		if (walk->scopes->innermost[i] == 0)
			return false;
	return true;
}

int scopes_find(Dwarf_Die *unit, const uint64_t *pcs, size_t n, struct scopes *scopes, struct budget *budget)
{
	int result = -1;
	*scopes = (struct scopes){.innermost = calloc(n + 1, sizeof(*scopes->innermost))};
	struct walk *walk = calloc(1, sizeof(*walk));
	if (walk == NULL || scopes->innermost == NULL)
		goto out;
	walk->pcs = pcs;
	walk->n = n;
	walk->scopes = scopes;
	walk->budget = budget;
	walk->types = language_has_functions_in_types(unit);
	result = walk_unit(walk, unit);
	/* Functions that are declared in functions are rare, and looking for them means reading everything. */
	if (result == 0 && !all_found(walk)) {
		walk->thorough = true;
		result = walk_unit(walk, unit);
	}
out:
	free(walk);
	return result;
}

void scopes_free(struct scopes *scopes)
{
	free(scopes->v);
	free(scopes->innermost);
	*scopes = (struct scopes){0};
}
