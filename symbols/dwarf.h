/* Addresses -> functions, inlined calls, files and lines, from an image's DWARF. Each unit that holds a wanted
 * address is read once; the index of units is made from their own ranges, because clang, lld, Rust and Go write
 * no .debug_aranges. */
#ifndef SYMBOLS_DWARF_H
#define SYMBOLS_DWARF_H

#include "symbols/arena.h"
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

struct dwarf_outcome {
	bool found; /* there is DWARF */
	bool limited; /* a limit was reached */
	bool unread; /* a unit could not be read: damaged, or of a version that is not known here */
	const struct split_name
		*missing; /* halves of units that were not among the files; owned by the arena */
	size_t n_missing;
};

/* Fills out[0..n) for pcs[0..n), which are sorted, from the DWARF in the files. Everything is owned by `arena`.
 * Damage makes answers empty; -1 only when memory is out. */
int dwarf_lookup(const struct symbol_files *files, struct arena *arena, const uint64_t *pcs, size_t n,
	struct dwarf_chain *out, struct dwarf_outcome *outcome);

#endif
