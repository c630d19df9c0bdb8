/* Interning: byte strings to small consecutive numbers, from 0 up, in order of first sight. The one hash table
 * of this room: strings, locations, functions and stacks all are sequences of bytes with a number. */
#ifndef ENCODER_TABLE_H
#define ENCODER_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_key {
	size_t offset, len; /* in bytes[] */
};

struct table {
	uint8_t *bytes; /* all keys, one after the other, each padded to 8 */
	size_t used, cap;
	struct table_key *keys;
	size_t n, keys_cap;
	uint32_t *slots; /* number + 1; 0 is empty */
	size_t n_slots; /* a power of two */
};

#define TABLE_NONE UINT32_MAX

/* A table starts zeroed. The number of `key`, added if new; TABLE_NONE when memory is out (nothing is added).
 */
uint32_t table_intern(struct table *table, const void *key, size_t len);
/* The key of a number; borrowed until the next table_intern. */
const void *table_key(const struct table *table, uint32_t number, size_t *len);
void table_free(struct table *table);

#endif
