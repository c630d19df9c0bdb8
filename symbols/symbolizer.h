/* Addresses of one ELF image -> functions, files, lines and inlined calls. Works on batches, so that each
 * compilation unit is read once. What is read here is hostile: only the confined child of symbols/isolated.h,
 * and tests, do it. */
#ifndef SYMBOLS_SYMBOLIZER_H
#define SYMBOLS_SYMBOLIZER_H

#include "symbols/debugfiles.h"
#include "unwind/image.h"

/* One function at one address. All strings are owned by the symbolizer and live as long as it; "" when not
 * known. */
struct source_line {
	const char *function; /* demangled, for people; "" when unknown */
	const char *system_name; /* as the linker knows it; "" when unknown */
	const char *file; /* absolute where the debug info allows it */
	uint32_t line; /* of the address (of the call, in an outer function); 0 unknown */
	uint32_t start_line; /* where the function is declared; 0 unknown */
};

/* No chain is longer; what is outside of that many inlined calls is left out. */
enum { SYMBOLS_CHAIN_MAX = 256 };

/* The chain at one address: innermost inlined function first, the physical function last. n is 0 when nothing
 * is known. */
struct symbolized {
	const struct source_line *lines; /* owned by the symbolizer */
	size_t n;
};

/* Where one image's names came from, for the summary and the profile's comments. */
struct symbol_quality {
	size_t addresses, with_function, with_line;
	const char *source; /* "Go's function table", "DWARF", "DWARF (separate file)", "ELF symbols",
			       "ELF symbols (separate file)", "minidebuginfo", "dynamic symbols", "none" */
	const char *trouble; /* why better information was not used: "it crashed (Segmentation fault): ..."; ""
				for none */
	const struct split_name *missing; /* halves of units for symbol_files_add_split(): once these are there,
					     more can be found; owned as the answers are */
	size_t n_missing;
	bool complete; /* full symbol information was there: pprof need not (and will not) look again */
};

struct symbolizer;

struct symbolizer *symbolizer_new(void); /* NULL when memory is out */
void symbolizer_free(struct symbolizer *symbolizer);

/* How much is read: less when that was too much for the child. */
enum symbols_extent {
	SYMBOLS_ALL,
	SYMBOLS_ELF, /* the symbol tables alone */
};

/* Looks up `n` link-time addresses of `files->binary`, each already adjusted for return addresses (pc -
 * is_return), in any order, duplicates allowed. Fills out[0..n) and *quality. What is missing or damaged in the
 * files makes an answer empty, never an error; returns -1 only when memory is out. Opens no file. */
int symbolizer_files(struct symbolizer *symbolizer, const struct symbol_files *files,
	enum symbols_extent extent, const uint64_t *vaddrs, size_t n, struct symbolized *out,
	struct symbol_quality *quality);
/* The same for an image with all the files that belong to it: for tests. */
int symbolizer_image(struct symbolizer *symbolizer, const struct image *image, const uint64_t *vaddrs, size_t n,
	struct symbolized *out, struct symbol_quality *quality);

#endif
