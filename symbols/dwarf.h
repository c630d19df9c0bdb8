/* Addresses -> functions, inlined calls, files and lines, from an image's DWARF. Each unit that holds a wanted
 * address is read once; the index of units is made from their own ranges, because clang, lld, Rust and Go write
 * no .debug_aranges. */
#ifndef SYMBOLS_DWARF_H
#define SYMBOLS_DWARF_H

#include "symbols/arena.h"
#include "symbols/debuginfo.h"
#include "symbols/symbolizer.h"

/* What DWARF says about one address. */
struct dwarf_chain {
	/* Innermost first, the physical function last. `system_name` is the linkage name and `function` is "";
	 * or, where the DWARF has no linkage name, the plain name and the qualified one. */
	struct source_line *lines;
	size_t n;
	const char *file; /* of the address, also when no function is known; "" when unknown */
	uint32_t line;
};

/* How much of what there is was read. */
enum dwarf_extent {
	DWARF_WHOLE,
	DWARF_SPLIT, /* some is in files that are not read (split DWARF) */
	DWARF_LIMITED, /* a limit was reached */
};

/* Fills out[0..n) for pcs[0..n), which are sorted. Everything is owned by `arena`. Damage makes answers empty;
 * -1 only when memory is out. */
int dwarf_lookup(const struct debuginfo *debuginfo, struct arena *arena, const uint64_t *pcs, size_t n,
	struct dwarf_chain *out, enum dwarf_extent *extent);

#endif
