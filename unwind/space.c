#include "unwind/space.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	MAPPINGS_MAX = 1 << 16, /* ever seen; a target that maps and unmaps code without end fills no more */
	IMAGE_MEMORY_MAX = 1 << 16, /* the vdso: two pages */
};

/* Every mapping that any of the spaces has seen. Each stays where it is in memory. */
struct list {
	struct mapping **v;
	size_t n, cap;
	uint32_t *unused; /* ids that may be given anew */
	size_t n_unused;
	size_t users;
	unsigned spaces; /* ever made */
	uint64_t generation; /* the last that any of them got */
};

struct space {
	struct space_source source;
	struct list *list;
	unsigned number;
	char *main_path;
	struct maps maps;
	uint32_t *live; /* ids of live mappings, ascending by start */
	size_t n_live;
	uint64_t generation;
};

static struct space *new_space(struct list *list, const struct space_source *source, const char *main_path)
{
	struct space *space = calloc(1, sizeof *space);
	if (space == NULL || (space->main_path = strdup(main_path)) == NULL) {
		free(space);
		return NULL;
	}
	space->source = *source;
	space->list = list;
	space->number = list->spaces++;
	space->generation = ++list->generation;
	list->users++;
	return space;
}

struct space *space_new(const struct space_source *source, const char *main_path)
{
	struct list *list = calloc(1, sizeof *list);
	struct space *space = list != NULL ? new_space(list, source, main_path) : NULL;
	if (space == NULL)
		free(list);
	return space;
}

struct space *space_beside(struct space *other, const struct space_source *source)
{
	return new_space(other->list, source, "");
}

/* The first mapping of a file owns its image; others point to the same one. */
static bool owns_image(const struct list *list, size_t id)
{
	for (size_t i = 0; i < id; i++)
		if (list->v[i]->image == list->v[id]->image)
			return false;
	return true;
}

static void free_list(struct list *list)
{
	for (size_t i = list->n; i-- > 0;)
		if (list->v[i]->image != NULL && owns_image(list, i))
			image_free(list->v[i]->image);
	for (size_t i = 0; i < list->n; i++) {
		free((char *)(uintptr_t)list->v[i]->path);
		free(list->v[i]);
	}
	free(list->v);
	free(list->unused);
	free(list);
}

/* Nobody speaks of mappings that have a twin, once their process is gone. */
static void give_back(struct space *space)
{
	struct list *list = space->list;
	for (uint32_t id = 0; id < list->n; id++) {
		struct mapping *mapping = list->v[id];
		if (mapping->space != space->number)
			continue;
		mapping->live = false;
		if (mapping->twin != id) {
			*mapping = (struct mapping){.path = mapping->path, .space = UINT_MAX, .twin = id};
			list->unused[list->n_unused++] = id;
		}
	}
}

