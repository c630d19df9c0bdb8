/* Addresses -> names, from an image's ELF symbol tables. The tables are streamed once for a whole batch and
 * never kept: what is held is a few words for each address. Source: the ELF specification (System V gABI),
 * chapter 4, "Symbol Table". */
#ifndef SYMBOLS_ELFSYMS_H
#define SYMBOLS_ELFSYMS_H

#include "symbols/arena.h"
#include "unwind/image.h"

/* Where names came from. */
enum elfsyms_source {
	ELFSYMS_NONE,
	ELFSYMS_DYNAMIC, /* .dynsym: exported functions only */
	ELFSYMS_MINI, /* .dynsym and what minidebuginfo adds to it */
	ELFSYMS_SEPARATE, /* .symtab of the separate file */
	ELFSYMS_FULL /* .symtab */
};

/* One address and its answer. */
struct elfsym {
	uint64_t pc; /* link-time address */
	const char *prefer; /* the name to choose among aliases when it is one of them; "" for none */
	const char *name; /* out: an arena string without @VERSION; "" when no symbol covers pc */
};

/* Fills `name` of v[0..n), which is sorted by pc. Reads .symtab of `image`, else that of `separate`, else
 * .dynsym of `image` together with .symtab of `mini` (minidebuginfo: the functions that .dynsym has not); says
 * which in *source. `separate` and `mini` may be NULL. Damage gives empty names; -1 only when memory is out. */
int elfsyms_lookup(const struct image *image, const struct image *separate, const struct image *mini,
	struct arena *arena, struct elfsym *v, size_t n, enum elfsyms_source *source);

#endif
