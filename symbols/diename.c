#include "symbols/diename.h"

#include <dwarf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	NAME_BYTES_MAX = 16 * 1024,
	REFERENCES_MAX = 16, /* abstract origin, its specification: two in practice */
	PARENTS_MAX = 64
};

static const char *attribute_string(Dwarf_Die *die, unsigned name, bool integrate)
{
	Dwarf_Attribute attribute;
	Dwarf_Attribute *found =
		integrate ? dwarf_attr_integrate(die, name, &attribute) : dwarf_attr(die, name, &attribute);
	const char *text = found == NULL ? NULL : dwarf_formstring(found);
	return text == NULL || strnlen(text, NAME_BYTES_MAX) == NAME_BYTES_MAX ? "" : text;
}

static const char *linkage_name(Dwarf_Die *die)
{
	const char *name = attribute_string(die, DW_AT_linkage_name, true);
	return name[0] != '\0' ? name : attribute_string(die, DW_AT_MIPS_linkage_name, true);
}

/* The DIE that declares the function: the last one that origin and specification lead to. */
static Dwarf_Die declaration(const Dwarf_Die *die)
{
	Dwarf_Die at = *die, next;
	Dwarf_Attribute attribute;
	for (int i = 0; i < REFERENCES_MAX; i++) {
		if (dwarf_attr(&at, DW_AT_abstract_origin, &attribute) == NULL &&
			dwarf_attr(&at, DW_AT_specification, &attribute) == NULL)
			break;
		if (dwarf_formref_die(&attribute, &next) == NULL)
			break;
		at = next;
	}
	return at;
}

static const char *parent_name(Dwarf_Die *die)
{
	const char *name = attribute_string(die, DW_AT_name, true);
	switch (dwarf_tag(die)) {
	case DW_TAG_namespace:
		return name[0] != '\0' ? name : "(anonymous namespace)";
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
		return name[0] != '\0' ? name : "(anonymous class)"; /* a lambda, mostly */
	case DW_TAG_enumeration_type:
	case DW_TAG_interface_type:
	case DW_TAG_module:
	case DW_TAG_subprogram:
		return name;
	default:
		return "";
	}
}

void diename_cache_clear(struct diename_cache *cache)
{
	free(cache->children);
	memset(cache, 0, sizeof(*cache));
}

/* Notes the unit's children, once for all names in it. */
static int children_read(struct diename_cache *cache, Dwarf_Die *unit, struct budget *budget)
{
	Dwarf_Die at;
	cache->n_children = 0;
	cache->unit = NULL;
	bool more = dwarf_child(unit, &at) == 0;
	const void *end = budget_unit_end(unit);
	for (; more; more = budget_sibling(budget, &at, end, 1)) {
		if (cache->n_children == cache->cap_children) {
			size_t cap = cache->cap_children == 0 ? 256 : cache->cap_children * 2;
			void **children = reallocarray(cache->children, cap, sizeof(*children));
			if (children == NULL)
				return -1;
			cache->children = children;
			cache->cap_children = cap;
		}
		cache->children[cache->n_children++] = at.addr;
	}
	cache->unit = unit->addr;
	cache->end = end;
	return 0;
}

