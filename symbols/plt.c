#include "symbols/plt.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { STUB_BYTES = 16, SHORT_STUB_BYTES = 8, RELOCATIONS_PER_READ = 512, NAME_BYTES = 4096 };

static const uint64_t RELOCATIONS_MAX = 4u * 1000 * 1000;

/* An address in a stub. The stub names the GOT slot, or (before the first call) the number of the relocation.
 */
struct stub {
	uint64_t slot;
	size_t index; /* into v */
};

struct lookup {
	const struct image *image;
	struct arena *arena;
	struct elfsym *v;
	struct stub *stubs; /* sorted by slot */
	size_t n_stubs;
};

/* The GOT slot of relocation `number` of .rela.plt; 0 when there is none. */
static uint64_t relocation_slot(const struct image *image, uint32_t number)
{
	struct section table;
	Elf64_Rela rela;
	if (!image_section(image, ".rela.plt", &table) || number >= table.size / sizeof(rela))
		return 0;
	uint64_t at = table.offset + number * sizeof(rela);
	return image_read(image, at, &rela, sizeof(rela)) == sizeof(rela) ? rela.r_offset : 0;
}

/* The slot a stub goes through; 0 when it is none that we know. */
static uint64_t stub_slot(const struct image *image, const struct section *section, uint64_t pc)
{
	uint8_t code[STUB_BYTES];
	uint64_t start = section->vaddr + (pc - section->vaddr) / STUB_BYTES * STUB_BYTES;
	size_t len = image_read_vaddr(image, start, code, sizeof(code));
	/* .plt.got without IBT has stubs of 8 bytes: a jump and a two-byte nop. */
	if (len == STUB_BYTES && code[6] == 0x66 && code[7] == 0x90 && pc - start >= SHORT_STUB_BYTES) {
		start += SHORT_STUB_BYTES;
		len = SHORT_STUB_BYTES;
		memmove(code, code + SHORT_STUB_BYTES, SHORT_STUB_BYTES);
	}
	for (size_t i = 0; i + 6 <= len; i++) {
		int32_t displacement;
		uint32_t number;
		memcpy(&displacement, code + i + 2, sizeof(displacement));
		memcpy(&number, code + i + 1, sizeof(number));
		if (code[i] == 0xff && code[i + 1] == 0x25) /* jmp *displacement(%rip) */
			return start + i + 6 + (uint64_t)(int64_t)displacement;
		if (code[i] == 0x68 && (i == 0 || i == 4)) /* push $number, first or after endbr64 */
			return relocation_slot(image, number);
	}
	return 0;
}

static int stub_compare(const void *a, const void *b)
{
	const struct stub *x = a, *y = b;
	return (x->slot > y->slot) - (x->slot < y->slot);
}

/* Notes the addresses that lie in stubs. */
static void stubs_find(struct lookup *lookup, size_t n)
{
	static const char *const names[] = {".plt", ".plt.sec", ".plt.got"};
	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		struct section section;
		if (!image_section(lookup->image, names[k], &section))
			continue;
		for (size_t i = 0; i < n; i++) {
			uint64_t pc = lookup->v[i].pc;
			if (lookup->v[i].name[0] != '\0' || pc < section.vaddr ||
				pc - section.vaddr >= section.size)
				continue;
			uint64_t slot = stub_slot(lookup->image, &section, pc);
			if (slot != 0 && lookup->n_stubs < n)
				lookup->stubs[lookup->n_stubs++] = (struct stub){.slot = slot, .index = i};
		}
	}
	qsort(lookup->stubs, lookup->n_stubs, sizeof(*lookup->stubs), stub_compare);
}

/* "NAME@plt" for dynamic symbol `number`; "" when it has no name. */
static const char *stub_name(const struct lookup *lookup, uint64_t number)
{
	struct section symbols, strings;
	Elf64_Sym symbol;
	char name[NAME_BYTES];
	static const char suffix[] = "@plt";
	if (!image_section(lookup->image, ".dynsym", &symbols) ||
		!image_section(lookup->image, ".dynstr", &strings) || number >= symbols.size / sizeof(symbol))
		return "";
	if (image_read(lookup->image, symbols.offset + number * sizeof(symbol), &symbol, sizeof(symbol)) !=
			sizeof(symbol) ||
		symbol.st_name >= strings.size)
		return "";
	uint64_t left = strings.size - symbol.st_name;
	size_t want = left < sizeof(name) - sizeof(suffix) ? (size_t)left : sizeof(name) - sizeof(suffix);
	size_t got = image_read(lookup->image, strings.offset + symbol.st_name, name, want);
	const char *end = memchr(name, '\0', got);
	if (end == NULL || end == name)
		return "";
	size_t len = (size_t)(end - name);
	memcpy(name + len, suffix, sizeof(suffix) - 1);
	return arena_string(lookup->arena, name, len + sizeof(suffix) - 1);
}

/* Gives all addresses whose stub goes through the relocated slot their name. */
static int relocation_apply(const struct lookup *lookup, const Elf64_Rela *rela)
{
	size_t lo = 0, hi = lookup->n_stubs;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (lookup->stubs[mid].slot < rela->r_offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < lookup->n_stubs && lookup->stubs[lo].slot == rela->r_offset; lo++) {
		struct elfsym *elfsym = &lookup->v[lookup->stubs[lo].index];
		if (elfsym->name[0] != '\0')
			continue;
		elfsym->name = stub_name(lookup, ELF64_R_SYM(rela->r_info));
		if (elfsym->name == NULL)
			return -1;
	}
	return 0;
}

static int relocations_stream(const struct lookup *lookup, const char *name)
{
	struct section table;
	Elf64_Rela rela[RELOCATIONS_PER_READ];
	if (!image_section(lookup->image, name, &table))
		return 0;
	uint64_t total = table.size / sizeof(rela[0]);
	if (total > RELOCATIONS_MAX)
		total = RELOCATIONS_MAX;
	for (uint64_t at = 0; at < total;) {
		size_t want = total - at < RELOCATIONS_PER_READ ? (size_t)(total - at) : RELOCATIONS_PER_READ;
		uint64_t offset = table.offset + at * sizeof(rela[0]);
		size_t count =
			image_read(lookup->image, offset, rela, want * sizeof(rela[0])) / sizeof(rela[0]);
		for (size_t i = 0; i < count; i++)
			if (relocation_apply(lookup, &rela[i]) != 0)
				return -1;
		if (count == 0)
			break;
		at += count;
	}
	return 0;
}

int plt_lookup(const struct image *image, struct arena *arena, struct elfsym *v, size_t n)
{
	int result = 0;
	struct lookup lookup = {
		.image = image, .arena = arena, .v = v, .stubs = calloc(n + 1, sizeof(*lookup.stubs))};
	if (lookup.stubs == NULL)
		return -1;
	stubs_find(&lookup, n);
	if (lookup.n_stubs != 0) {
		result = relocations_stream(&lookup, ".rela.plt");
		if (result == 0) /* .plt.got: functions whose address is taken, too */
			result = relocations_stream(&lookup, ".rela.dyn");
	}
	free(lookup.stubs);
	return result;
}
