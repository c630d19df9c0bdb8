/* Where debug files are looked for, as the command line says. */
#ifndef ATTACH_PLACES_H
#define ATTACH_PLACES_H

#include "symbols/debugfiles.h"

/* The caller owns the result; NULL when memory is out. */
struct debug_places *places_make(const char *const *folders, size_t n);

#endif
