/* An ELF file from memory: sections, segments, reads beyond every border, and both tables of rows. */
#include "tests/fuzz/fuzz.h"
#include "unwind/image.h"
#include "unwind/rows.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

static void read_around(const struct image *image, const struct section *section, size_t size)
{
	uint8_t buffer[64];
	if (section->offset > size || section->size > size - section->offset)
		abort();
	image_read(image, section->offset, buffer, sizeof buffer);
	image_read(image, section->offset + section->size - 1, buffer, sizeof buffer);
	image_read_vaddr(image, section->vaddr, buffer, sizeof buffer);
	image_read_vaddr(image, section->vaddr + section->size - 1, buffer, sizeof buffer);
}

static void read_all(const struct image *image, size_t size)
{
	static const char *const names[] = {".text", ".eh_frame", ".debug_frame", ".dynsym", ""};
	struct section section;
	uint64_t vaddr;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (image_section(image, names[i], &section))
			read_around(image, &section, size);
	for (uint32_t type = PT_NULL; type <= PT_TLS; type++)
		if (image_segment(image, type, &section))
			read_around(image, &section, size);
	for (uint64_t offset = 0; offset < 0x10000; offset += 999)
		image_offset_to_vaddr(image, offset, &vaddr);
	for (int debug = 0; debug < 2; debug++) {
		struct rows *rows = rows_compile(image, debug);
		if (rows == NULL)
			continue;
		rows_find(rows, 0x1000);
		rows_free(rows);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct error err;
	struct image *image = image_from_memory(bytes, len, "fuzz", &err);
	if (image == NULL)
		return 0;
	if (strlen(image_build_id(image)) % 2 != 0)
		abort();
	read_all(image, len);
	image_free(image);
	return 0;
}
