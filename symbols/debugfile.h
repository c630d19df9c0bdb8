/* Separate files with debug information, as distributions install them. Only files below /usr/lib/debug on this
 * machine, and only when their build-id is the wanted one; never the network. Source: GDB manual, "Debugging
 * Information in Separate Files"; dwz(1). */
#ifndef SYMBOLS_DEBUGFILE_H
#define SYMBOLS_DEBUGFILE_H

#include "unwind/image.h"

/* The installed debug file of the image with this build-id (lowercase hex); NULL when there is none. The caller
 * frees it. */
struct image *debugfile_open(const char *build_id);

/* The file that `image` shares debug information with (.gnu_debugaltlink); NULL when there is none. The caller
 * frees it. */
struct image *debugfile_open_shared(const struct image *image);

#endif
