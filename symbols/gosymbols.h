/* Addresses of a Go program -> functions, files, lines and inlined calls, from Go's own table of functions
 * (unwind/gopclntab.h), as the program's tracebacks have them: runtime/symtabinl.go and runtime/symtab.go of Go
 * 1.16 to 1.26. It is there in stripped programs, and knows better than DWARF what was inlined where. */
#ifndef SYMBOLS_GOSYMBOLS_H
#define SYMBOLS_GOSYMBOLS_H

#include "symbols/arena.h"
#include "symbols/symbolizer.h"

struct gosymbols;

/* Reads the table of `image`, which is borrowed until gosymbols_close(). NULL when it has none, a damaged one,
 * or memory is out. */
struct gosymbols *gosymbols_open(const struct image *image);
void gosymbols_close(struct gosymbols *symbols);

/* The chain at link-time address `pc`, in `arena`. Returns 1; 0, and *out is untouched, for code that is not
 * Go's (cgo); -1 when memory is out. */
int gosymbols_lookup(const struct gosymbols *symbols, struct arena *arena, uint64_t pc, struct symbolized *out);

#endif
