#include "symbols/references.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

enum {
	NAME_BYTES_MAX = 16 * 1024,
	STEPS_MAX = 16, /* abstract origin, its specification: two in practice */
	PARENTS_MAX = 64,
	BYTES_PER_UNIT_OF_WORK = 64 /* of a unit that is opened */
};

/* What other units may take together; the current one is not counted. */
static const size_t OPEN_BYTES_MAX = 16u * 1024 * 1024;

void references_close(struct references *references)
{
	for (size_t i = 0; i < REFERENCES_OPEN; i++) {
		if (references->used[i] != 0)
			unit_close(&references->open[i]);
		references->used[i] = 0;
	}
}

/* A free slot; the least used ones are freed until the rest is small. */
static size_t slot_free(struct references *references)
{
	for (;;) {
		size_t oldest = 0, bytes = 0, empty = REFERENCES_OPEN;
		for (size_t i = 0; i < REFERENCES_OPEN; i++) {
			if (references->used[i] == 0)
				empty = i;
			else
				bytes += references->open[i].n_bytes;
			if (references->used[i] != 0 && (references->used[oldest] == 0 ||
								references->used[i] < references->used[oldest]))
				oldest = i;
		}
		if (empty < REFERENCES_OPEN && bytes <= OPEN_BYTES_MAX)
			return empty;
		unit_close(&references->open[oldest]);
		references->used[oldest] = 0;
	}
}

/* The unit that holds `offset` of this file, open until others are asked for; NULL when there is none. */
static const struct unit *unit_at(struct references *references, struct units *units, uint64_t offset)
{
	const struct unit *current = references->current;
	uint64_t start;
	struct die die;
	if (units == current->units && offset >= current->offset && offset < current->end)
		return current;
	if (units_list(units, references->budget) != 0 || !units_find(units, offset, &start))
		return NULL;
	for (size_t i = 0; i < REFERENCES_OPEN; i++)
		if (references->used[i] != 0 && references->open[i].units == units &&
			references->open[i].offset == start) {
			references->used[i] = ++references->clock;
			return &references->open[i];
		}
	size_t slot = slot_free(references);
	struct unit *unit = &references->open[slot];
	enum unit_open state = unit_open(units, start, true, NULL, NULL, unit, &die);
	bool paid = budget_take(
		references->budget, unit->n_bytes / BYTES_PER_UNIT_OF_WORK + unit->abbrevs.n_attributes + 1);
	if (state != UNIT_OPEN || !paid) {
		unit_close(unit);
		return NULL;
	}
	references->used[slot] = ++references->clock;
	return unit;
}

/* Where an attribute refers to; false when nowhere that can be read. */
static bool target(const struct references *references, const struct unit *unit, const struct die_value *value,
	struct units **units, uint64_t *offset)
{
	*units = unit->units;
	*offset = value->number;
	switch (value->form) {
	case DW_FORM_ref1:
	case DW_FORM_ref2:
	case DW_FORM_ref4:
	case DW_FORM_ref8:
	case DW_FORM_ref_udata:
		*offset += unit->offset;
		return *offset >= unit->offset && *offset < unit->end;
	case DW_FORM_ref_addr:
		return true;
	case DW_FORM_GNU_ref_alt:
	case DW_FORM_ref_sup4:
	case DW_FORM_ref_sup8:
		*units = references->shared;
		return *units != NULL && (*units)->debuginfo != NULL;
	default:
		return false;
	}
}

/* Adds what one DIE says, where nothing was said yet. */
static int names_add(const struct references *references, const struct unit *unit, const struct die *die,
	struct arena *arena, struct function_names *names)
{
	if (names->linkage[0] == '\0')
		names->linkage = die_string(unit, die, DIE_LINKAGE_NAME, references->shared, arena);
	if (names->plain[0] == '\0')
		names->plain = die_string(unit, die, DIE_NAME, references->shared, arena);
	if (names->linkage == NULL || names->plain == NULL)
		return -1;
	uint64_t line = die_number(die, DIE_DECL_LINE);
	if (names->line == 0 && line <= UINT32_MAX)
		names->line = (uint32_t)line;
	names->units = unit->units;
	names->declaration = die->offset;
	names->language = unit->language;
	return 0;
}

static int names_follow(struct references *references, const struct unit *unit, uint64_t offset,
	struct arena *arena, struct function_names *names)
{
	struct die die;
	*names = (struct function_names){.linkage = "", .plain = "", .units = unit->units};
	for (int i = 0; i < STEPS_MAX && die_read(unit, offset, &die) && budget_take(references->budget, 1);
		i++) {
		struct units *units;
		if (names_add(references, unit, &die, arena, names) != 0)
			return -1;
		enum die_attribute by = die_has(&die, DIE_ORIGIN) ? DIE_ORIGIN : DIE_SPECIFICATION;
		if (!die_has(&die, by) || !target(references, unit, &die.values[by], &units, &offset))
			break;
		unit = unit_at(references, units, offset);
		if (unit == NULL)
			break;
	}
	return 0;
}

int references_names(
	struct references *references, uint64_t offset, struct arena *arena, struct function_names *names)
{
	return names_follow(references, references->current, offset, arena, names);
}

