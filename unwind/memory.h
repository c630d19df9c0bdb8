/* Words of a snapshot's stack by their target address. */
#ifndef UNWIND_MEMORY_H
#define UNWIND_MEMORY_H

#include "unwind/types.h"

#include <string.h>

/* The region that holds the eight bytes at `address`, or NULL. */
static inline const struct region *memory_region(const struct snapshot *snapshot, uint64_t address)
{
	for (int i = 0; i < SNAPSHOT_REGIONS; i++) {
		const struct region *region = &snapshot->region[i];
		if (region->len >= sizeof(uint64_t) && address >= region->start &&
			address - region->start <= region->len - sizeof(uint64_t))
			return region;
	}
	return NULL;
}

static inline bool memory_word(const struct snapshot *snapshot, uint64_t address, uint64_t *value)
{
	const struct region *region = memory_region(snapshot, address);
	if (region == NULL)
		return false;
	memcpy(value, region->bytes + (address - region->start), sizeof *value);
	return true;
}

#endif
