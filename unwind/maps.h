/* The bytes of /proc/PID/maps as an array (proc_pid_maps(5)). */
#ifndef UNWIND_MAPS_H
#define UNWIND_MAPS_H

#include "unwind/types.h"

/* One line. `path` is "" for anonymous memory, "[stack]", "[vdso]" and so on for the kernel's own names; a
 * " (deleted)" suffix is cut and said in `deleted`. */
struct map {
	uint64_t start, end, offset, inode;
	uint32_t dev_major, dev_minor;
	bool read, write, exec, deleted;
	const char *path; /* owned by the struct maps */
};

struct maps {
	struct map *v; /* ascending by start */
	size_t n;
	char *text; /* the paths live here */
};

/* Parses `len` bytes into *out (to be freed by maps_free). Lines that do not parse, or do not ascend, are left
 * out: the file can change between two reads of it. Returns 0, or -1 when memory is out (*out is then empty).
 */
int maps_parse(const char *bytes, size_t len, struct maps *out);
void maps_free(struct maps *maps);

/* The map that holds `address`, or NULL. Binary search. */
const struct map *maps_find(const struct maps *maps, uint64_t address);

#endif
