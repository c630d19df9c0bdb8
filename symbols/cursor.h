/* A bounded reader of little-endian bytes that are not trusted. Reading beyond the end gives 0 or "" and sets
 * `bad`, which stays: a caller may read a whole header and look once. Inline, because nearly all time goes
 * here. Source: DWARF 5, section 7.6 (LEB128). */
#ifndef SYMBOLS_CURSOR_H
#define SYMBOLS_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

static inline void cursor_fail(struct cursor *cursor)
{
	cursor->bad = true;
	cursor->left = 0;
}

static inline void cursor_skip(struct cursor *cursor, uint64_t count)
{
	if (cursor->left < count) {
		cursor_fail(cursor);
		return;
	}
	if (count == 0) /* an empty section has no bytes to point to */
		return;
	cursor->at += count;
	cursor->left -= (size_t)count;
}

/* Bad when `offset` lies beyond the end. */
static inline struct cursor cursor_at(struct bytes bytes, uint64_t offset)
{
	struct cursor cursor = {.at = bytes.v, .left = bytes.n};
	cursor_skip(&cursor, offset);
	return cursor;
}

/* The next `size` bytes, 1 to 8, as a number. */
static inline uint64_t cursor_uint(struct cursor *cursor, size_t size)
{
	uint64_t value = 0;
	if (cursor->left < size || size > sizeof(value)) {
		cursor_fail(cursor);
		return 0;
	}
	memcpy(&value, cursor->at, size); /* x86-64 files on x86-64 */
	cursor_skip(cursor, size);
	return value;
}

/* LEB128 numbers; bits above 64 are dropped. */
static inline uint64_t cursor_uleb(struct cursor *cursor)
{
	uint64_t value = 0;
	for (unsigned shift = 0; cursor->left != 0; shift += shift < 64 ? 7 : 0) {
		uint8_t byte = *cursor->at;
		cursor_skip(cursor, 1);
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return value;
	}
	cursor_fail(cursor);
	return 0;
}

static inline int64_t cursor_sleb(struct cursor *cursor)
{
	uint64_t value = 0;
	for (unsigned shift = 0; cursor->left != 0;) {
		uint8_t byte = *cursor->at;
		cursor_skip(cursor, 1);
		if (shift < 64) {
			value |= (uint64_t)(byte & 0x7f) << shift;
			shift += 7;
		}
		if ((byte & 0x80) == 0) {
			if (shift < 64 && (byte & 0x40) != 0)
				value |= UINT64_MAX << shift;
			return (int64_t)value;
		}
	}
	cursor_fail(cursor);
	return 0;
}

/* A terminated string, borrowed from the bytes. */
static inline const char *cursor_string(struct cursor *cursor)
{
	const char *text = (const char *)cursor->at;
	const uint8_t *end = cursor->left == 0 ? NULL : memchr(cursor->at, '\0', cursor->left);
	if (end == NULL) {
		cursor_fail(cursor);
		return "";
	}
	cursor_skip(cursor, (uint64_t)(end - cursor->at) + 1);
	return text;
}

/* A cursor over the next `count` bytes, which are skipped here. */
static inline struct cursor cursor_take(struct cursor *cursor, uint64_t count)
{
	struct cursor taken = *cursor;
	cursor_skip(cursor, count);
	taken.bad = cursor->bad;
	taken.left = cursor->bad ? 0 : (size_t)count;
	return taken;
}

#endif