const char *references_separator(unsigned language)
{
	switch (language) {
	case DW_LANG_C:
	case DW_LANG_C89:
	case DW_LANG_C99:
	case DW_LANG_C11:
	case DW_LANG_ObjC:
	case DW_LANG_Mips_Assembler:
		return NULL;
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

/* ---- what encloses a declaration ---- */

/* The part of a name that a DIE stands for; "" for none, NULL when memory is out. */
static const char *parent_name(
	struct references *references, const struct unit *unit, uint64_t offset, struct arena *arena)
{
	struct die die;
	struct function_names names;
	if (!die_read(unit, offset, &die))
		return "";
	const char *unnamed = "";
	switch (die.tag) {
	case DW_TAG_namespace:
		unnamed = "(anonymous namespace)";
		break;
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
		unnamed = "(anonymous class)"; /* a lambda, mostly */
		break;
	case DW_TAG_enumeration_type:
	case DW_TAG_interface_type:
	case DW_TAG_module:
	case DW_TAG_subprogram:
		break;
	default:
		return "";
	}
	if (names_follow(references, unit, offset, arena, &names) != 0)
		return NULL;
	return names.plain[0] != '\0' ? names.plain : unnamed;
}

static const char *joined(
	const char *const *parents, size_t n, const struct qualification *one, struct arena *arena)
{
	char text[NAME_BYTES_MAX];
	size_t len = 0, between_len = strlen(one->between);
	for (size_t i = 0; i <= n; i++) {
		const char *part = i < n ? parents[i] : one->plain;
		size_t part_len = strlen(part);
		if (part_len == 0)
			continue;
		if (sizeof text - len < part_len + between_len)
			return one->plain;
		memcpy(text + len, part, part_len);
		len += part_len;
		if (i < n) {
			memcpy(text + len, one->between, between_len);
			len += between_len;
		}
	}
	return arena_string(arena, text, len);
}

/* DIEs have no link to their parents: these are those that a pass over the unit has entered and not left. */
struct path {
	uint64_t parents[PARENTS_MAX];
	size_t depth; /* may be more than there is room for */
};

/* The names of what encloses the declaration. They are gathered before any is joined: following one may close
 * the unit. */
static int qualify_one(struct references *references, uint64_t unit_offset, const struct path *path,
	const struct qualification *one, struct arena *arena)
{
	const char *parents[PARENTS_MAX];
	size_t n = path->depth < PARENTS_MAX ? path->depth : PARENTS_MAX;
	for (size_t i = 0; i < n; i++) {
		const struct unit *unit = unit_at(references, one->units, unit_offset);
		parents[i] = unit != NULL ? parent_name(references, unit, path->parents[i], arena) : "";
		if (parents[i] == NULL)
			return -1;
	}
	*one->qualified = joined(parents, n, one, arena);
	return *one->qualified != NULL ? 0 : -1;
}

/* v[0..n) are declared in one unit, in ascending order. One pass over its bytes. */
static int qualify_unit(
	struct references *references, const struct qualification *v, size_t n, struct arena *arena)
{
	const struct unit *unit = unit_at(references, v->units, v->declaration);
	struct path path = {.depth = 0};
	struct die die;
	if (unit == NULL)
		return 0;
	uint64_t unit_offset = unit->offset, at = unit->body, end = unit->end;
	for (size_t i = 0; i < n && at != 0 && at < end; at = die.next) {
		if (unit == NULL || !die_skim(unit, at, &die) || !budget_take(references->budget, 1))
			return 0;
		if (die.tag == 0) {
			if (path.depth-- == 0)
				return 0;
			continue;
		}
		uint64_t sibling = die_sibling(unit, &die);
		for (; i < n && v[i].declaration <= at; i++) {
			if (v[i].declaration != at)
				continue;
			if (qualify_one(references, unit_offset, &path, &v[i], arena) != 0)
				return -1;
			/* Its parts may have come from other units, and this one been closed. */
			unit = unit_at(references, v->units, unit_offset);
		}
		if (!die.children || i == n)
			continue;
		if (sibling != 0 && sibling <= v[i].declaration) {
			die.next = sibling;
			continue;
		}
		if (path.depth < PARENTS_MAX)
			path.parents[path.depth] = at;
		path.depth++;
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct qualification *x = a, *y = b;
	if (x->units != y->units)
		return (uintptr_t)x->units < (uintptr_t)y->units ? -1 : 1;
	return (x->declaration > y->declaration) - (x->declaration < y->declaration);
}

int references_qualify(struct references *references, struct qualification *v, size_t n, struct arena *arena)
{
	if (n > 0)
		qsort(v, n, sizeof *v, compare);
	for (size_t i = 0, end; i < n; i = end) {
		const struct unit *unit = unit_at(references, v[i].units, v[i].declaration);
		end = i + 1;
		if (unit == NULL)
			continue;
		while (end < n && v[end].units == v[i].units && v[end].declaration < unit->end)
			end++;
		if (qualify_unit(references, v + i, end - i, arena) != 0)
			return -1;
	}
	return 0;
}
