/* A bounded reader of little-endian bytes that are not trusted. Reading beyond the end gives 0 or "" and sets
 * `bad`, which stays: a caller may read a whole header and look once. Source: DWARF 5, section 7.6 (LEB128). */
#ifndef SYMBOLS_CURSOR_H
#define SYMBOLS_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Some bytes that somebody else owns. */
struct bytes {
	const uint8_t *v;
	size_t n;
};

struct cursor {
	const uint8_t *at; /* the next byte */
	size_t left;
	bool bad;
};

struct cursor cursor_at(struct bytes bytes, uint64_t offset); /* bad when offset lies beyond the end */

/* The next `size` bytes, 1 to 8, as a number. */
uint64_t cursor_uint(struct cursor *cursor, size_t size);
/* LEB128 numbers; bits above 64 are dropped. */
uint64_t cursor_uleb(struct cursor *cursor);
int64_t cursor_sleb(struct cursor *cursor);
/* A terminated string, borrowed from the bytes. */
const char *cursor_string(struct cursor *cursor);
void cursor_skip(struct cursor *cursor, uint64_t count);
/* A cursor over the next `count` bytes, which are skipped here. */
struct cursor cursor_take(struct cursor *cursor, uint64_t count);

#endif
