/* The names of a function's DIE, through its abstract origin and its declaration. Source: DWARF 5,
 * sections 2.15 and 3.3. */
#ifndef SYMBOLS_DIENAME_H
#define SYMBOLS_DIENAME_H

#include "symbols/arena.h"
#include "symbols/budget.h"

#include <elfutils/libdw.h>
#include <stdint.h>

enum { DIENAME_CACHE_SLOTS = 512 }; /* a power of two */

/* What was found before: a qualified name costs a search through its unit. Starts zeroed. */
struct diename_cache {
	struct {
		const void *declaration;
		const char *name;
	} slots[DIENAME_CACHE_SLOTS];
	const void *unit; /* whose children these are, ascending; NULL: none yet */
	const void *end; /* behind that unit */
	void **children;
	size_t n_children, cap_children;
};

void diename_cache_clear(struct diename_cache *cache);

/* Gives the linkage name in *system_name and "" in *function; or, without a linkage name, the plain name in
 * *system_name and the name with its namespaces and classes in *function. "" when there is no name. Strings are
 * owned by `arena`. `budget` goes down with the DIEs read; nothing is qualified when it is used up. Returns -1
 * only when memory is out. */
int diename_read(Dwarf_Die *die, struct arena *arena, struct diename_cache *cache, struct budget *budget,
	const char **system_name, const char **function);

#endif
