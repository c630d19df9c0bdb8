#include "symbols/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 64 * 1024, ALIGNMENT = 16 };

struct chunk {
	struct chunk *next;
	size_t used, cap;
	_Alignas(ALIGNMENT) unsigned char bytes[];
};

struct entry {
	uint64_t hash;
	const char *text; /* NULL: the slot is free */
	size_t len;
};

struct arena {
	struct chunk *chunks;
	struct entry *table; /* open addressing, at most half full */
	size_t slots, used;
};

struct arena *arena_new(void)
{
	return calloc(1, sizeof(struct arena));
}

void arena_free(struct arena *arena)
{
	if (arena == NULL)
		return;
	for (struct chunk *chunk = arena->chunks, *next; chunk != NULL; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	free(arena->table);
	free(arena);
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
	struct chunk *chunk = arena->chunks;
	if (bytes > SIZE_MAX / 2)
		return NULL;
	bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (chunk == NULL || chunk->cap - chunk->used < bytes) {
		size_t cap = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
		chunk = calloc(1, sizeof(*chunk) + cap);
		if (chunk == NULL)
			return NULL;
		chunk->cap = cap;
		chunk->next = arena->chunks;
		arena->chunks = chunk;
	}
	void *result = chunk->bytes + chunk->used;
	chunk->used += bytes;
	return result;
}

/* FNV-1a, 64 bit. */
static uint64_t hash_text(const char *text, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
	return hash;
}

static int table_grow(struct arena *arena)
{
	size_t slots = arena->slots == 0 ? 1024 : arena->slots * 2;
	struct entry *table = calloc(slots, sizeof(*table));
	if (table == NULL)
		return -1;
	for (size_t i = 0; i < arena->slots; i++) {
		if (arena->table[i].text == NULL)
			continue;
		size_t at = arena->table[i].hash & (slots - 1);
		while (table[at].text != NULL)
			at = (at + 1) & (slots - 1);
		table[at] = arena->table[i];
	}
	free(arena->table);
	arena->table = table;
	arena->slots = slots;
	return 0;
}

const char *arena_string(struct arena *arena, const char *text, size_t len)
{
	if (len == 0)
		return "";
	if (arena->used >= arena->slots / 2 && table_grow(arena) != 0)
		return NULL;
	uint64_t hash = hash_text(text, len);
	size_t at = hash & (arena->slots - 1);
	for (; arena->table[at].text != NULL; at = (at + 1) & (arena->slots - 1)) {
		const struct entry *entry = &arena->table[at];
		if (entry->hash == hash && entry->len == len && memcmp(entry->text, text, len) == 0)
			return entry->text;
	}
	char *copy = arena_alloc(arena, len + 1);
	if (copy == NULL)
		return NULL;
	memcpy(copy, text, len);
	arena->table[at] = (struct entry){.hash = hash, .text = copy, .len = len};
	arena->used++;
	return copy;
}
