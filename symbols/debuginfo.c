#include "symbols/debuginfo.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* All sections together, uncompressed: a 3 MB file can ask for 3 GB. */
static const uint64_t BYTES_MAX = 1024u * 1024 * 1024;

static const char *const section_names[DEBUG_SECTIONS] = {
	[DEBUG_INFO] = ".debug_info",
	[DEBUG_TYPES] = ".debug_types",
	[DEBUG_ABBREV] = ".debug_abbrev",
	[DEBUG_LINE] = ".debug_line",
	[DEBUG_LINE_STR] = ".debug_line_str",
	[DEBUG_STR] = ".debug_str",
	[DEBUG_STR_OFFSETS] = ".debug_str_offsets",
	[DEBUG_ADDR] = ".debug_addr",
	[DEBUG_RANGES] = ".debug_ranges",
	[DEBUG_RNGLISTS] = ".debug_rnglists",
};

enum {
	NAMES_BYTES = 256, /* the section names of our own image: 132 bytes */
	HEADERS = DEBUG_SECTIONS + 2 /* the null section first, the names last */
};

/* The image that is made. */
struct head {
	Elf64_Ehdr ehdr;
	Elf64_Shdr shdr[HEADERS];
	char names[NAMES_BYTES];
};

struct debuginfo {
	void *memory; /* struct head, then the sections' bytes */
	size_t len;
	Elf *elf;
	Dwarf *dwarf;
	struct debuginfo *shared; /* dwz; may be NULL */
};

/* What is taken from the file. */
struct plan {
	struct section sections[DEBUG_SECTIONS]; /* size 0: not there */
	uint64_t at[DEBUG_SECTIONS]; /* offset in the image that is made; libelf changes the headers there */
	uint64_t bytes; /* as stored */
};

static bool plan_make(const struct image *image, struct plan *plan)
{
	uint64_t uncompressed = 0;
	for (size_t i = 0; i < DEBUG_SECTIONS; i++) {
		struct section *section = &plan->sections[i];
		if (!image_section(image, section_names[i], section) || section->type == SHT_NOBITS)
			section->size = 0;
		uint64_t size = section->size;
		if (size != 0 && (section->flags & SHF_COMPRESSED) != 0) {
			Elf64_Chdr chdr;
			if (image_read(image, section->offset, &chdr, sizeof(chdr)) != sizeof(chdr) ||
				chdr.ch_type != ELFCOMPRESS_ZLIB)
				return false;
			size = chdr.ch_size;
		}
		if (section->size > BYTES_MAX - plan->bytes || size > BYTES_MAX - uncompressed)
			return false;
		uncompressed += size;
		plan->at[i] = sizeof(struct head) + plan->bytes;
		plan->bytes += (section->size + 7) & ~UINT64_C(7);
	}
	return plan->sections[DEBUG_INFO].size != 0 && plan->sections[DEBUG_ABBREV].size != 0;
}

static void head_make(struct head *head, const struct plan *plan)
{
	size_t name_at = 1;
	memcpy(head->ehdr.e_ident, ELFMAG, SELFMAG);
	head->ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	head->ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
	head->ehdr.e_ident[EI_VERSION] = EV_CURRENT;
	head->ehdr.e_type = ET_DYN;
	head->ehdr.e_machine = EM_X86_64;
	head->ehdr.e_version = EV_CURRENT;
	head->ehdr.e_shoff = offsetof(struct head, shdr);
	head->ehdr.e_ehsize = sizeof(head->ehdr);
	head->ehdr.e_shentsize = sizeof(head->shdr[0]);
	head->ehdr.e_shnum = HEADERS;
	head->ehdr.e_shstrndx = HEADERS - 1;
	for (size_t i = 0; i < DEBUG_SECTIONS; i++) {
		const struct section *section = &plan->sections[i];
		Elf64_Shdr *shdr = &head->shdr[i + 1];
		if (section->size == 0)
			continue; /* stays SHT_NULL */
		shdr->sh_type = SHT_PROGBITS;
		shdr->sh_name = (Elf64_Word)name_at;
		shdr->sh_flags = section->flags & SHF_COMPRESSED;
		shdr->sh_offset = plan->at[i];
		shdr->sh_size = section->size;
		shdr->sh_addralign = 1;
		memcpy(head->names + name_at, section_names[i], strlen(section_names[i]) + 1);
		name_at += strlen(section_names[i]) + 1;
	}
	Elf64_Shdr *names = &head->shdr[HEADERS - 1];
	names->sh_type = SHT_STRTAB;
	names->sh_offset = offsetof(struct head, names);
	names->sh_size = sizeof(head->names);
	names->sh_addralign = 1;
}

