#include "unwind/image.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	PROGRAM_HEADERS_MAX = 256,
	SECTIONS_MAX = 65536,
	NAMES_MAX = 1 << 20, /* bytes of section names */
	NOTES_MAX = 1 << 16,
	BUILD_ID_MAX = 64,
};

struct image {
	int fd;
	uint8_t *bytes; /* of an image from memory */
	uint64_t size;
	struct timespec written; /* the file's last change, when it was opened */
	char *path;
	char build_id[2 * BUILD_ID_MAX + 1];
	Elf64_Phdr *segments;
	size_t n_segments;
	Elf64_Shdr *sections;
	size_t n_sections;
	char *names; /* terminated */
	size_t names_len;
};

size_t image_read(const struct image *image, uint64_t offset, void *buffer, size_t len)
{
	if (offset >= image->size)
		return 0;
	if (len > image->size - offset)
		len = (size_t)(image->size - offset);
	if (image->bytes != NULL) {
		memcpy(buffer, image->bytes + offset, len);
		return len;
	}
	size_t got = 0;
	while (got < len) {
		ssize_t n = pread(image->fd, (uint8_t *)buffer + got, len - got, (off_t)(offset + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	return got;
}

/* `n` records of `size` bytes at `offset`, on the heap; NULL unless all are there. */
static void *read_table(const struct image *image, uint64_t offset, size_t n, size_t size)
{
	void *table = n > 0 ? calloc(n, size) : NULL;
	if (table != NULL && image_read(image, offset, table, n * size) != n * size) {
		free(table);
		return NULL;
	}
	return table;
}

static void read_segments(struct image *image, const Elf64_Ehdr *header)
{
	if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum > PROGRAM_HEADERS_MAX)
		return;
	image->segments = read_table(image, header->e_phoff, header->e_phnum, sizeof(Elf64_Phdr));
	image->n_segments = image->segments != NULL ? header->e_phnum : 0;
}

/* More than 0xff00 sections, or their names in a section beyond it: the numbers stand in section 0 (the ELF
 * specification, section header). */
static void extended_numbers(const struct image *image, const Elf64_Ehdr *header, uint64_t *n, uint32_t *names)
{
	Elf64_Shdr zero;
	*n = header->e_shnum;
	*names = header->e_shstrndx;
	if ((*n != 0 && *names != SHN_XINDEX) ||
		image_read(image, header->e_shoff, &zero, sizeof zero) != sizeof zero)
		return;
	if (*n == 0)
		*n = zero.sh_size;
	if (*names == SHN_XINDEX)
		*names = zero.sh_link;
}

static void read_sections(struct image *image, const Elf64_Ehdr *header)
{
	uint64_t n;
	uint32_t names;
	if (header->e_shoff == 0 || header->e_shentsize != sizeof(Elf64_Shdr))
		return;
	extended_numbers(image, header, &n, &names);
	if (n > SECTIONS_MAX || names >= n)
		return;
	Elf64_Shdr *sections = read_table(image, header->e_shoff, (size_t)n, sizeof(Elf64_Shdr));
	if (sections == NULL)
		return;
	size_t len = sections[names].sh_size < NAMES_MAX ? (size_t)sections[names].sh_size : NAMES_MAX;
	image->names = calloc(len + 1, 1);
	if (image->names == NULL) {
		free(sections);
		return;
	}
	image->names_len = image_read(image, sections[names].sh_offset, image->names, len);
	image->sections = sections;
	image->n_sections = (size_t)n;
}

/* Searches the notes in `bytes` for the build-id (elf(5), "Notes"; names and descriptors are padded to 4). */
static bool find_build_id(const uint8_t *bytes, size_t len, char *build_id)
{
	Elf64_Nhdr note;
	while (len >= sizeof note) {
		memcpy(&note, bytes, sizeof note);
		bytes += sizeof note;
		len -= sizeof note;
		size_t name = ((size_t)note.n_namesz + 3) & ~(size_t)3,
		       desc = ((size_t)note.n_descsz + 3) & ~(size_t)3;
		if (name > len || desc > len - name)
			return false;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(bytes, "GNU", 4) == 0 &&
			note.n_descsz <= BUILD_ID_MAX) {
			for (size_t i = 0; i < note.n_descsz; i++)
				snprintf(build_id + 2 * i, 3, "%02x", bytes[name + i]);
			return true;
		}
		bytes += name + desc;
		len -= name + desc;
	}
	return false;
}

static bool read_notes(struct image *image, uint64_t offset, uint64_t size)
{
	size_t len = size < NOTES_MAX ? (size_t)size : NOTES_MAX;
	uint8_t *bytes = malloc(len > 0 ? len : 1);
	if (bytes == NULL)
		return false;
	bool found = find_build_id(bytes, image_read(image, offset, bytes, len), image->build_id);
	free(bytes);
	return found;
}

static void read_build_id(struct image *image)
{
	for (size_t i = 0; i < image->n_segments; i++)
		if (image->segments[i].p_type == PT_NOTE &&
			read_notes(image, image->segments[i].p_offset, image->segments[i].p_filesz))
			return;
	for (size_t i = 0; i < image->n_sections; i++)
		if (image->sections[i].sh_type == SHT_NOTE &&
			read_notes(image, image->sections[i].sh_offset, image->sections[i].sh_size))
			return;
}

static int read_all(struct image *image, struct error *err)
{
	Elf64_Ehdr header;
	if (image_read(image, 0, &header, sizeof header) != sizeof header ||
		memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return error_set(err, "%s is not an ELF file", image->path);
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
		header.e_machine != EM_X86_64)
		return error_set(err, "%s is not an ELF file for x86-64", image->path);
	read_segments(image, &header);
	read_sections(image, &header);
	read_build_id(image);
	return 0;
}

static struct image *finish(struct image *image, const char *path, struct error *err)
{
	image->path = strdup(path);
	if (image->path == NULL) {
		image_free(image);
		error_set(err, "memory is out");
		return NULL;
	}
	if (read_all(image, err) != 0) {
		image_free(image);
		return NULL;
	}
	return image;
}

struct image *image_open(int fd, const char *path, struct error *err)
{
	struct stat st;
	struct image *image = calloc(1, sizeof *image);
	if (image == NULL || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		error_set(err, "%s is not a regular file", path);
		close(fd);
		free(image);
		return NULL;
	}
	image->fd = fd;
	image->size = (uint64_t)st.st_size;
	image->written = st.st_mtim;
	return finish(image, path, err);
}

struct image *image_from_memory(const void *bytes, size_t len, const char *path, struct error *err)
{
	struct image *image = calloc(1, sizeof *image);
	if (image == NULL || (image->bytes = malloc(len > 0 ? len : 1)) == NULL) {
		free(image);
		error_set(err, "memory is out");
		return NULL;
	}
	image->fd = -1;
	image->size = len;
	memcpy(image->bytes, bytes, len);
	return finish(image, path, err);
}

void image_free(struct image *image)
{
	if (image == NULL)
		return;
	if (image->fd >= 0)
		close(image->fd);
	free(image->bytes);
	free(image->path);
	free(image->segments);
	free(image->sections);
	free(image->names);
	free(image);
}

bool image_has_changed(const struct image *image)
{
	struct stat st;
	return image->fd >= 0 && (fstat(image->fd, &st) != 0 || (uint64_t)st.st_size != image->size ||
					 st.st_mtim.tv_sec != image->written.tv_sec ||
					 st.st_mtim.tv_nsec != image->written.tv_nsec);
}

const char *image_path(const struct image *image)
{
	return image->path;
}

const char *image_build_id(const struct image *image)
{
	return image->build_id;
}

int image_fd(const struct image *image)
{
	return image->fd;
}

const uint8_t *image_bytes(const struct image *image, size_t *len)
{
	*len = (size_t)image->size;
	return image->bytes;
}

size_t image_read_vaddr(const struct image *image, uint64_t vaddr, void *buffer, size_t len)
{
	for (size_t i = 0; i < image->n_segments; i++) {
		const Elf64_Phdr *segment = &image->segments[i];
		if (segment->p_type != PT_LOAD || vaddr < segment->p_vaddr ||
			vaddr - segment->p_vaddr >= segment->p_memsz)
			continue;
		uint64_t at = vaddr - segment->p_vaddr;
		if (len > segment->p_memsz - at)
			len = (size_t)(segment->p_memsz - at);
		memset(buffer, 0, len);
		if (at < segment->p_filesz) {
			uint64_t in_file = segment->p_filesz - at;
			image_read(
				image, segment->p_offset + at, buffer, in_file < len ? (size_t)in_file : len);
		}
		return len;
	}
	return 0;
}

bool image_section(const struct image *image, const char *name, struct section *out)
{
	for (size_t i = 0; i < image->n_sections; i++) {
		const Elf64_Shdr *section = &image->sections[i];
		if (section->sh_name >= image->names_len || strcmp(image->names + section->sh_name, name) != 0)
			continue;
		if (section->sh_type != SHT_NOBITS &&
			(section->sh_offset > image->size ||
				section->sh_size > image->size - section->sh_offset))
			return false;
		if (section->sh_type == SHT_NOBITS)
			return false;
		*out = (struct section){section->sh_addr, section->sh_offset, section->sh_size,
			section->sh_flags, section->sh_type};
		return true;
	}
	return false;
}

bool image_segment(const struct image *image, uint32_t type, struct section *out)
{
	for (size_t i = 0; i < image->n_segments; i++) {
		const Elf64_Phdr *segment = &image->segments[i];
		if (segment->p_type != type)
			continue;
		if (segment->p_offset > image->size || segment->p_filesz > image->size - segment->p_offset)
			return false;
		*out = (struct section){segment->p_vaddr, segment->p_offset, segment->p_filesz, 0, 0};
		return true;
	}
	return false;
}

bool image_load(const struct image *image, size_t i, struct section *out)
{
	for (size_t k = 0; k < image->n_segments; k++) {
		const Elf64_Phdr *segment = &image->segments[k];
		if (segment->p_type != PT_LOAD || i-- > 0)
			continue;
		uint64_t left = segment->p_offset < image->size ? image->size - segment->p_offset : 0;
		uint64_t flags = ((segment->p_flags & PF_W) != 0 ? SHF_WRITE : 0) |
				 ((segment->p_flags & PF_X) != 0 ? SHF_EXECINSTR : 0);
		*out = (struct section){segment->p_vaddr, segment->p_offset,
			segment->p_filesz < left ? segment->p_filesz : left, flags, SHT_PROGBITS};
		return true;
	}
	return false;
}

bool image_has_sections(const struct image *image)
{
	return image->n_sections > 0;
}

bool image_offset_to_vaddr(const struct image *image, uint64_t offset, uint64_t *vaddr)
{
	/* A mapping begins at a page: its first bytes may lie before the segment's own first byte. */
	enum { PAGE = 4096 };
	for (size_t i = 0; i < image->n_segments; i++) {
		const Elf64_Phdr *segment = &image->segments[i];
		uint64_t start = segment->p_offset & ~(uint64_t)(PAGE - 1);
		uint64_t lead = segment->p_offset - start;
		if (segment->p_type != PT_LOAD || (segment->p_flags & PF_X) == 0 || offset < start ||
			offset - start >= segment->p_filesz + lead)
			continue;
		*vaddr = segment->p_vaddr - lead + (offset - start);
		return true;
	}
	return false;
}

/* The executable segments: how many, how many have bytes in the file, and the one to take by its size. */
struct code_segments {
	size_t n, in_file, of_size;
	const Elf64_Phdr *first, *fitting;
};

static struct code_segments code_segments(const struct image *image, uint64_t size)
{
	enum { PAGE = 4096 };
	struct code_segments found = {0};
	for (size_t i = 0; i < image->n_segments; i++) {
		const Elf64_Phdr *segment = &image->segments[i];
		if (segment->p_type != PT_LOAD || (segment->p_flags & PF_X) == 0 ||
			segment->p_memsz > UINT64_MAX - 2 * (uint64_t)PAGE)
			continue;
		uint64_t lead = segment->p_vaddr % PAGE;
		uint64_t pages = (lead + segment->p_memsz + PAGE - 1) / PAGE;
		if (found.n++ == 0)
			found.first = segment;
		found.in_file += segment->p_filesz > 0;
		if (pages == (size + PAGE - 1) / PAGE && found.of_size++ == 0)
			found.fitting = segment;
	}
	return found;
}

bool image_mapped_to_vaddr(const struct image *image, uint64_t start, uint64_t end, uint64_t offset,
	uint64_t address, uint64_t *vaddr)
{
	enum { PAGE = 4096 };
	if (address < start || address >= end)
		return false;
	uint64_t in_mapping = address - start;
	struct code_segments found = code_segments(image, end - start);
	if (found.in_file > 0)
		return in_mapping <= UINT64_MAX - offset &&
		       image_offset_to_vaddr(image, in_mapping + offset, vaddr);
	const Elf64_Phdr *segment = found.of_size == 1 ? found.fitting : found.n == 1 ? found.first : NULL;
	if (segment == NULL || in_mapping >= segment->p_vaddr % PAGE + segment->p_memsz)
		return false;
	*vaddr = segment->p_vaddr - segment->p_vaddr % PAGE + in_mapping;
	return true;
}
