/* The DWARF sections of an image, opened for libdw. The wanted sections are copied, within limits, into an ELF
 * image of our own making in anonymous memory: libelf never sees the file's own headers, libdw never opens a
 * file by a name in it, and a file that is truncated meanwhile is a short read. */
#ifndef SYMBOLS_DEBUGINFO_H
#define SYMBOLS_DEBUGINFO_H

#include "symbols/cursor.h"
#include "unwind/image.h"

#include <elfutils/libdw.h>

struct debuginfo;

/* The sections that are kept. */
enum debug_section {
	DEBUG_INFO,
	DEBUG_TYPES,
	DEBUG_ABBREV,
	DEBUG_LINE,
	DEBUG_LINE_STR,
	DEBUG_STR,
	DEBUG_STR_OFFSETS,
	DEBUG_ADDR,
	DEBUG_RANGES,
	DEBUG_RNGLISTS,
	DEBUG_SECTIONS
};

/* Opens the DWARF of `image`, with that of the file it shares information with (`shared_image`, NULL when there
 * is none). The images are not needed afterwards. NULL when there is none, when it is damaged or when it is
 * larger than the limit. */
struct debuginfo *debuginfo_open(const struct image *image, const struct image *shared_image);
void debuginfo_close(struct debuginfo *debuginfo);

/* Borrowed until debuginfo_close(). */
Dwarf *debuginfo_dwarf(const struct debuginfo *debuginfo);
/* The (uncompressed) bytes, borrowed until debuginfo_close(); empty when there is no such section. */
struct bytes debuginfo_section(const struct debuginfo *debuginfo, enum debug_section which);

#endif
