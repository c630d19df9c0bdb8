#include "symbols/units.h"

#include "symbols/cursor.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

enum {
	UNITS_MAX = 4 * 1000 * 1000,
	HEAD_BYTES = 4096, /* of a unit, for its header and its own DIE: mostly 100 */
	HEAD_BYTES_MAX = 256 * 1024,
	INDIRECT_MAX = 4
};

/* A unit is read as a whole; link-time optimization makes large ones. */
static const uint64_t UNIT_BYTES_MAX = 512u * 1024 * 1024;

/* ---- where they are ---- */

static int list_add(struct units *units, uint64_t offset)
{
	if (units->n == units->cap) {
		size_t cap = units->cap == 0 ? 64 : units->cap * 2;
		uint64_t *larger = reallocarray(units->offsets, cap, sizeof *larger);
		if (larger == NULL)
			return -1;
		units->offsets = larger;
		units->cap = cap;
	}
	units->offsets[units->n++] = offset;
	return 0;
}

/* The unit's end by its length at `offset`; 0 when there is no unit. */
static uint64_t unit_end(struct debuginfo *debuginfo, uint64_t offset, uint8_t *offset_size)
{
	uint64_t size = debuginfo_size(debuginfo, DEBUG_INFO);
	uint64_t length = debuginfo_uint(debuginfo, DEBUG_INFO, offset, 4), start = 4;
	*offset_size = 4;
	if (length == UINT32_MAX) {
		length = debuginfo_uint(debuginfo, DEBUG_INFO, offset + 4, 8);
		start = 12;
		*offset_size = 8;
	}
	if (offset > size || size - offset < start || length == 0 || length > size - offset - start)
		return 0;
	return offset + start + length;
}

int units_list(struct units *units, struct budget *budget)
{
	uint8_t offset_size;
	if (units->listed)
		return 0;
	units->listed = true;
	for (uint64_t at = 0, end; units->n < UNITS_MAX && budget_take(budget, 1); at = end) {
		end = unit_end(units->debuginfo, at, &offset_size);
		if (end == 0)
			break;
		if (list_add(units, at) != 0)
			return -1;
	}
	return 0;
}

void units_free(struct units *units)
{
	free(units->offsets);
	*units = (struct units){0};
}

