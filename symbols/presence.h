/* Which names there will be for the code of an image, told without reading them: by its sections, and by those
 * of its debug file. */
#ifndef SYMBOLS_PRESENCE_H
#define SYMBOLS_PRESENCE_H

#include "symbols/debugfiles.h"

/* From the least to the most. */
enum presence {
	PRESENCE_STRIPPED, /* only what it exports to others */
	PRESENCE_MINIDEBUGINFO, /* .gnu_debugdata: functions */
	PRESENCE_SYMBOLS, /* .symtab, its own or in a debug file: functions */
	PRESENCE_GO, /* Go's own table: functions, files, lines, inlined calls */
	PRESENCE_DEBUG_FILE, /* the same from DWARF in a separate file that was found */
	PRESENCE_DWARF, /* from DWARF of its own */
};

/* `places` as for symbol_files_open(). Without a build-id no separate file is looked for: it would have to be
 * read whole, for its CRC. */
enum presence presence_of(const struct debug_places *places, const struct image *image);
/* "DWARF", "stripped" ... Static storage. */
const char *presence_name(enum presence presence);

#endif
