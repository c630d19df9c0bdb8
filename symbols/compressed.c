#include "symbols/compressed.h"

#include <elf.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

struct content_versions content_versions(void)
{
	return (struct content_versions){zlibVersion(), lzma_version_string(), ZSTD_versionString()};
}

enum { CHUNK = 64 * 1024, GNU_HEADER = 12 };

/* Debian's elf.h is older than this number. */
enum { COMPRESSED_ZLIB = ELFCOMPRESS_ZLIB, COMPRESSED_ZSTD = 2 };

/* Minidebuginfo is a symbol table: libc's would be 150 KB. */
static const size_t MINI_BYTES_MAX = 64u * 1024 * 1024;
static const uint64_t LZMA_MEMORY_MAX = 128u * 1024 * 1024;

/* Where a compressed section's stream is, and what it claims. */
struct stream {
	const struct image *image;
	uint64_t at, left; /* in the file */
	uint64_t size; /* after inflation */
	unsigned kind;
};

static bool stream_open(
	const struct image *image, const struct section *section, bool gnu_name, struct stream *stream)
{
	Elf64_Chdr header;
	uint8_t gnu[GNU_HEADER];
	size_t skip;
	*stream = (struct stream){.image = image, .kind = COMPRESSED_ZLIB};
	if ((section->flags & SHF_COMPRESSED) != 0) {
		skip = sizeof header;
		if (section->size < skip || image_read(image, section->offset, &header, skip) != skip)
			return false;
		stream->kind = header.ch_type;
		stream->size = header.ch_size;
	} else {
		/* "ZLIB", then the size, big-endian. */
		skip = sizeof gnu;
		if (!gnu_name || section->size < skip ||
			image_read(image, section->offset, gnu, skip) != skip || memcmp(gnu, "ZLIB", 4) != 0)
			return false;
		for (size_t i = 4; i < sizeof gnu; i++)
			stream->size = stream->size << 8 | gnu[i];
	}
	stream->at = section->offset + skip;
	stream->left = section->size - skip;
	return true;
}

static size_t stream_read(struct stream *stream, uint8_t chunk[CHUNK])
{
	size_t want = stream->left < CHUNK ? (size_t)stream->left : CHUNK;
	size_t got = image_read(stream->image, stream->at, chunk, want);
	stream->at += got;
	stream->left -= got;
	return got;
}

uint64_t content_size(const struct image *image, const struct section *section, bool gnu_name)
{
	struct stream stream;
	if (!gnu_name && (section->flags & SHF_COMPRESSED) == 0)
		return section->size;
	return stream_open(image, section, gnu_name, &stream) ? stream.size : 0;
}

/* True when exactly content->n bytes came out. */
static bool inflate_zlib(struct stream *stream, uint8_t *chunk, const struct content *content)
{
	z_stream z = {0};
	size_t done = 0;
	int state = inflateInit(&z);
	if (state != Z_OK)
		return false;
	while (state == Z_OK && done < content->n) {
		if (z.avail_in == 0) {
			z.next_in = chunk;
			z.avail_in = (unsigned)stream_read(stream, chunk);
			if (z.avail_in == 0)
				break;
		}
		size_t room = content->n - done < UINT32_MAX ? content->n - done : UINT32_MAX;
		z.next_out = content->v + done;
		z.avail_out = (unsigned)room;
		state = inflate(&z, Z_NO_FLUSH);
		done += room - z.avail_out;
		/* Sections that a linker put together are one stream after the other. */
		if (state == Z_STREAM_END && done < content->n)
			state = inflateReset(&z);
	}
	inflateEnd(&z);
	return done == content->n;
}