static bool sections_copy(const struct debuginfo *debuginfo, const struct image *image, const struct plan *plan)
{
	for (size_t i = 0; i < DEBUG_SECTIONS; i++) {
		size_t size = (size_t)plan->sections[i].size;
		void *to = (char *)debuginfo->memory + plan->at[i];
		if (size != 0 && image_read(image, plan->sections[i].offset, to, size) != size)
			return false;
	}
	return true;
}

/* libelf keeps the inflated copies: the compressed bytes can go. */
static void compressed_drop(const struct debuginfo *debuginfo, const struct plan *plan)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	for (size_t i = 0; i < DEBUG_SECTIONS; i++) {
		uint64_t lo = (plan->at[i] + page - 1) / page * page;
		uint64_t hi = (plan->at[i] + plan->sections[i].size) / page * page;
		if ((plan->sections[i].flags & SHF_COMPRESSED) != 0 && lo < hi)
			madvise((char *)debuginfo->memory + lo, (size_t)(hi - lo), MADV_DONTNEED);
	}
}

static struct debuginfo *debuginfo_load(const struct image *image)
{
	struct plan plan = {0};
	if (!plan_make(image, &plan))
		return NULL;
	struct debuginfo *debuginfo = calloc(1, sizeof(*debuginfo));
	if (debuginfo == NULL)
		return NULL;
	debuginfo->len = sizeof(struct head) + (size_t)plan.bytes;
	debuginfo->memory = mmap(NULL, debuginfo->len, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (debuginfo->memory == MAP_FAILED) {
		debuginfo->memory = NULL;
		goto fail;
	}
	head_make(debuginfo->memory, &plan);
	if (!sections_copy(debuginfo, image, &plan))
		goto fail;
	elf_version(EV_CURRENT);
	debuginfo->elf = elf_memory(debuginfo->memory, debuginfo->len);
	if (debuginfo->elf == NULL)
		goto fail;
	debuginfo->dwarf = dwarf_begin_elf(debuginfo->elf, DWARF_C_READ, NULL);
	if (debuginfo->dwarf == NULL)
		goto fail;
	compressed_drop(debuginfo, &plan);
	return debuginfo;
fail:
	debuginfo_close(debuginfo);
	return NULL;
}

struct debuginfo *debuginfo_open(const struct image *image, const struct image *shared_image)
{
	struct debuginfo *debuginfo = debuginfo_load(image);
	if (debuginfo == NULL)
		return NULL;
	if (shared_image != NULL)
		debuginfo->shared = debuginfo_load(shared_image);
	if (debuginfo->shared != NULL)
		dwarf_setalt(debuginfo->dwarf, debuginfo->shared->dwarf);
	return debuginfo;
}

void debuginfo_close(struct debuginfo *debuginfo)
{
	if (debuginfo == NULL)
		return;
	dwarf_end(debuginfo->dwarf);
	elf_end(debuginfo->elf);
	if (debuginfo->memory != NULL)
		munmap(debuginfo->memory, debuginfo->len);
	debuginfo_close(debuginfo->shared); /* has no shared file of its own: one level */
	free(debuginfo);
}

Dwarf *debuginfo_dwarf(const struct debuginfo *debuginfo)
{
	return debuginfo->dwarf;
}

struct bytes debuginfo_section(const struct debuginfo *debuginfo, enum debug_section which)
{
	struct bytes none = {.v = NULL, .n = 0};
	/* libdw has inflated the section in place, so that its raw data is the plain content. */
	Elf_Scn *scn = elf_getscn(debuginfo->elf, (size_t)which + 1);
	Elf_Data *data = scn == NULL ? NULL : elf_rawdata(scn, NULL);
	if (data == NULL || data->d_buf == NULL)
		return none;
	return (struct bytes){.v = data->d_buf, .n = data->d_size};
}
