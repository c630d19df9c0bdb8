/* One ELF file, this very program, as a file and as bytes in memory; and what is left of it when it is cut or
 * is none. */
#include "unwind/image.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint8_t marker[] = "found by its address, not by its name";

static struct image *open_self(void)
{
	struct error err;
	struct image *image = image_open(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), "self", &err);
	assert_non_null(image);
	return image;
}

/* Where this program lies, less where it was linked to lie. */
static uint64_t load_bias(const struct image *image)
{
	struct section headers;
	assert_true(image_segment(image, PT_PHDR, &headers));
	FILE *file = fopen("/proc/self/auxv", "re");
	Elf64_auxv_t entry = {0};
	assert_non_null(file);
	while (fread(&entry, sizeof entry, 1, file) == 1 && entry.a_type != AT_PHDR)
		;
	fclose(file);
	assert_int_equal(entry.a_type, AT_PHDR);
	return entry.a_un.a_val - headers.vaddr;
}

static void reads_by_address(void **state)
{
	(void)state;
	struct image *image = open_self();
	uint8_t there[sizeof marker];
	uint64_t vaddr = (uint64_t)(uintptr_t)marker - load_bias(image);
	assert_int_equal(image_read_vaddr(image, vaddr, there, sizeof there), sizeof there);
	assert_memory_equal(there, marker, sizeof marker);
	assert_int_equal(image_read_vaddr(image, UINT64_MAX - 4, there, sizeof there), 0);
	image_free(image);
}

static void code_has_the_address_of_its_offset(void **state)
{
	(void)state;
	struct image *image = open_self();
	struct section text;
	uint64_t vaddr;
	assert_true(image_section(image, ".text", &text));
	assert_true(image_offset_to_vaddr(image, text.offset + 5, &vaddr));
	assert_int_equal(vaddr, text.vaddr + 5);
	assert_false(image_offset_to_vaddr(image, UINT64_MAX, &vaddr));
	assert_false(image_section(image, ".no such section", &text));
	assert_false(image_section(image, ".bss", &text));
	image_free(image);
}

static void memory_and_file_agree(void **state)
{
	(void)state;
	struct error err;
	struct image *image = open_self();
	size_t len;
	assert_null(image_bytes(image, &len));
	uint8_t *bytes = malloc(len);
	assert_non_null(bytes);
	assert_int_equal(image_read(image, 0, bytes, len), len);
	assert_int_equal(image_read(image, len - 1, bytes + len - 1, 9), 1);
	assert_int_equal(image_read(image, len, &len, 1), 0);
	struct image *copy = image_from_memory(bytes, len, "copy", &err);
	assert_non_null(copy);
	assert_int_equal(image_fd(copy), -1);
	assert_string_equal(image_build_id(copy), image_build_id(image));
	struct section a, b;
	assert_true(image_section(image, ".eh_frame", &a) && image_section(copy, ".eh_frame", &b));
	assert_int_equal(a.offset, b.offset);
	image_free(copy);
	free(bytes);
	image_free(image);
}

/* Each prefix of the file, as a block of just its size, so that a read beyond it is seen by AddressSanitizer.
 */
static void survives_being_cut(void **state)
{
	(void)state;
	struct error err;
	struct image *image = open_self();
	size_t len;
	image_bytes(image, &len);
	for (size_t cut = 0; cut < len; cut += cut < 1024 ? 7 : len / 64) {
		uint8_t *bytes = malloc(cut > 0 ? cut : 1), there[64];
		struct section section;
		assert_non_null(bytes);
		assert_int_equal(image_read(image, 0, bytes, cut), cut);
		struct image *copy = image_from_memory(bytes, cut, "cut", &err);
		free(bytes);
		assert_true(cut >= sizeof(Elf64_Ehdr) ? copy != NULL : copy == NULL);
		if (copy != NULL && image_section(copy, ".eh_frame", &section))
			assert_true(section.offset <= cut && section.size <= cut - section.offset);
		if (copy != NULL)
			image_read_vaddr(copy, (uint64_t)cut, there, sizeof there);
		image_free(copy);
	}
	image_free(image);
}

static void refuses_what_is_no_image(void **state)
{
	(void)state;
	struct error err;
	int ends[2];
	assert_null(image_open(open("/proc/self/exe", O_PATH | O_DIRECTORY), "gone", &err));
	assert_null(image_open(open("/dev/null", O_RDONLY), "device", &err));
	assert_non_null(strstr(err.message, "device"));
	assert_int_equal(pipe(ends), 0);
	assert_null(image_open(ends[0], "pipe", &err));
	assert_int_equal(fcntl(ends[0], F_GETFD), -1); /* taken over, and closed */
	close(ends[1]);
	assert_null(image_from_memory(
		"\177ELF but no more of it than this, not even a header ............", 64, "bad", &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_by_address),
		cmocka_unit_test(code_has_the_address_of_its_offset),
		cmocka_unit_test(memory_and_file_agree),
		cmocka_unit_test(survives_being_cut),
		cmocka_unit_test(refuses_what_is_no_image),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
