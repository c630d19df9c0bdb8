/* The units of a file's DWARF and the DIEs in them: where they are, what their attributes say. Source: DWARF 5,
 * sections 7.5 (format), 3.1 (units); for split units also the GNU extensions of DWARF 4
 * (gcc.gnu.org/wiki/DebugFission). */
#ifndef SYMBOLS_UNITS_H
#define SYMBOLS_UNITS_H

#include "symbols/abbrevs.h"
#include "symbols/budget.h"

/* The units of one file. */
struct units {
	struct debuginfo *debuginfo;
	uint64_t *offsets; /* of each unit's header; ascending */
	size_t n, cap;
	bool listed;
};

/* Where a split unit's tables begin in a package; all 0 in a file of its own. */
struct contributions {
	uint64_t abbrev, str_offsets, rnglists;
};

/* One unit, opened. */
struct unit {
	struct units *units; /* the file that it is in */
	const struct unit *skeleton; /* of a split unit: the half with the addresses; borrowed */
	uint64_t offset, end; /* header to behind its last DIE, in .debug_info */
	uint64_t first; /* its own DIE */
	uint64_t body; /* that DIE's first child; 0: it has none */
	unsigned version, type; /* DW_UT_* */
	uint8_t offset_size, address_size;
	uint64_t abbrev_offset;
	uint64_t id; /* of both halves of a split unit; else 0 */
	uint64_t addr_base, str_offsets_base, rnglists_base, ranges_base;
	struct contributions contributions;
	uint64_t low_pc;
	unsigned language;
	struct abbrevs abbrevs;
	uint8_t *bytes; /* [offset, offset + n_bytes) */
	size_t n_bytes;
};

/* The raw value of an attribute. */
struct die_value {
	uint16_t form; /* DW_FORM_*, not indirect */
	uint64_t number;
	const char *text; /* DW_FORM_string: borrowed from the unit's bytes */
};

struct die {
	uint64_t offset; /* in .debug_info */
	uint64_t next; /* behind its attributes */
	uint32_t tag; /* 0: no DIE, but the end of a list of children */
	bool children;
	uint32_t has; /* bits by enum die_attribute */
	struct die_value values[DIE_ATTRIBUTES];
};

static inline bool die_has(const struct die *die, enum die_attribute attribute)
{
	return (die->has >> attribute & 1) != 0;
}

/* Finds where the units are, once. Takes from `budget`. -1 only when memory is out. */
int units_list(struct units *units, struct budget *budget);
void units_free(struct units *units);
/* The start of the unit that holds `offset`; false when none does. */
bool units_find(const struct units *units, uint64_t offset, uint64_t *start);

enum unit_open { UNIT_OPEN, UNIT_DAMAGED, UNIT_NO_MEMORY };

/* Opens the unit at `offset`, and reads its own DIE into *die. `whole`: all of it, not the first few KB.
 * `skeleton` and `contributions` are NULL but for split units. *unit goes to unit_close() in any case. */
enum unit_open unit_open(struct units *units, uint64_t offset, bool whole, const struct unit *skeleton,
	const struct contributions *contributions, struct unit *unit, struct die *die);
void unit_close(struct unit *unit);

/* Reads the DIE at `offset`; false on damage and beyond the unit's end (or what was read of it). */
bool die_read(const struct unit *unit, uint64_t offset, struct die *die);
/* The same for one that is only passed: `tag`, `children`, where code and a sibling are, but no more. */
bool die_skim(const struct unit *unit, uint64_t offset, struct die *die);
/* Where the next DIE beside this one is, if the DIE says so; else 0. Never backwards. */
uint64_t die_sibling(const struct unit *unit, const struct die *die);

/* A number, 0 when the attribute is not there or is none. */
uint64_t die_number(const struct die *die, enum die_attribute attribute);
bool die_address(const struct unit *unit, const struct die_value *value, uint64_t *address);
/* "" when it is not there; NULL when memory is out. `shared` is the file that strings may be in; may be NULL.
 */
const char *die_string(const struct unit *unit, const struct die *die, enum die_attribute attribute,
	const struct units *shared, struct arena *arena);
/* The address with number `index` of the unit's table. */
bool unit_address(const struct unit *unit, uint64_t index, uint64_t *address);

#endif
