/* Names for the stubs of the procedure linkage table, which have no symbols: "memcpy@plt", from the relocation
 * of the GOT slot that the stub jumps through. Source: System V psABI AMD64, section 5.2 and 13 (PLT, and PLT
 * with IBT). */
#ifndef SYMBOLS_PLT_H
#define SYMBOLS_PLT_H

#include "symbols/elfsyms.h"

/* Fills `name` of those of v[0..n) that have none and lie in .plt, .plt.sec or .plt.got. -1 only when memory is
 * out. */
int plt_lookup(const struct image *image, struct arena *arena, struct elfsym *v, size_t n);

#endif
