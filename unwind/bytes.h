/* The one bounded reader of untrusted bytes: every take checks what is left, and a failed one makes all later
 * ones fail, so that a parser can check once at the end. */
#ifndef UNWIND_BYTES_H
#define UNWIND_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	const uint8_t *p;
	size_t left;
	bool failed;
};

static inline bool bytes_take(struct bytes *b, void *out, size_t len)
{
	if (b->failed || b->left < len) {
		b->failed = true;
		memset(out, 0, len);
		return false;
	}
	memcpy(out, b->p, len);
	b->p += len;
	b->left -= len;
	return true;
}

static inline void bytes_skip(struct bytes *b, uint64_t len)
{
	if (b->failed || b->left < len) {
		b->failed = true;
		return;
	}
	b->p += len;
	b->left -= (size_t)len;
}

static inline uint8_t bytes_u8(struct bytes *b)
{
	uint8_t v;
	bytes_take(b, &v, sizeof v);
	return v;
}

static inline uint16_t bytes_u16(struct bytes *b)
{
	uint16_t v;
	bytes_take(b, &v, sizeof v);
	return v;
}

static inline uint32_t bytes_u32(struct bytes *b)
{
	uint32_t v;
	bytes_take(b, &v, sizeof v);
	return v;
}

static inline uint64_t bytes_u64(struct bytes *b)
{
	uint64_t v;
	bytes_take(b, &v, sizeof v);
	return v;
}

/* LEB128 (DWARF 5, 7.6). What does not fit into 64 bits is cut, as every reader does. */
static inline uint64_t bytes_uleb(struct bytes *b)
{
	uint64_t v = 0;
	for (unsigned shift = 0;; shift += 7) {
		uint8_t byte = bytes_u8(b);
		if (shift < 64)
			v |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return v;
	}
}

static inline int64_t bytes_sleb(struct bytes *b)
{
	uint64_t v = 0;
	for (unsigned shift = 0;;) {
		uint8_t byte = bytes_u8(b);
		if (shift < 64)
			v |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
		if ((byte & 0x80) != 0)
			continue;
		if (shift < 64 && (byte & 0x40) != 0)
			v |= ~UINT64_C(0) << shift;
		return (int64_t)v;
	}
}

#endif