/* The unit's child that is `target` or holds it, and where that ends; 1 when there is none. */
static int child_above(struct diename_cache *cache, Dwarf_Die *unit, const Dwarf_Die *target,
	struct budget *budget, Dwarf_Die *child, const void **end)
{
	if (cache->unit != unit->addr && children_read(cache, unit, budget) != 0)
		return -1;
	size_t lo = 0, hi = cache->n_children;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if ((uintptr_t)cache->children[mid] <= (uintptr_t)target->addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return 1;
	*child = (Dwarf_Die){.addr = cache->children[lo - 1], .cu = unit->cu};
	*end = lo < cache->n_children ? cache->children[lo] : cache->end;
	return 0;
}

/* Goes down from the unit to `target` and notes the names on the way: DIEs have no link to their parent. A
 * parent lies before its child, and the parent's next sibling behind. *n becomes how many names there are. */
static int parents_find(Dwarf_Die *target, struct diename_cache *cache, struct budget *budget,
	const char *parents[PARENTS_MAX], size_t *n)
{
	Dwarf_Die unit, at;
	const void *end;
	*n = 0;
	if (dwarf_diecu(target, &unit, NULL, NULL) == NULL)
		return 0;
	int result = child_above(cache, &unit, target, budget, &at, &end);
	if (result != 0)
		return result < 0 ? -1 : 0;
	for (size_t depth = 1; at.addr != target->addr && budget->left != 0 && depth < PARENTS_MAX; depth++) {
		Dwarf_Die next;
		const char *name = parent_name(&at);
		if (name[0] != '\0')
			parents[(*n)++] = name;
		if (dwarf_child(&at, &next) != 0)
			break;
		do {
			at = next;
		} while (budget_sibling(budget, &next, end, depth) &&
			 (uintptr_t)next.addr <= (uintptr_t)target->addr);
		if (next.addr != at.addr)
			end = next.addr;
	}
	return 0;
}

static const char *separator(Dwarf_Die *die)
{
	Dwarf_Die unit;
	if (dwarf_diecu(die, &unit, NULL, NULL) == NULL)
		return "::";
	switch (dwarf_srclang(&unit)) {
	case DW_LANG_C:
	case DW_LANG_C89:
	case DW_LANG_C99:
	case DW_LANG_C11:
	case DW_LANG_ObjC:
	case DW_LANG_Mips_Assembler:
		return NULL; /* no scopes for names */
	case DW_LANG_Go:
	case DW_LANG_D:
	case DW_LANG_Swift:
	case DW_LANG_Java:
	case DW_LANG_OCaml:
		return ".";
	default:
		return "::";
	}
}

static const char *qualified(
	const char *const *parents, size_t n, const char *between, const char *name, struct arena *arena)
{
	char text[NAME_BYTES_MAX];
	size_t len = 0;
	for (size_t i = 0; i <= n; i++) {
		const char *part = i < n ? parents[i] : name;
		size_t part_len = strlen(part), between_len = i < n ? strlen(between) : 0;
		if (sizeof(text) - len < part_len + between_len)
			return arena_string(arena, name, strlen(name));
		memcpy(text + len, part, part_len);
		memcpy(text + len + part_len, between, between_len);
		len += part_len + between_len;
	}
	return arena_string(arena, text, len);
}

static const char *qualified_name(Dwarf_Die *die, const char *name, struct arena *arena,
	struct diename_cache *cache, struct budget *budget)
{
	const char *parents[PARENTS_MAX];
	Dwarf_Die target = declaration(die);
	const char *between = separator(&target);
	size_t slot = ((uintptr_t)target.addr ^ ((uintptr_t)target.addr >> 9)) & (DIENAME_CACHE_SLOTS - 1);
	if (between == NULL || name[0] == '\0')
		return arena_string(arena, name, strlen(name));
	if (cache->slots[slot].declaration == target.addr)
		return cache->slots[slot].name;
	size_t n;
	if (parents_find(&target, cache, budget, parents, &n) != 0)
		return NULL;
	const char *result = qualified(parents, n, between, name, arena);
	if (result != NULL) {
		cache->slots[slot].declaration = target.addr;
		cache->slots[slot].name = result;
	}
	return result;
}

int diename_read(Dwarf_Die *die, struct arena *arena, struct diename_cache *cache, struct budget *budget,
	const char **system_name, const char **function)
{
	const char *name = linkage_name(die), *full = "";
	if (name[0] == '\0') {
		name = attribute_string(die, DW_AT_name, true);
		full = qualified_name(die, name, arena, cache, budget);
	}
	name = arena_string(arena, name, strlen(name));
	if (name == NULL || full == NULL)
		return -1;
	*system_name = name;
	*function = full;
	return 0;
}
