#include "tests/fuzz/elf.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { SECTIONS_MAX = 32, TEXT_BYTES = 0x10000 };

struct builder {
	Elf64_Shdr headers[SECTIONS_MAX + 3]; /* the null section, .text, ..., the names */
	size_t n;
	char names[1024];
	size_t names_len;
};

static void add(struct builder *builder, const char *name, Elf64_Shdr header)
{
	header.sh_name = (Elf64_Word)builder->names_len;
	memcpy(builder->names + builder->names_len, name, strlen(name) + 1);
	builder->names_len += strlen(name) + 1;
	builder->headers[builder->n++] = header;
}

static size_t take_section(struct builder *builder, const uint8_t *input, size_t at, size_t len,
	const struct elf_kind *kinds, size_t n)
{
	const struct elf_kind *kind = &kinds[input[at] % n];
	size_t size = input[at + 1] | (size_t)input[at + 2] << 8;
	at += 3;
	if (size > len - at)
		size = len - at;
	add(builder, kind->name,
		(Elf64_Shdr){.sh_type = kind->type,
			.sh_flags = kind->vaddr != 0 ? SHF_ALLOC | SHF_EXECINSTR : 0,
			.sh_addr = kind->vaddr,
			.sh_offset = sizeof(Elf64_Ehdr) + at,
			.sh_size = size});
	return at + size;
}

static void put_segment(uint8_t *at, const Elf64_Shdr *section)
{
	Elf64_Phdr segment = {.p_type = PT_LOAD,
		.p_flags = PF_R | PF_X,
		.p_offset = section->sh_offset,
		.p_vaddr = section->sh_addr,
		.p_filesz = section->sh_size,
		.p_memsz = section->sh_size};
	memcpy(at, &segment, sizeof segment);
}

struct image *elf_from_input(const uint8_t *input, size_t len, const struct elf_kind *kinds, size_t n_kinds)
{
	struct builder builder = {.n = 1, .names_len = 1};
	struct error err;
	add(&builder, ".text",
		(Elf64_Shdr){.sh_type = SHT_NOBITS,
			.sh_flags = SHF_ALLOC | SHF_EXECINSTR,
			.sh_addr = ELF_TEXT,
			.sh_size = TEXT_BYTES});
	for (size_t at = 0; len - at > 3 && builder.n < SECTIONS_MAX;)
		at = take_section(&builder, input, at, len, kinds, n_kinds);
	size_t names_at = sizeof(Elf64_Ehdr) + len, table_at = names_at + sizeof builder.names;
	add(&builder, ".shstrtab",
		(Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_offset = names_at, .sh_size = sizeof builder.names});
	size_t segments_at = table_at + builder.n * sizeof *builder.headers;
	size_t total = segments_at + SECTIONS_MAX * sizeof(Elf64_Phdr);
	uint8_t *bytes = calloc(total, 1);
	if (bytes == NULL)
		return NULL;
	Elf64_Ehdr header = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_shoff = table_at,
		.e_phoff = segments_at,
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = SECTIONS_MAX,
		.e_ehsize = sizeof header,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = (Elf64_Half)builder.n,
		.e_shstrndx = (Elf64_Half)(builder.n - 1)};
	memcpy(bytes, &header, sizeof header);
	if (len > 0)
		memcpy(bytes + sizeof header, input, len);
	memcpy(bytes + names_at, builder.names, sizeof builder.names);
	/* What is in memory lies in a segment of its own; the other ones stay PT_NULL. */
	for (size_t i = 0; i < SECTIONS_MAX && i < builder.n; i++)
		if (builder.headers[i].sh_type == SHT_PROGBITS && builder.headers[i].sh_addr != 0)
			put_segment(bytes + segments_at + i * sizeof(Elf64_Phdr), &builder.headers[i]);
	memcpy(bytes + table_at, builder.headers, builder.n * sizeof *builder.headers);
	struct image *image = image_from_memory(bytes, total, "fuzz", &err);
	free(bytes);
	return image;
}
