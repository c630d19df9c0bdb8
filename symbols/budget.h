/* The limit of work on the DIEs of one image. DIEs come from files that are not trusted: every loop over them
 * pays here. */
#ifndef SYMBOLS_BUDGET_H
#define SYMBOLS_BUDGET_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stdint.h>

struct budget {
	uint64_t left;
};

/* Takes `cost`; false, and nothing left, when there is not so much. */
bool budget_take(struct budget *budget, uint64_t cost);

/* The address behind a unit's last DIE, in terms of Dwarf_Die.addr. */
const void *budget_unit_end(Dwarf_Die *unit);

/* dwarf_siblingof(3) on a budget: moves *die; false at the last sibling, on damage, and when the budget is used
 * up. libdw may read all that lies between a DIE and its next sibling, or the end of its parent: `end` is where
 * that ends at the latest, `depth` how many DIEs enclose it, and both are part of the price. */
bool budget_sibling(struct budget *budget, Dwarf_Die *die, const void *end, size_t depth);

#endif
