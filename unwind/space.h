/* A target's address space over time: every executable mapping that was ever seen, by a small id that never
 * changes, with the image behind it. Frames refer to these ids, so that a stack walked before a dlclose or an
 * exec still names the right file afterwards. */
#ifndef UNWIND_SPACE_H
#define UNWIND_SPACE_H

#include "unwind/image.h"
#include "unwind/maps.h"

struct space;

/* One mapping, valid as long as the space. The first mapping of the main binary has id 0 whenever it is known.
 */
struct mapping {
	uint64_t start, end, offset, inode;
	uint32_t dev_major, dev_minor;
	const char *path; /* as in maps, " (deleted)" cut */
	bool live; /* in the target's maps at the last update */
	bool deleted;
	struct image *image; /* shared by mappings of the same file; NULL: anonymous (JIT) or not readable */
	unsigned space; /* whose it is: 0 the first, 1 the next made by space_beside() ... */
	uint32_t twin; /* the first mapping of the same part of the same image, in any space; its own id if it
			  is that */
	uint64_t asked; /* when it was last asked for (space_still_has) */
};

/* How the space reaches the target; the attach room implements it. */
struct space_source {
	void *context;
	/* A descriptor of the file behind `map`, surely the mapped one, or -1. */
	int (*open_file)(void *context, const struct map *map);
	/* Copies target memory; returns the number of bytes, 0 on failure. Used for the vdso. */
	size_t (*read_memory)(void *context, uint64_t address, void *buffer, size_t len);
	/* Is it still there, of the same file? NULL: nobody can tell, and it is taken for granted. */
	bool (*still_has)(void *context, const struct mapping *mapping);
};

/* `main_path`: the path of the main binary as in maps (readlink of /proc/PID/exe), copied; it may be "".
 * `source` is copied. */
struct space *space_new(const struct space_source *source, const char *main_path);
/* The same for one more process: its mappings are listed with those of `other`, under ids of their own, and one
 * file has one image for all. The list lives as long as one of its spaces; of a space that is freed only those
 * mappings stay that others' twins are, or that have none (space_unify). NULL when memory is out. */
struct space *space_beside(struct space *other, const struct space_source *source);
void space_free(struct space *space);

/* Takes over new contents of /proc/PID/maps. Opens the images of new executable mappings at once (the target
 * may be gone later). Returns 1 when executable mappings came or went, 0 when not, -1 when memory is out. An
 * empty `bytes` changes nothing. */
int space_update(struct space *space, const char *bytes, size_t len);

/* The id of the live executable mapping that holds `address`, or MAPPING_NONE. */
uint32_t space_find(const struct space *space, uint64_t address);
/* The map line (of any protection) that holds `address` at the last update, or NULL; borrowed until the next
 * update. */
const struct map *space_map(const struct space *space, uint64_t address);
/* The ids of the live mappings, by address; borrowed until the next update. */
const uint32_t *space_live(const struct space *space, size_t *n);
/* Every process has its files elsewhere in its memory. Moves each frame to where its mapping's twin is: then
 * the same code is the same address, and the frame may outlive its space. */
void space_unify(const struct space *space, struct frame *frames, size_t n);
/* Of all spaces that share the list. */
size_t space_count(const struct space *space);
const struct mapping *space_mapping(const struct space *space, uint32_t id); /* NULL when id is out of range */
/* Whether the target still has a mapping of a file: since the last update another library may have come to its
 * place. It is asked once for each value of `now` (> 0). */
bool space_still_has(const struct space *space, uint32_t id, uint64_t now);
/* Changes with every space_update that returned 1, and no two spaces that share their list have the same:
 * caches are keyed by it. */
uint64_t space_generation(const struct space *space);

/* Link-time address in mapping->image of target address `address`; false when there is no image or no segment
 * covers it. */
bool mapping_vaddr(const struct mapping *mapping, uint64_t address, uint64_t *vaddr);

#endif
