/* Addresses -> functions, files and lines by libdw of elfutils: for units in a version of DWARF that our own
 * reader (symbols/dwarf.h) does not know, and the second opinion of its tests. Maps files and reads all that it
 * needs of them, so only the confined child may call it. Inlined calls are left to the own reader: libdw's
 * scopes follow abstract origins into the wrong parents. Source: elfutils' libdw.h. */
#ifndef SYMBOLS_LIBDW_H
#define SYMBOLS_LIBDW_H

#include "symbols/dwarf.h"

/* The version of elfutils. Static storage. */
const char *libdw_version(void);

/* Fills those of out[0..n) that are empty, for pcs[0..n), from the DWARF in `fd` (borrowed). Everything is
 * owned by `arena`. -1 only when memory is out. */
int libdw_lookup(int fd, struct arena *arena, const uint64_t *pcs, size_t n, struct dwarf_chain *out);

#endif
