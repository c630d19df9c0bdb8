/* Reads a section of DWARF from some offset on, without an end that is known before: a table, a list. Reading
 * beyond the section gives 0 and sets `bad`, which stays. */
#ifndef SYMBOLS_STREAM_H
#define SYMBOLS_STREAM_H

#include "symbols/debuginfo.h"

struct stream {
	struct debuginfo *debuginfo;
	enum debug_section which;
	uint64_t at;
	bool bad;
};

struct stream stream_at(struct debuginfo *debuginfo, enum debug_section which, uint64_t offset);
/* The next `size` bytes, 1 to 8, as a number. */
uint64_t stream_uint(struct stream *stream, size_t size);
/* LEB128 numbers; bits above 64 are dropped. */
uint64_t stream_uleb(struct stream *stream);
int64_t stream_sleb(struct stream *stream);

#endif
