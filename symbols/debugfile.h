/* The files that tell of one module. Separate ones with debug information are found as distributions install
 * them. Only files below /usr/lib/debug on this machine, and only when their build-id is the wanted one; never
 * the network. Source: GDB manual, "Debugging Information in Separate Files"; dwz(1). */
#ifndef SYMBOLS_DEBUGFILE_H
#define SYMBOLS_DEBUGFILE_H

#include "unwind/image.h"

/* All files of one module, opened before the confined child is forked, which can open none. A further kind of
 * file is a member more here, and a line in each of the three functions. */
struct symbol_files {
	const struct image *binary; /* borrowed */
	struct image *debug; /* its debug file, when it has no .debug_info itself; may be NULL */
	struct image
		*shared; /* what the one with the debug information shares with others (dwz); may be NULL */
};

/* Finds and opens what belongs to `binary`, which it borrows. Of the binary only its section headers, its
 * build-id and .gnu_debugaltlink are read, by unwind/image.h. */
void symbol_files_open(const struct image *binary, struct symbol_files *files);
void symbol_files_close(struct symbol_files *files);
/* The descriptors of them all, borrowed, into fds[0..SYMBOL_FILES_MAX); returns how many. */
enum { SYMBOL_FILES_MAX = 3 };
size_t symbol_files_fds(const struct symbol_files *files, int *fds);

/* The installed debug file of the image with this build-id (lowercase hex); NULL when there is none. The caller
 * frees it. */
struct image *debugfile_open(const char *build_id);

/* The file that `image` shares debug information with (.gnu_debugaltlink); NULL when there is none. The caller
 * frees it. */
struct image *debugfile_open_shared(const struct image *image);

#endif
