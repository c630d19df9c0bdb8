/* Go's table of functions -> rows. Go code's frames are described by the distance of rsp from the frame's top
 * at each pc; the runtime's functions that change stacks, and those that have no caller, are known by their
 * names, which the table holds also in stripped programs. */
#ifndef UNWIND_GOROWS_H
#define UNWIND_GOROWS_H

#include "unwind/cfi.h"
#include "unwind/gopclntab.h"

/* Calls the sink for every row of every function, ascending, each function's last one a ROW_NONE at its end;
 * `fde` is NULL. `image` gives the code of assembler functions, whose frame pointers the table does not tell.
 * Bounded by the table's size and 4 million runs. */
void gorows_scan(const struct image *image, const struct gopclntab *table, cfi_sink *sink, void *context);

/* Where Go keeps the current goroutine in thread-local storage: the word at fs_base + *offset. As
 * runtime.stackcheck reads it, so it holds however the program was linked; false when that cannot be told (Go
 * in a shared library). */
bool gorows_tls(const struct image *image, const struct gopclntab *table, int32_t *offset);

#endif