void space_free(struct space *space)
{
	if (space == NULL)
		return;
	if (--space->list->users == 0)
		free_list(space->list);
	else
		give_back(space);
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

/* The kernel gives the same one to all processes of a kind. */
static struct image *read_vdso(struct space *space, const struct map *map)
{
	uint8_t bytes[IMAGE_MEMORY_MAX];
	struct error err;
	uint64_t len = map->end - map->start;
	if (len > sizeof bytes)
		return NULL;
	size_t got = space->source.read_memory(space->source.context, map->start, bytes, (size_t)len), known;
	for (size_t i = 0; i < space->list->n && got > 0; i++) {
		struct image *image = space->list->v[i]->image;
		const uint8_t *same = image != NULL ? image_bytes(image, &known) : NULL;
		if (same != NULL && known == got && memcmp(same, bytes, got) == 0)
			return image;
	}
	return got > 0 ? image_from_memory(bytes, got, map->path, &err) : NULL;
}

static struct image *find_image(struct space *space, const struct map *map)
{
	struct error err;
	if (strcmp(map->path, "[vdso]") == 0)
		return read_vdso(space, map);
	/* While a file is open, its inode is no other's; but another process's may have been written anew
	 * since. */
	for (size_t i = 0; i < space->list->n; i++) {
		const struct mapping *mapping = space->list->v[i];
		if (mapping->image != NULL && same_file(mapping, map) &&
			(mapping->space == space->number || !image_has_changed(mapping->image)))
			return mapping->image;
	}
	if (map->inode == 0)
		return NULL;
	int fd = space->source.open_file(space->source.context, map);
	return fd >= 0 ? image_open(fd, map->path, &err) : NULL;
}

/* The live mapping that `map` still is, or MAPPING_NONE. */
static uint32_t find_same(const struct space *space, const struct map *map)
{
	uint32_t id = space_find(space, map->start);
	return id != MAPPING_NONE && same_mapping(space->list->v[id], map) ? id : MAPPING_NONE;
}

/* A place for one more; MAPPING_NONE when there is none. */
static uint32_t new_id(struct list *list)
{
	if (list->n_unused > 0)
		return list->unused[--list->n_unused];
	if (list->n == MAPPINGS_MAX)
		return MAPPING_NONE;
	if (list->n == list->cap) {
		size_t cap = list->cap > 0 ? list->cap * 2 : 64;
		struct mapping **larger = realloc(list->v, cap * sizeof *larger);
		if (larger != NULL)
			list->v = larger;
		uint32_t *unused = larger != NULL ? realloc(list->unused, cap * sizeof *unused) : NULL;
		if (unused == NULL)
			return MAPPING_NONE;
		list->unused = unused;
		list->cap = cap;
	}
	list->v[list->n] = calloc(1, sizeof **list->v);
	return list->v[list->n] != NULL ? (uint32_t)list->n++ : MAPPING_NONE;
}

/* The first mapping of the same part of the same image, or `id` itself. */
static uint32_t find_twin(const struct list *list, uint32_t id)
{
	const struct mapping *mapping = list->v[id];
	for (uint32_t i = 0; i < list->n && mapping->image != NULL; i++) {
		const struct mapping *other = list->v[i];
		if (i != id && other->twin == i && other->image == mapping->image &&
			other->offset == mapping->offset &&
			other->end - other->start == mapping->end - mapping->start)
			return i;
	}
	return id;
}

/* Appends a mapping; MAPPING_NONE when the limit is reached or memory is out. */
static uint32_t add_mapping(struct space *space, const struct map *map)
{
	char *path = strdup(map->path);
	uint32_t id = path != NULL ? new_id(space->list) : MAPPING_NONE;
	if (id == MAPPING_NONE) {
		free(path);
		return MAPPING_NONE;
	}
	struct mapping *mapping = space->list->v[id];
	free((char *)(uintptr_t)mapping->path);
	*mapping = (struct mapping){.start = map->start,
		.end = map->end,
		.offset = map->offset,
		.inode = map->inode,
		.dev_major = map->dev_major,
		.dev_minor = map->dev_minor,
		.path = path,
		.deleted = map->deleted,
		.space = space->number,
		.twin = id,
		.image = find_image(space, map)};
	mapping->twin = find_twin(space->list, id);
	return id;
}

/* pprof takes the first mapping for the main binary: it gets id 0, whatever lies below it. */
static const struct map *main_map(const struct space *space, const struct maps *maps)
{
	for (size_t i = 0; space->list->n == 0 && space->main_path[0] != '\0' && i < maps->n; i++)
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

static void mark_live(struct space *space, bool live)
{
	for (size_t i = 0; i < space->n_live; i++)
		space->list->v[space->live[i]]->live = live;
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
	mark_live(space, false);
	free(space->live);
	space->live = ids;
	space->n_live = n;
	maps_free(&space->maps);
	space->maps = maps;
	mark_live(space, true);
	if (changed)
		space->generation = ++space->list->generation;
	return changed;
}

uint32_t space_find(const struct space *space, uint64_t address)
{
	size_t low = 0, high = space->n_live;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (space->list->v[space->live[middle]]->end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == space->n_live || space->list->v[space->live[low]]->start > address)
		return MAPPING_NONE;
	return space->live[low];
}

const struct map *space_map(const struct space *space, uint64_t address)
{
	return maps_find(&space->maps, address);
}

const uint32_t *space_live(const struct space *space, size_t *n)
{
	*n = space->n_live;
	return space->live;
}

void space_unify(const struct space *space, struct frame *frames, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct mapping *mapping = space_mapping(space, frames[i].mapping);
		if (mapping == NULL)
			continue;
		frames[i].pc += space->list->v[mapping->twin]->start - mapping->start;
		frames[i].mapping = mapping->twin;
	}
}

size_t space_count(const struct space *space)
{
	return space->list->n;
}

const struct mapping *space_mapping(const struct space *space, uint32_t id)
{
	return id < space->list->n ? space->list->v[id] : NULL;
}

bool space_still_has(const struct space *space, uint32_t id, uint64_t now)
{
	struct mapping *mapping = id < space->list->n ? space->list->v[id] : NULL;
	if (mapping == NULL || mapping->image == NULL || mapping->asked == now ||
		space->source.still_has == NULL)
		return true;
	mapping->asked = now;
	return space->source.still_has(space->source.context, mapping);
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
