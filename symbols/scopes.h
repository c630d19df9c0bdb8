/* The functions of one compilation unit that hold the wanted addresses, and the calls inlined into them: one
 * walk over the unit's DIEs. Source: DWARF 5, section 3.3 (subroutine entries), 3.3.8 (inlined subroutines). */
#ifndef SYMBOLS_SCOPES_H
#define SYMBOLS_SCOPES_H

#include "symbols/units.h"

/* A function, or a call inlined into the scope `parent`. */
struct scope {
	uint64_t die; /* its offset */
	uint32_t parent; /* a scope's number; 0: this is a function of its own */
	uint32_t call_line;
	uint64_t call_file;
	/* What dwarf.c has read, once for all addresses; NULL before. */
	const char *system_name, *function, *call_path;
	uint32_t start_line;
};

struct scopes {
	struct scope *v; /* number k is v[k - 1] */
	size_t n, cap;
	uint32_t *innermost; /* for each address, the number of its scope; 0 when there is none */
};

/* Fills `scopes` for pcs[0..n), sorted; `scopes` goes to scopes_free() in any case. `unit` is open as a whole.
 * Stops when the budget is used up. Returns -1 only when memory is out. */
int scopes_find(
	const struct unit *unit, const uint64_t *pcs, size_t n, struct scopes *scopes, struct budget *budget);
void scopes_free(struct scopes *scopes);

#endif
