/* The code of a DIE: its address ranges, one after the other. Source: DWARF 5, sections 2.17, 7.25
 * (.debug_rnglists) and 7.28; DWARF 4, 2.17.3 (.debug_ranges). */
#ifndef SYMBOLS_RANGES_H
#define SYMBOLS_RANGES_H

#include "symbols/stream.h"
#include "symbols/units.h"

struct ranges {
	const struct unit *unit;
	enum { RANGES_END, RANGES_ONE, RANGES_OLD, RANGES_LIST } kind;
	struct stream stream;
	uint64_t base;
	uint64_t lo, hi; /* of RANGES_ONE */
};

/* Starts; false when the DIE has no code of its own. Borrows the unit. */
bool ranges_begin(const struct unit *unit, const struct die *die, struct ranges *ranges);
/* The next range that is not empty and not of code that the linker dropped. */
bool ranges_next(struct ranges *ranges, struct budget *budget, uint64_t *lo, uint64_t *hi);

#endif
