/* Bounded reads of one ELF file (x86-64, little-endian): what the unwinder and the symbolizer need to know of
 * it. The file belongs to the target and is not trusted: every offset is checked against the file's size,
 * sections and notes have limits, and nothing is mapped: a file truncated meanwhile gives a short read, not
 * SIGBUS. */
#ifndef UNWIND_IMAGE_H
#define UNWIND_IMAGE_H

#include "unwind/error.h"
#include "unwind/types.h"

struct image;

/* A section by its header: file offset and size, address in the ELF's own (link-time) addresses. */
struct section {
	uint64_t vaddr, offset, size;
	uint64_t flags; /* SHF_*; SHF_COMPRESSED sections begin with an Elf64_Chdr */
	uint32_t type; /* SHT_* */
};

/* Opens the image in `fd`, which must be a regular file, and takes the descriptor over in every case (it is
 * closed on failure). `path` is copied: the name shown to people. */
struct image *image_open(int fd, const char *path, struct error *err);
/* The same for bytes in memory (the vdso); they are copied. */
struct image *image_from_memory(const void *bytes, size_t len, const char *path, struct error *err);
void image_free(struct image *image);

/* Was the file written to since it was opened? */
bool image_has_changed(const struct image *image);

const char *image_path(const struct image *image);
/* The GNU build-id in lowercase hex, "" when the file has none. */
const char *image_build_id(const struct image *image);
/* The descriptor, borrowed, positioned anywhere; -1 for an image from memory. */
int image_fd(const struct image *image);
/* The bytes of an image from memory, borrowed; NULL for a file. *len gets the size in both cases. */
const uint8_t *image_bytes(const struct image *image, size_t *len);

/* Copies up to `len` bytes at file offset `offset`; returns how many there were (0 beyond the end). */
size_t image_read(const struct image *image, uint64_t offset, void *buffer, size_t len);
/* Copies up to `len` bytes of a PT_LOAD segment at link-time address `vaddr` as the file has them (no
 * relocations; bss is zero). */
size_t image_read_vaddr(const struct image *image, uint64_t vaddr, void *buffer, size_t len);
/* Finds a section by name; returns false when there is none or it does not lie in the file. */
bool image_section(const struct image *image, const char *name, struct section *out);
/* Finds the first program header of `type` (PT_GNU_EH_FRAME, PT_DYNAMIC ...) as a section without a name. */
bool image_segment(const struct image *image, uint32_t type, struct section *out);
/* The PT_LOAD segment number `i`, its bytes in the file, as a section (flags: SHF_WRITE, SHF_EXECINSTR); false
 * when there are fewer. */
bool image_load(const struct image *image, size_t i, struct section *out);
/* False when the file has no section headers (some are stripped of them), or damaged ones. */
bool image_has_sections(const struct image *image);
/* Link-time address of file offset `offset`, through the PT_LOAD that covers it; false when none does. For any
 * mapping of this file: vaddr = x - map.start + map.offset, then this (the ELF specification, program header).
 */
bool image_offset_to_vaddr(const struct image *image, uint64_t offset, uint64_t *vaddr);
/* The same for `address` in the executable mapping [start, end) at file offset `offset` of the program that
 * this is the file of, or the debug file of. objcopy --only-keep-debug leaves no offsets in the program
 * headers: there it is the executable segment of the mapping's size, or the only one. */
bool image_mapped_to_vaddr(const struct image *image, uint64_t start, uint64_t end, uint64_t offset,
	uint64_t address, uint64_t *vaddr);

#endif
