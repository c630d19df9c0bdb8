#include "symbols/stream.h"

struct stream stream_at(struct debuginfo *debuginfo, enum debug_section which, uint64_t offset)
{
	return (struct stream){.debuginfo = debuginfo, .which = which, .at = offset};
}

uint64_t stream_uint(struct stream *stream, size_t size)
{
	uint64_t value = 0; /* little-endian, as the file is */
	if (stream->bad || debuginfo_read(stream->debuginfo, stream->which, stream->at, &value, size) != size) {
		stream->bad = true;
		return 0;
	}
	stream->at += size;
	return value;
}

static uint64_t leb(struct stream *stream, bool is_signed)
{
	uint64_t value = 0;
	for (unsigned shift = 0;; shift += 7) {
		uint8_t byte = (uint8_t)stream_uint(stream, 1);
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) != 0)
			continue;
		if (is_signed && shift + 7 < 64 && (byte & 0x40) != 0)
			value |= ~UINT64_C(0) << (shift + 7);
		return value;
	}
}

uint64_t stream_uleb(struct stream *stream)
{
	return leb(stream, false);
}

int64_t stream_sleb(struct stream *stream)
{
	return (int64_t)leb(stream, true);
}
