/* Linker names -> names for people: C++ (Itanium ABI), Rust (legacy and v0), D. The only user of libiberty. */
#ifndef SYMBOLS_DEMANGLE_H
#define SYMBOLS_DEMANGLE_H

#include "symbols/arena.h"

struct demangler;

/* Results and the demangler itself are kept in `arena`, and live as long as it. NULL when memory is out. */
struct demangler *demangler_new(struct arena *arena);

/* The readable form of `name`, a string of the same arena; `name` itself when it is not mangled, or when the
 * readable form would be too long. NULL when memory is out. Source: libiberty, demangle.h. */
const char *demangle(struct demangler *demangler, const char *name);

#endif
