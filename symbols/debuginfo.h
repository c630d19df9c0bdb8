/* The DWARF sections of one file, read piece by piece: what is in memory is what is asked for, whether the file
 * has 1 MB or 1 GB of them. Nothing is mapped, so that a file that shrinks meanwhile gives short reads; only
 * compressed sections are inflated as a whole. */
#ifndef SYMBOLS_DEBUGINFO_H
#define SYMBOLS_DEBUGINFO_H

#include "symbols/arena.h"
#include "unwind/image.h"

struct debuginfo;

enum debug_section {
	DEBUG_INFO,
	DEBUG_ABBREV,
	DEBUG_LINE,
	DEBUG_LINE_STR,
	DEBUG_STR,
	DEBUG_STR_OFFSETS,
	DEBUG_ADDR,
	DEBUG_RANGES,
	DEBUG_RNGLISTS,
	DEBUG_CU_INDEX,
	DEBUG_SECTIONS
};

/* The DWARF of `image`, which is borrowed until debuginfo_close(); with `split`, the sections of a split half
 * (.debug_info.dwo ...). Compressed and .zdebug sections are inflated within a limit. NULL when there is no
 * DWARF, when it is damaged, and when memory is out. */
struct debuginfo *debuginfo_open(const struct image *image, bool split);
void debuginfo_close(struct debuginfo *debuginfo);

/* 0 when there is no such section. */
uint64_t debuginfo_size(const struct debuginfo *debuginfo, enum debug_section which);
/* Copies up to `len` bytes; returns how many there were. Small reads near each other cost little. */
size_t debuginfo_read(
	struct debuginfo *debuginfo, enum debug_section which, uint64_t offset, void *buffer, size_t len);
/* A number of 1 to 8 bytes; 0 when it does not lie in the section. */
uint64_t debuginfo_uint(struct debuginfo *debuginfo, enum debug_section which, uint64_t offset, size_t size);
/* A terminated text, kept by `arena`; "" when it is none, or is too long for a name. NULL when memory is out.
 */
const char *debuginfo_string(
	struct debuginfo *debuginfo, enum debug_section which, uint64_t offset, struct arena *arena);

#endif
