/* Compressed parts of ELF files, within limits, and the checksum of whole ones. The only user of zlib, zstd and
 * liblzma in this room. Nothing here trusts a size that stands in a file. */
#ifndef SYMBOLS_COMPRESSED_H
#define SYMBOLS_COMPRESSED_H

#include "unwind/image.h"

/* The versions of the libraries, for people. Static storage. */
struct content_versions {
	const char *zlib, *lzma, *zstd;
};
struct content_versions content_versions(void);

/* A section's bytes as they were before compression; flat memory from mmap(2), to be given back with
 * content_free(). */
struct content {
	uint8_t *v;
	size_t n;
};

/* How long the section will be when it is not compressed any more, as it claims: SHF_COMPRESSED (zlib, zstd)
 * or, by `gnu_name`, an old .zdebug section; else its size. 0 when it cannot be read. Source: gABI, "Section
 * Compression"; binutils, bfd/compress.c for the old form. */
uint64_t content_size(const struct image *image, const struct section *section, bool gnu_name);
/* Inflates a compressed section whose content_size() is at most `max`. -1 with *out untouched when it is
 * damaged, longer or shorter than it claims, of an unknown kind, or when memory is out. */
int content_inflate(const struct image *image, const struct section *section, bool gnu_name, uint64_t max,
	struct content *out);
void content_free(struct content *content);

/* The small ELF file with the names of a stripped one in its section .gnu_debugdata (xz); NULL when there is
 * none or it is damaged. The caller frees it. Source: GDB manual, "MiniDebugInfo". */
struct image *content_minidebuginfo(const struct image *image);

/* The CRC-32 of all bytes of the file, as in a section .gnu_debuglink. */
uint32_t content_crc32(const struct image *image);

#endif
