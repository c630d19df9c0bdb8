#include "encoder/table.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a over words, finished by a multiplication (Fowler, Noll, Vo; murmur's finalizer). Keys are ours or the
 * target's names, in memory of bounded size: a collision costs time, nothing else. */
static uint64_t hash(const uint8_t *key, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ len;
	for (; len >= 8; key += 8, len -= 8) {
		uint64_t word;
		memcpy(&word, key, 8);
		h = (h ^ word) * UINT64_C(0x100000001b3);
		h ^= h >> 29;
	}
	for (; len > 0; key++, len--)
		h = (h ^ *key) * UINT64_C(0x100000001b3);
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	return h ^ h >> 33;
}

const void *table_key(const struct table *table, uint32_t number, size_t *len)
{
	const struct table_key *key = &table->keys[number];
	*len = key->len;
	return table->bytes + key->offset;
}

/* The slot of `key`, or the empty one where it belongs. */
static size_t find_slot(const struct table *table, const void *key, size_t len)
{
	size_t at = (size_t)hash(key, len) & (table->n_slots - 1);
	for (; table->slots[at] != 0; at = (at + 1) & (table->n_slots - 1)) {
		size_t there_len;
		const void *there = table_key(table, table->slots[at] - 1, &there_len);
		if (there_len == len && (len == 0 || memcmp(there, key, len) == 0))
			break;
	}
	return at;
}

static int grow_slots(struct table *table)
{
	if (table->n_slots > 0 && table->n < table->n_slots / 2)
		return 0;
	size_t n_slots = table->n_slots > 0 ? table->n_slots * 2 : 256;
	uint32_t *slots = calloc(n_slots, sizeof *slots);
	if (slots == NULL)
		return -1;
	free(table->slots);
	table->slots = slots;
	table->n_slots = n_slots;
	for (uint32_t i = 0; i < table->n; i++) {
		size_t len;
		const void *key = table_key(table, i, &len);
		slots[find_slot(table, key, len)] = i + 1;
	}
	return 0;
}

/* Room for `need` more elements of `size` bytes. */
static int grow(void **v, size_t *cap, size_t used, size_t need, size_t size)
{
	size_t larger = *cap > 0 ? *cap : 256;
	while (larger - used < need)
		larger += larger / 2;
	if (larger == *cap)
		return 0;
	void *moved = realloc(*v, larger * size);
	if (moved == NULL)
		return -1;
	*v = moved;
	*cap = larger;
	return 0;
}

uint32_t table_intern(struct table *table, const void *key, size_t len)
{
	if (table->n >= TABLE_NONE - 1 || grow_slots(table) != 0)
		return TABLE_NONE;
	size_t at = find_slot(table, key, len), padded = (len + 7) & ~(size_t)7;
	if (table->slots[at] != 0)
		return table->slots[at] - 1;
	if (grow((void **)&table->bytes, &table->cap, table->used, padded, 1) != 0 ||
		grow((void **)&table->keys, &table->keys_cap, table->n, 1, sizeof *table->keys) != 0)
		return TABLE_NONE;
	if (len > 0)
		memcpy(table->bytes + table->used, key, len);
	table->keys[table->n] = (struct table_key){table->used, len};
	table->used += padded;
	table->slots[at] = (uint32_t)++table->n;
	return (uint32_t)table->n - 1;
}

void table_free(struct table *table)
{
	free(table->bytes);
	free(table->keys);
	free(table->slots);
	*table = (struct table){0};
}