bool units_find(const struct units *units, uint64_t offset, uint64_t *start)
{
	size_t lo = 0, hi = units->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (units->offsets[mid] <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return false;
	*start = units->offsets[lo - 1];
	return true;
}

/* ---- one DIE ---- */

static struct bytes unit_bytes(const struct unit *unit)
{
	return (struct bytes){.v = unit->bytes, .n = unit->n_bytes};
}

/* Reads or skips one value. False when its form is not known: nothing behind it can be read. */
static bool value_read(const struct unit *unit, struct cursor *cursor, uint64_t form, int64_t implicit,
	struct die_value *value)
{
	for (int i = 0; form == DW_FORM_indirect && i < INDIRECT_MAX; i++)
		form = cursor_uleb(cursor);
	value->form = (uint16_t)form;
	switch (form) {
	case DW_FORM_addr:
		value->number = cursor_uint(cursor, unit->address_size);
		return true;
	case DW_FORM_data1:
	case DW_FORM_ref1:
	case DW_FORM_flag:
	case DW_FORM_strx1:
	case DW_FORM_addrx1:
		value->number = cursor_uint(cursor, 1);
		return true;
	case DW_FORM_data2:
	case DW_FORM_ref2:
	case DW_FORM_strx2:
	case DW_FORM_addrx2:
		value->number = cursor_uint(cursor, 2);
		return true;
	case DW_FORM_strx3:
	case DW_FORM_addrx3:
		value->number = cursor_uint(cursor, 3);
		return true;
	case DW_FORM_data4:
	case DW_FORM_ref4:
	case DW_FORM_ref_sup4:
	case DW_FORM_strx4:
	case DW_FORM_addrx4:
		value->number = cursor_uint(cursor, 4);
		return true;
	case DW_FORM_data8:
	case DW_FORM_ref8:
	case DW_FORM_ref_sig8:
	case DW_FORM_ref_sup8:
		value->number = cursor_uint(cursor, 8);
		return true;
	case DW_FORM_data16:
		cursor_skip(cursor, 16);
		return true;
	case DW_FORM_ref_addr: /* as wide as an address in DWARF 2 */
		value->number =
			cursor_uint(cursor, unit->version <= 2 ? unit->address_size : unit->offset_size);
		return true;
	case DW_FORM_strp:
	case DW_FORM_line_strp:
	case DW_FORM_sec_offset:
	case DW_FORM_strp_sup:
	case DW_FORM_GNU_ref_alt:
	case DW_FORM_GNU_strp_alt:
		value->number = cursor_uint(cursor, unit->offset_size);
		return true;
	case DW_FORM_udata:
	case DW_FORM_ref_udata:
	case DW_FORM_strx:
	case DW_FORM_addrx:
	case DW_FORM_loclistx:
	case DW_FORM_rnglistx:
	case DW_FORM_GNU_addr_index:
	case DW_FORM_GNU_str_index:
		value->number = cursor_uleb(cursor);
		return true;
	case DW_FORM_sdata:
		value->number = (uint64_t)cursor_sleb(cursor);
		return true;
	case DW_FORM_implicit_const:
		value->number = (uint64_t)implicit;
		return true;
	case DW_FORM_flag_present:
		value->number = 1;
		return true;
	case DW_FORM_string:
		value->text = cursor_string(cursor);
		return true;
	case DW_FORM_block1:
		cursor_skip(cursor, cursor_uint(cursor, 1));
		return true;
	case DW_FORM_block2:
		cursor_skip(cursor, cursor_uint(cursor, 2));
		return true;
	case DW_FORM_block4:
		cursor_skip(cursor, cursor_uint(cursor, 4));
		return true;
	case DW_FORM_block:
	case DW_FORM_exprloc:
		cursor_skip(cursor, cursor_uleb(cursor));
		return true;
	default:
		return false;
	}
}

static bool die_take(const struct unit *unit, uint64_t offset, bool skim, struct die *die)
{
	if (offset < unit->first || offset >= unit->end)
		return false;
	struct cursor cursor = cursor_at(unit_bytes(unit), offset - unit->offset);
	uint64_t code = cursor_uleb(&cursor);
	die->offset = offset;
	die->has = 0;
	die->tag = 0;
	die->children = false;
	const struct abbrev *abbrev = code != 0 ? abbrevs_find(&unit->abbrevs, code) : NULL;
	if (cursor.bad || (code != 0 && abbrev == NULL))
		return false;
	uint32_t n = abbrev != NULL ? abbrev->n : 0;
	if (skim && n > 0 && abbrev->plain > 0 && cursor.left >= abbrev->plain) {
		if (abbrev->sibling_at != UINT32_MAX) {
			struct cursor at = cursor;
			cursor_skip(&at, abbrev->sibling_at);
			die->has = 1u << DIE_SIBLING;
			die->values[DIE_SIBLING] =
				(struct die_value){.form = DW_FORM_ref4, .number = cursor_uint(&at, 4)};
		}
		cursor_skip(&cursor, abbrev->plain);
		n = 0;
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct abbrev_attribute *attribute = &unit->abbrevs.attributes[abbrev->first + i];
		struct die_value other, *value = &other;
		if (attribute->attribute != DIE_ATTRIBUTES) {
			value = &die->values[attribute->attribute];
			die->has |= 1u << attribute->attribute;
		}
		if (!value_read(unit, &cursor, attribute->form, attribute->implicit, value))
			return false;
	}
	if (abbrev != NULL) {
		die->tag = abbrev->tag;
		die->children = abbrev->children;
	}
	die->next = unit->offset + (uint64_t)(cursor.at - unit->bytes);
	return !cursor.bad;
}

bool die_read(const struct unit *unit, uint64_t offset, struct die *die)
{
	return die_take(unit, offset, false, die);
}

bool die_skim(const struct unit *unit, uint64_t offset, struct die *die)
{
	return die_take(unit, offset, true, die);
}

uint64_t die_sibling(const struct unit *unit, const struct die *die)
{
	if (!die_has(die, DIE_SIBLING))
		return 0;
	const struct die_value *value = &die->values[DIE_SIBLING];
	uint64_t at = value->number;
	if (value->form != DW_FORM_ref_addr) {
		if (at > unit->end - unit->offset)
			return 0;
		at += unit->offset;
	}
	return at >= die->next && at < unit->end ? at : 0;
}

uint64_t die_number(const struct die *die, enum die_attribute attribute)
{
	if (!die_has(die, attribute))
		return 0;
	const struct die_value *value = &die->values[attribute];
	switch (value->form) {
	case DW_FORM_data1:
	case DW_FORM_data2:
	case DW_FORM_data4:
	case DW_FORM_data8:
	case DW_FORM_udata:
	case DW_FORM_sdata:
	case DW_FORM_implicit_const:
	case DW_FORM_sec_offset:
		return value->number;
	default:
		return 0;
	}
}

/* ---- tables beside the unit ---- */

bool unit_address(const struct unit *unit, uint64_t index, uint64_t *address)
{
	/* A split unit's addresses are in the program, which is linked. */
	const struct unit *owner = unit->skeleton != NULL ? unit->skeleton : unit;
	struct debuginfo *debuginfo = owner->units->debuginfo;
	uint64_t size = debuginfo_size(debuginfo, DEBUG_ADDR), value = 0;
	if (owner->addr_base > size || index >= (size - owner->addr_base) / unit->address_size)
		return false;
	if (debuginfo_read(debuginfo, DEBUG_ADDR, owner->addr_base + index * unit->address_size, &value,
		    unit->address_size) != unit->address_size)
		return false;
	*address = value;
	return true;
}

bool die_address(const struct unit *unit, const struct die_value *value, uint64_t *address)
{
	switch (value->form) {
	case DW_FORM_addr:
		*address = value->number;
		return true;
	case DW_FORM_addrx:
	case DW_FORM_addrx1:
	case DW_FORM_addrx2:
	case DW_FORM_addrx3:
	case DW_FORM_addrx4:
	case DW_FORM_GNU_addr_index:
		return unit_address(unit, value->number, address);
	default:
		return false;
	}
}

static const char *indexed_string(const struct unit *unit, uint64_t index, struct arena *arena)
{
	struct debuginfo *debuginfo = unit->units->debuginfo;
	uint64_t size = debuginfo_size(debuginfo, DEBUG_STR_OFFSETS), base = unit->str_offsets_base;
	if (base > size || index >= (size - base) / unit->offset_size)
		return "";
	uint64_t offset = debuginfo_uint(
		debuginfo, DEBUG_STR_OFFSETS, base + index * unit->offset_size, unit->offset_size);
	return debuginfo_string(debuginfo, DEBUG_STR, offset, arena);
}

const char *die_string(const struct unit *unit, const struct die *die, enum die_attribute attribute,
	const struct units *shared, struct arena *arena)
{
	enum { STRING_BYTES_MAX = 16 * 1024 };
	if (!die_has(die, attribute))
		return "";
	const struct die_value *value = &die->values[attribute];
	struct debuginfo *debuginfo = unit->units->debuginfo;
	switch (value->form) {
	case DW_FORM_string: {
		size_t len = strlen(value->text);
		return len < STRING_BYTES_MAX ? arena_string(arena, value->text, len) : "";
	}
	case DW_FORM_strp:
		return debuginfo_string(debuginfo, DEBUG_STR, value->number, arena);
	case DW_FORM_line_strp:
		return debuginfo_string(debuginfo, DEBUG_LINE_STR, value->number, arena);
	case DW_FORM_strp_sup:
	case DW_FORM_GNU_strp_alt:
		return shared != NULL && shared->debuginfo != NULL
			       ? debuginfo_string(shared->debuginfo, DEBUG_STR, value->number, arena)
			       : "";
	case DW_FORM_strx:
	case DW_FORM_strx1:
	case DW_FORM_strx2:
	case DW_FORM_strx3:
	case DW_FORM_strx4:
	case DW_FORM_GNU_str_index:
		return indexed_string(unit, value->number, arena);
	default:
		return "";
	}
}

/* ---- one unit ---- */

/* The header up to the first DIE; false when it cannot be read. */
static bool header_read(struct unit *unit)
{
	struct cursor cursor = cursor_at(unit_bytes(unit), unit->offset_size == 8 ? 12 : 4);
	unit->version = (unsigned)cursor_uint(&cursor, 2);
	if (unit->version < 2 || unit->version > 5)
		return false;
	if (unit->version >= 5) {
		unit->type = (unsigned)cursor_uint(&cursor, 1);
		unit->address_size = (uint8_t)cursor_uint(&cursor, 1);
		unit->abbrev_offset = cursor_uint(&cursor, unit->offset_size);
		if (unit->type == DW_UT_skeleton || unit->type == DW_UT_split_compile)
			unit->id = cursor_uint(&cursor, 8);
		else if (unit->type == DW_UT_type || unit->type == DW_UT_split_type)
			cursor_skip(&cursor, 8 + (uint64_t)unit->offset_size);
	} else {
		unit->type = DW_UT_compile;
		unit->abbrev_offset = cursor_uint(&cursor, unit->offset_size);
		unit->address_size = (uint8_t)cursor_uint(&cursor, 1);
	}
	unit->first = unit->offset + (uint64_t)(cursor.at - unit->bytes);
	return !cursor.bad && (unit->address_size == 8 || unit->address_size == 4);
}

/* Reads the unit's bytes, `max` of them at the most. */
static enum unit_open bytes_read(struct unit *unit, uint64_t max)
{
	uint64_t n = unit->end - unit->offset < max ? unit->end - unit->offset : max;
	free(unit->bytes);
	unit->bytes = malloc((size_t)n);
	if (unit->bytes == NULL)
		return UNIT_NO_MEMORY;
	unit->n_bytes =
		debuginfo_read(unit->units->debuginfo, DEBUG_INFO, unit->offset, unit->bytes, (size_t)n);
	return header_read(unit) ? UNIT_OPEN : UNIT_DAMAGED;
}

static enum unit_open table_read(struct unit *unit, bool whole)
{
	struct cursor cursor = cursor_at(unit_bytes(unit), unit->first - unit->offset);
	uint64_t code = cursor_uleb(&cursor);
	uint64_t base = unit->contributions.abbrev;
	if (cursor.bad || code == 0 || unit->abbrev_offset > UINT64_MAX - base)
		return UNIT_DAMAGED;
	abbrevs_free(&unit->abbrevs);
	return abbrevs_read(unit->units->debuginfo, base + unit->abbrev_offset, whole ? 0 : code,
		       (struct abbrev_sizes){unit->offset_size, unit->address_size}, &unit->abbrevs) == 0
		       ? UNIT_OPEN
		       : UNIT_NO_MEMORY;
}

/* What the unit's DIE says about the unit. */
static void bases_read(struct unit *unit, const struct die *die)
{
	/* In a split unit, tables begin behind their headers (DWARF 5, 7.26, 7.28); GNU's have none. */
	uint64_t v5_header = unit->version < 5 ? 0 : unit->offset_size == 8 ? 16 : 8;
	uint64_t ranges_header = unit->offset_size == 8 ? 20 : 12;
	unit->str_offsets_base = unit->contributions.str_offsets + v5_header;
	unit->rnglists_base = unit->contributions.rnglists + ranges_header;
	if (die_has(die, DIE_STR_OFFSETS_BASE))
		unit->str_offsets_base = die_number(die, DIE_STR_OFFSETS_BASE);
	if (die_has(die, DIE_RNGLISTS_BASE))
		unit->rnglists_base = die_number(die, DIE_RNGLISTS_BASE);
	unit->addr_base = die_has(die, DIE_ADDR_BASE) ? die_number(die, DIE_ADDR_BASE) : v5_header;
	unit->ranges_base = die_number(die, DIE_RANGES_BASE);
	if (die_has(die, DIE_DWO_ID))
		unit->id = die_number(die, DIE_DWO_ID);
	unit->language = (unsigned)die_number(die, DIE_LANGUAGE);
	if (unit->skeleton != NULL)
		unit->low_pc = unit->skeleton->low_pc;
	else if (!die_has(die, DIE_LOW_PC) || !die_address(unit, &die->values[DIE_LOW_PC], &unit->low_pc))
		unit->low_pc = 0;
}

enum unit_open unit_open(struct units *units, uint64_t offset, bool whole, const struct unit *skeleton,
	const struct contributions *contributions, struct unit *unit, struct die *die)
{
	*unit = (struct unit){.units = units, .skeleton = skeleton, .offset = offset};
	if (contributions != NULL)
		unit->contributions = *contributions;
	unit->end = unit_end(units->debuginfo, offset, &unit->offset_size);
	if (unit->end == 0 || unit->end - offset > UNIT_BYTES_MAX)
		return UNIT_DAMAGED;
	uint64_t max = whole ? UNIT_BYTES_MAX : HEAD_BYTES;
	for (;;) {
		enum unit_open state = bytes_read(unit, max);
		if (state == UNIT_OPEN)
			state = table_read(unit, whole);
		if (state != UNIT_OPEN)
			return state;
		if (die_read(unit, unit->first, die) && die->tag != 0)
			break;
		if (max >= HEAD_BYTES_MAX || unit->n_bytes < max)
			return UNIT_DAMAGED;
		max = HEAD_BYTES_MAX;
	}
	unit->body = die->children ? die->next : 0;
	bases_read(unit, die);
	return UNIT_OPEN;
}

void unit_close(struct unit *unit)
{
	abbrevs_free(&unit->abbrevs);
	free(unit->bytes);
	unit->bytes = NULL;
}
