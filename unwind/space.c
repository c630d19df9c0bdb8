#include "unwind/space.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	MAPPINGS_MAX = 1 << 16, /* ever seen; a target that maps and unmaps code without end fills no more */
	IMAGE_MEMORY_MAX = 1 << 16, /* the vdso: two pages */
};

struct space {
	struct space_source source;
	char *main_path;
	struct maps maps;
	struct mapping *mappings;
	size_t n, cap;
	uint32_t *live; /* ids of live mappings, ascending by start */
	size_t n_live;
	uint64_t generation;
};

struct space *space_new(const struct space_source *source, const char *main_path)
{
	struct space *space = calloc(1, sizeof *space);
	if (space == NULL || (space->main_path = strdup(main_path)) == NULL) {
		free(space);
		return NULL;
	}
	space->source = *source;
	space->generation = 1;
	return space;
}

/* The first mapping of a file owns its image; others point to the same one. */
static bool owns_image(const struct space *space, size_t id)
{
	for (size_t i = 0; i < id; i++)
		if (space->mappings[i].image == space->mappings[id].image)
			return false;
	return true;
}

void space_free(struct space *space)
{
	if (space == NULL)
		return;
	for (size_t i = space->n; i-- > 0;)
		if (space->mappings[i].image != NULL && owns_image(space, i))
			image_free(space->mappings[i].image);
	for (size_t i = 0; i < space->n; i++)
		free((char *)(uintptr_t)space->mappings[i].path);
	free(space->mappings);
	free(space->live);
	free(space->main_path);
	maps_free(&space->maps);
	free(space);
}

static bool same_file(const struct mapping *mapping, const struct map *map)
{
	return map->inode != 0 && mapping->inode == map->inode && mapping->dev_major == map->dev_major &&
	       mapping->dev_minor == map->dev_minor && strcmp(mapping->path, map->path) == 0;
}

static bool same_mapping(const struct mapping *mapping, const struct map *map)
{
	return mapping->start == map->start && mapping->end == map->end && mapping->offset == map->offset &&
	       mapping->inode == map->inode && mapping->dev_major == map->dev_major &&
	       mapping->dev_minor == map->dev_minor && strcmp(mapping->path, map->path) == 0;
}

static struct image *read_vdso(struct space *space, const struct map *map)
{
	uint8_t bytes[IMAGE_MEMORY_MAX];
	struct error err;
	uint64_t len = map->end - map->start;
	if (len > sizeof bytes)
		return NULL;
	size_t got = space->source.read_memory(space->source.context, map->start, bytes, (size_t)len);
	return got > 0 ? image_from_memory(bytes, got, map->path, &err) : NULL;
}

static struct image *find_image(struct space *space, const struct map *map)
{
	struct error err;
	if (strcmp(map->path, "[vdso]") == 0)
		return read_vdso(space, map);
	for (size_t i = 0; i < space->n; i++)
		if (space->mappings[i].image != NULL && same_file(&space->mappings[i], map))
			return space->mappings[i].image;
	if (map->inode == 0)
		return NULL;
	int fd = space->source.open_file(space->source.context, map);
	return fd >= 0 ? image_open(fd, map->path, &err) : NULL;
}

/* The live mapping that `map` still is, or MAPPING_NONE. */
static uint32_t find_same(const struct space *space, const struct map *map)
{
	uint32_t id = space_find(space, map->start);
	return id != MAPPING_NONE && same_mapping(&space->mappings[id], map) ? id : MAPPING_NONE;
}

/* Appends a mapping; MAPPING_NONE when the limit is reached or memory is out. */
static uint32_t add_mapping(struct space *space, const struct map *map)
{
	if (space->n == MAPPINGS_MAX)
		return MAPPING_NONE;
	if (space->n == space->cap) {
		size_t cap = space->cap > 0 ? space->cap * 2 : 64;
		struct mapping *larger = realloc(space->mappings, cap * sizeof *larger);
		if (larger == NULL)
			return MAPPING_NONE;
		space->mappings = larger;
		space->cap = cap;
	}
	char *path = strdup(map->path);
	if (path == NULL)
		return MAPPING_NONE;
	space->mappings[space->n] = (struct mapping){.start = map->start,
		.end = map->end,
		.offset = map->offset,
		.inode = map->inode,
		.dev_major = map->dev_major,
		.dev_minor = map->dev_minor,
		.path = path,
		.deleted = map->deleted,
		.image = find_image(space, map)};
	return (uint32_t)space->n++;
}

/* pprof takes the first mapping for the main binary: it gets id 0, whatever lies below it. */
static const struct map *main_map(const struct space *space, const struct maps *maps)
{
	for (size_t i = 0; space->n == 0 && space->main_path[0] != '\0' && i < maps->n; i++)
		if (maps->v[i].exec && strcmp(maps->v[i].path, space->main_path) == 0)
			return &maps->v[i];
	return NULL;
}

/* The ids of all executable maps, in order. Returns their number and whether any is new. */
static size_t identify(struct space *space, const struct maps *maps, uint32_t *ids, bool *any_new)
{
	size_t n = 0;
	const struct map *first = main_map(space, maps);
	uint32_t first_id = first != NULL ? add_mapping(space, first) : MAPPING_NONE;
	*any_new = first != NULL;
	for (size_t i = 0; i < maps->n; i++) {
		const struct map *map = &maps->v[i];
		if (!map->exec || strcmp(map->path, "[vsyscall]") == 0)
			continue;
		uint32_t id = map == first ? first_id : find_same(space, map);
		if (id == MAPPING_NONE) {
			id = add_mapping(space, map);
			*any_new = true;
		}
		if (id != MAPPING_NONE)
			ids[n++] = id;
	}
	return n;
}

static void mark_live(struct space *space)
{
	for (size_t i = 0; i < space->n; i++)
		space->mappings[i].live = false;
	for (size_t i = 0; i < space->n_live; i++)
		space->mappings[space->live[i]].live = true;
}

int space_update(struct space *space, const char *bytes, size_t len)
{
	struct maps maps;
	if (len == 0)
		return 0;
	if (maps_parse(bytes, len, &maps) != 0)
		return -1;
	uint32_t *ids = calloc(maps.n + 1, sizeof *ids);
	if (ids == NULL || maps.n == 0) {
		int outcome = ids == NULL ? -1 : 0;
		free(ids);
		maps_free(&maps);
		return outcome;
	}
	bool any_new;
	size_t n = identify(space, &maps, ids, &any_new);
	bool changed = any_new || n != space->n_live;
	free(space->live);
	space->live = ids;
	space->n_live = n;
	maps_free(&space->maps);
	space->maps = maps;
	mark_live(space);
	space->generation += changed;
	return changed;
}

uint32_t space_find(const struct space *space, uint64_t address)
{
	size_t low = 0, high = space->n_live;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (space->mappings[space->live[middle]].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == space->n_live || space->mappings[space->live[low]].start > address)
		return MAPPING_NONE;
	return space->live[low];
}

const struct map *space_map(const struct space *space, uint64_t address)
{
	return maps_find(&space->maps, address);
}

size_t space_count(const struct space *space)
{
	return space->n;
}

const struct mapping *space_mapping(const struct space *space, uint32_t id)
{
	return id < space->n ? &space->mappings[id] : NULL;
}

uint64_t space_generation(const struct space *space)
{
	return space->generation;
}

bool mapping_vaddr(const struct mapping *mapping, uint64_t address, uint64_t *vaddr)
{
	return mapping->image != NULL &&
	       image_offset_to_vaddr(mapping->image, address - mapping->start + mapping->offset, vaddr);
}
