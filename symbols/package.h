/* Split halves of units, in files of their own (.dwo) or many in one (.dwp), by their ids. Source: DWARF 5,
 * sections 7.3.2 and 7.3.5; for version 2 of the index, gcc.gnu.org/wiki/DebugFissionDWP. */
#ifndef SYMBOLS_PACKAGE_H
#define SYMBOLS_PACKAGE_H

#include "symbols/units.h"

/* Finds the half of `skeleton` in a file, of which `units` are the units, and opens it as a whole, its own DIE
 * in *die. False when it is not there. *unit goes to unit_close() in any case. */
bool package_find(struct units *units, const struct unit *skeleton, struct budget *budget, struct unit *unit,
	struct die *die);

#endif
