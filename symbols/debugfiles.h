/* Separate files with debug information: finds and opens them, and parses nothing but their ELF headers, so
 * that all files are open before anything else in them is read. A file is taken only when its build-id is that
 * of the image (without a build-id, when its CRC is the one in the image's link): a wrong file is worse than
 * none. Nothing comes from the network but through `fetch`. Source: GDB manual, "Debugging Information in
 * Separate Files"; dwz(1). */
#ifndef SYMBOLS_DEBUGFILES_H
#define SYMBOLS_DEBUGFILES_H

#include "unwind/image.h"

/* Where to look: the folders that were named, in their order, then /usr/lib/debug. */
struct debug_places;

struct debug_places *debug_places_new(void); /* NULL when memory is out */
void debug_places_free(struct debug_places *places);
/* A folder is laid out as /usr/lib/debug is (.build-id/xx/yyyy.debug), or as the file system with or without
 * ".debug" behind the names, or holds the files themselves. A file's name is good, too. -1 when memory is out.
 */
int debug_places_add(struct debug_places *places, const char *folder);
/* Asked last, by build-id (lowercase hex): gives a descriptor, or -1. `context` is borrowed. */
void debug_places_fetch(
	struct debug_places *places, int (*fetch)(void *context, const char *build_id), void *context);

enum { SYMBOL_SPLIT_MAX = 1024, SYMBOL_FILES_MAX = 4 + SYMBOL_SPLIT_MAX };

/* All files of one module, opened before the confined child is forked, which can open none. */
struct symbol_files {
	const struct image *binary; /* borrowed */
	struct image *debug; /* its debug file, when it has no DWARF itself; may be NULL */
	struct image *shared; /* what the one with the DWARF shares with others (dwz); may be NULL */
	struct image *package; /* the split halves of its units (.dwp); may be NULL */
	struct image **split; /* halves in files of their own (.dwo), found by symbol_files_add_split() */
	size_t n_split, cap_split;
};

/* A split half of a unit, by what the other half says of it: its name, relative to the folder of the
 * compilation. */
struct split_name {
	const char *folder, *name;
};

/* Finds and opens what belongs to `binary`, which it borrows. Of the files only their section headers,
 * build-ids and links are read, by unwind/image.h. `places` NULL: /usr/lib/debug and what links name. */
void symbol_files_open(
	const struct debug_places *places, const struct image *binary, struct symbol_files *files);
/* Adds the .dwo file with this name. Only the DWARF's reader can tell whether it is the right one, by the id in
 * it. True when there is such a file. */
bool symbol_files_add_split(
	const struct debug_places *places, const struct split_name *half, struct symbol_files *files);
void symbol_files_close(struct symbol_files *files);
/* The descriptors of them all, borrowed, into fds[0..SYMBOL_FILES_MAX); returns how many. */
size_t symbol_files_fds(const struct symbol_files *files, int *fds);

/* The best file with this build-id, for an image that is not here itself, at this path where it ran: the file
 * that was there, or one with its debug information; NULL when there is none. The caller frees it. */
struct image *debug_places_find(const struct debug_places *places, const char *build_id, const char *path);

#endif
