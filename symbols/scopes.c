#include "symbols/scopes.h"

#include "symbols/addresses.h"
#include "symbols/ranges.h"

#include <dwarf.h>
#include <stdlib.h>

/* What is deeper is not looked into. */
enum { DEPTH_MAX = 256 };

struct walk {
	const struct unit *unit;
	const uint64_t *pcs;
	size_t n;
	struct scopes *scopes;
	struct budget *budget;
	bool types; /* functions may be inside types: not in C */
	bool thorough; /* look for functions inside of functions that do not match, too */
	uint32_t enclosing[DEPTH_MAX]; /* by depth: the scope that encloses the DIEs there; 0 none */
};

enum cover { COVER_NO_RANGES, COVER_NONE, COVER_SOME, COVER_NO_MEMORY };

static int scope_add(struct scopes *scopes, const struct die *die, uint32_t parent)
{
	if (scopes->n == scopes->cap) {
		size_t cap = scopes->cap == 0 ? 64 : scopes->cap * 2;
		struct scope *v = cap > UINT32_MAX ? NULL : reallocarray(scopes->v, cap, sizeof(*v));
		if (v == NULL)
			return -1;
		scopes->v = v;
		scopes->cap = cap;
	}
	uint64_t line = die_number(die, DIE_CALL_LINE);
	scopes->v[scopes->n++] = (struct scope){.die = die->offset,
		.parent = parent,
		.call_line = line <= UINT32_MAX ? (uint32_t)line : 0,
		.call_file = die_number(die, DIE_CALL_FILE)};
	return 0;
}

/* Does the DIE's code hold a wanted address? When `claim` is set, the addresses whose innermost scope is
 * `parent` get a new scope. An address stays with the first of two siblings that both claim it. */
static enum cover ranges_cover(struct walk *walk, const struct die *die, uint32_t parent, bool claim)
{
	struct ranges ranges;
	uint64_t lo, hi;
	uint32_t own = 0;
	if (!ranges_begin(walk->unit, die, &ranges))
		return COVER_NO_RANGES;
	enum cover cover = COVER_NONE;
	while (ranges_next(&ranges, walk->budget, &lo, &hi)) {
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

static enum step function_visit(struct walk *walk, const struct die *die, uint32_t *scope, bool inlined)
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
static enum step visit(struct walk *walk, const struct die *die, uint32_t *scope)
{
	switch (die->tag) {
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

/* One pass over the unit's bytes, in which no DIE is read twice: its time does not depend on how they are
 * nested. */
static int walk_unit(struct walk *walk)
{
	struct die die;
	size_t depth = 1, skipped = 0; /* DIEs at this depth and deeper; 0: none */
	walk->enclosing[1] = 0;
	for (uint64_t at = walk->unit->body; at != 0 && depth > 0 && at < walk->unit->end; at = die.next) {
		if (!die_skim(walk->unit, at, &die) || !budget_take(walk->budget, 1))
			return 0;
		if (die.tag == 0) {
			depth--;
			skipped = skipped > depth ? 0 : skipped;
			continue;
		}
		enum step step = STEP_OVER;
		uint32_t scope = 0;
		if (skipped == 0) {
			scope = walk->enclosing[depth];
			step = visit(walk, &die, &scope);
		}
		if (step == STEP_NO_MEMORY)
			return -1;
		if (!die.children)
			continue;
		uint64_t sibling = step == STEP_INTO ? 0 : die_sibling(walk->unit, &die);
		if (sibling != 0) {
			die.next = sibling;
			continue;
		}
		depth++;
		if (step == STEP_INTO && depth < DEPTH_MAX)
			walk->enclosing[depth] = scope;
		else if (skipped == 0)
			skipped = depth;
	}
	return 0;
}

static bool language_has_functions_in_types(const struct unit *unit)
{
	switch (unit->language) {
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

int scopes_find(
	const struct unit *unit, const uint64_t *pcs, size_t n, struct scopes *scopes, struct budget *budget)
{
	*scopes = (struct scopes){.innermost = calloc(n + 1, sizeof(*scopes->innermost))};
	if (scopes->innermost == NULL)
		return -1;
	struct walk walk = {.unit = unit,
		.pcs = pcs,
		.n = n,
		.scopes = scopes,
		.budget = budget,
		.types = language_has_functions_in_types(unit)};
	int result = walk_unit(&walk);
	/* Functions that are declared in functions are rare, and looking for them means reading everything. */
	if (result == 0 && !all_found(&walk)) {
		walk.thorough = true;
		result = walk_unit(&walk);
	}
	return result;
}

void scopes_free(struct scopes *scopes)
{
	free(scopes->v);
	free(scopes->innermost);
	*scopes = (struct scopes){0};
}
