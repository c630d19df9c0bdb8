#include "symbols/ranges.h"

#include <dwarf.h>

/* What a linker leaves where code was dropped: 0, or the largest addresses (DWARF 6 draft, "tombstone"). */
static bool is_dead(uint64_t address)
{
	return address == 0 || address >= UINT64_MAX - 1;
}

/* The offset of the list with this number, by the table that begins at the unit's base. */
static bool list_offset(const struct unit *unit, uint64_t index, uint64_t *offset)
{
	struct debuginfo *debuginfo = unit->units->debuginfo;
	uint64_t size = debuginfo_size(debuginfo, DEBUG_RNGLISTS), base = unit->rnglists_base;
	if (base > size || index >= (size - base) / unit->offset_size)
		return false;
	*offset =
		debuginfo_uint(debuginfo, DEBUG_RNGLISTS, base + index * unit->offset_size, unit->offset_size);
	if (*offset > size - base)
		return false;
	*offset += base;
	return true;
}

static bool begin_list(const struct unit *unit, const struct die_value *value, struct ranges *ranges)
{
	uint64_t offset = value->number;
	ranges->base = unit->low_pc;
	if (unit->version < 5) {
		/* GNU's split units have their lists in the program. */
		const struct unit *owner = unit->skeleton != NULL ? unit->skeleton : unit;
		if (unit->skeleton != NULL)
			offset += owner->ranges_base;
		ranges->kind = RANGES_OLD;
		ranges->stream = stream_at(owner->units->debuginfo, DEBUG_RANGES, offset);
		return true;
	}
	if (value->form == DW_FORM_rnglistx && !list_offset(unit, value->number, &offset))
		return false;
	ranges->kind = RANGES_LIST;
	ranges->stream = stream_at(unit->units->debuginfo, DEBUG_RNGLISTS, offset);
	return true;
}

bool ranges_begin(const struct unit *unit, const struct die *die, struct ranges *ranges)
{
	*ranges = (struct ranges){.unit = unit, .kind = RANGES_END};
	if (die_has(die, DIE_RANGES))
		return begin_list(unit, &die->values[DIE_RANGES], ranges);
	if (!die_has(die, DIE_LOW_PC) || !die_has(die, DIE_HIGH_PC) ||
		!die_address(unit, &die->values[DIE_LOW_PC], &ranges->lo))
		return false;
	const struct die_value *high = &die->values[DIE_HIGH_PC];
	if (!die_address(unit, high, &ranges->hi))
		ranges->hi = ranges->lo + die_number(die, DIE_HIGH_PC);
	ranges->kind = RANGES_ONE;
	return true;
}

/* .debug_ranges: pairs. 1: a range; 0: another entry; -1: the end. */
static int old_step(struct ranges *ranges, uint64_t *lo, uint64_t *hi)
{
	size_t size = ranges->unit->address_size;
	uint64_t largest = size == 8 ? UINT64_MAX : UINT32_MAX;
	*lo = stream_uint(&ranges->stream, size);
	*hi = stream_uint(&ranges->stream, size);
	if (ranges->stream.bad || (*lo == 0 && *hi == 0))
		return -1;
	if (*lo == largest) {
		ranges->base = *hi;
		return 0;
	}
	/* Relative to a dropped base, or dropped itself and marked with the number before the largest. */
	if (is_dead(ranges->base) && ranges->base != 0)
		return 0;
	*lo += ranges->base;
	*hi += ranges->base;
	return 1;
}

static int list_step(struct ranges *ranges, uint64_t *lo, uint64_t *hi)
{
	struct stream *stream = &ranges->stream;
	const struct unit *unit = ranges->unit;
	size_t size = unit->address_size;
	uint64_t kind = stream_uint(stream, 1);
	if (stream->bad)
		return -1;
	switch (kind) {
	case DW_RLE_base_addressx:
		return unit_address(unit, stream_uleb(stream), &ranges->base) ? 0 : -1;
	case DW_RLE_base_address:
		ranges->base = stream_uint(stream, size);
		return 0;
	case DW_RLE_startx_endx: {
		uint64_t first = stream_uleb(stream), last = stream_uleb(stream);
		return unit_address(unit, first, lo) && unit_address(unit, last, hi) ? 1 : 0;
	}
	case DW_RLE_startx_length: {
		uint64_t first = stream_uleb(stream), length = stream_uleb(stream);
		if (!unit_address(unit, first, lo))
			return 0;
		*hi = *lo + length;
		return 1;
	}
	case DW_RLE_offset_pair:
		*lo = stream_uleb(stream) + ranges->base;
		*hi = stream_uleb(stream) + ranges->base;
		return is_dead(ranges->base) && ranges->base != 0 ? 0 : 1;
	case DW_RLE_start_end:
		*lo = stream_uint(stream, size);
		*hi = stream_uint(stream, size);
		return 1;
	case DW_RLE_start_length:
		*lo = stream_uint(stream, size);
		*hi = *lo + stream_uleb(stream);
		return 1;
	default: /* DW_RLE_end_of_list, and what cannot be read */
		return -1;
	}
}

bool ranges_next(struct ranges *ranges, struct budget *budget, uint64_t *lo, uint64_t *hi)
{
	while (ranges->kind != RANGES_END && budget_take(budget, 1)) {
		int step = 1;
		switch (ranges->kind) {
		case RANGES_ONE:
			*lo = ranges->lo;
			*hi = ranges->hi;
			ranges->kind = RANGES_END;
			break;
		case RANGES_OLD:
			step = old_step(ranges, lo, hi);
			break;
		default:
			step = list_step(ranges, lo, hi);
			break;
		}
		if (step < 0 || ranges->stream.bad)
			ranges->kind = RANGES_END;
		else if (step > 0 && !is_dead(*lo) && *hi > *lo)
			return true;
	}
	return false;
}
