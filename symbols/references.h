/* From one DIE to others: what a function's origin and declaration say, in whatever unit they are, and what
 * encloses a declaration. Source: DWARF 5, sections 2.15, 3.3, 7.5.4 (references), 7.3.6 (supplementary files).
 */
#ifndef SYMBOLS_REFERENCES_H
#define SYMBOLS_REFERENCES_H

#include "symbols/units.h"

enum { REFERENCES_OPEN = 8 };

/* The unit at hand, and the few others that were referred to last. Starts zeroed but for the first two. */
struct references {
	struct units *shared; /* the file of DW_FORM_ref_sup; may be NULL */
	struct budget *budget;
	const struct unit *current; /* set for each unit; borrowed */
	struct unit open[REFERENCES_OPEN];
	uint64_t used[REFERENCES_OPEN]; /* when, in `clock`; 0: the slot is free */
	uint64_t clock;
};

/* A function's names. Strings are owned by the arena; "" when there are none. */
struct function_names {
	const char *linkage, *plain;
	uint32_t line; /* of its declaration */
	struct units *units; /* where that is */
	uint64_t declaration;
	unsigned language;
};

/* A name that is to be put behind the names of what encloses it. */
struct qualification {
	struct units *units;
	uint64_t declaration;
	const char *plain, *between; /* "::" */
	const char **qualified; /* out; set to `plain` before */
};

/* What the function's DIE at `offset` of the current unit says, with what its origins say. -1 when memory is
 * out. */
int references_names(
	struct references *references, uint64_t offset, struct arena *arena, struct function_names *names);
/* What stands between a scope and a name in this language; NULL when it has no scopes. */
const char *references_separator(unsigned language);
/* Qualifies all, in one pass over each unit: `v` gets another order. -1 when memory is out. */
int references_qualify(struct references *references, struct qualification *v, size_t n, struct arena *arena);
void references_close(struct references *references);

#endif
