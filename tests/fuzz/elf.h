/* A fuzz target's input as an ELF image: a sequence of sections, each a byte that says which (an index of the
 * target's names), two bytes of length, and the contents. Fuzzers find more in the contents than in headers,
 * which fuzz_image is for. */
#ifndef FUZZ_ELF_H
#define FUZZ_ELF_H

#include "unwind/image.h"

/* One kind of section; `vaddr` 0: not in memory. */
struct elf_kind {
	const char *name;
	uint32_t type; /* SHT_* */
	uint64_t vaddr;
};

/* The image; .text, of 64 KB at ELF_TEXT, is always there. NULL when memory is out. */
enum { ELF_TEXT = 0x10000 };
struct image *elf_from_input(const uint8_t *input, size_t len, const struct elf_kind *kinds, size_t n_kinds);

#endif