static bool inflate_zstd(struct stream *stream, uint8_t *chunk, const struct content *content)
{
	ZSTD_DCtx *context = ZSTD_createDCtx();
	ZSTD_outBuffer out = {.dst = content->v, .size = content->n, .pos = 0};
	size_t got;
	if (context == NULL)
		return false;
	while (out.pos < out.size && (got = stream_read(stream, chunk)) > 0) {
		ZSTD_inBuffer in = {.src = chunk, .size = got, .pos = 0};
		while (in.pos < in.size && out.pos < out.size)
			if (ZSTD_isError(ZSTD_decompressStream(context, &out, &in))) {
				ZSTD_freeDCtx(context);
				return false;
			}
	}
	ZSTD_freeDCtx(context);
	return out.pos == out.size;
}

int content_inflate(const struct image *image, const struct section *section, bool gnu_name, uint64_t max,
	struct content *out)
{
	struct stream stream;
	if (!stream_open(image, section, gnu_name, &stream) || stream.size == 0 || stream.size > max ||
		(stream.kind != COMPRESSED_ZLIB && stream.kind != COMPRESSED_ZSTD))
		return -1;
	struct content content = {.n = (size_t)stream.size};
	content.v = mmap(
		NULL, content.n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (content.v == MAP_FAILED)
		return -1;
	uint8_t *chunk = malloc(CHUNK);
	bool done = chunk != NULL && (stream.kind == COMPRESSED_ZSTD ? inflate_zstd(&stream, chunk, &content)
								     : inflate_zlib(&stream, chunk, &content));
	free(chunk);
	if (!done) {
		content_free(&content);
		return -1;
	}
	*out = content;
	return 0;
}

void content_free(struct content *content)
{
	if (content->v != NULL)
		munmap(content->v, content->n);
	*content = (struct content){0};
}

/* ---- minidebuginfo ---- */

/* Room for more; false at the limit. */
static bool mini_grow(uint8_t **bytes, size_t *cap)
{
	size_t larger = *cap * 2;
	uint8_t *moved = larger <= MINI_BYTES_MAX ? realloc(*bytes, larger) : NULL;
	if (moved == NULL)
		return false;
	*bytes = moved;
	*cap = larger;
	return true;
}

/* The whole stream on the heap, or NULL. */
static uint8_t *mini_inflate(struct stream *stream, uint8_t *chunk, size_t *len)
{
	lzma_stream z = LZMA_STREAM_INIT;
	size_t cap = CHUNK;
	uint8_t *bytes = malloc(cap);
	lzma_ret state = lzma_stream_decoder(&z, LZMA_MEMORY_MAX, 0);
	*len = 0;
	while (bytes != NULL && state == LZMA_OK) {
		if (z.avail_in == 0) {
			z.next_in = chunk;
			z.avail_in = stream_read(stream, chunk);
			if (z.avail_in == 0)
				break;
		}
		if (*len == cap && !mini_grow(&bytes, &cap))
			break;
		z.next_out = bytes + *len;
		z.avail_out = cap - *len;
		state = lzma_code(&z, LZMA_RUN);
		*len = cap - z.avail_out;
	}
	lzma_end(&z);
	if (state == LZMA_STREAM_END)
		return bytes;
	free(bytes);
	return NULL;
}

struct image *content_minidebuginfo(const struct image *image)
{
	struct section section;
	struct error err;
	size_t len;
	if (!image_section(image, ".gnu_debugdata", &section) || section.size == 0)
		return NULL;
	struct stream stream = {.image = image, .at = section.offset, .left = section.size};
	uint8_t *chunk = malloc(CHUNK);
	uint8_t *bytes = chunk != NULL ? mini_inflate(&stream, chunk, &len) : NULL;
	struct image *mini = bytes != NULL ? image_from_memory(bytes, len, image_path(image), &err) : NULL;
	free(bytes);
	free(chunk);
	return mini;
}

uint32_t content_crc32(const struct image *image)
{
	uLong crc = crc32(0, NULL, 0);
	uint64_t at = 0;
	size_t got;
	uint8_t *chunk = malloc(CHUNK);
	while (chunk != NULL && (got = image_read(image, at, chunk, CHUNK)) > 0) {
		crc = crc32(crc, chunk, (unsigned)got);
		at += got;
	}
	free(chunk);
	return (uint32_t)crc;
}
