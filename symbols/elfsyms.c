#include "symbols/elfsyms.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum {
	SECTIONS_MAX = 65536,
	CODE_SECTIONS_MAX = 256,
	NAME_BYTES_MAX = 16 * 1024, /* longer names are taken as damage */
	SYMBOLS_PER_READ = 1024
};

/* How often a symbol may be held against an address: a file where every symbol covers everything ends here. */
static const uint64_t WORK_MAX = 100u * 1000 * 1000;

struct range {
	uint64_t lo, hi;
};

/* A symbol that may be the answer for an address. */
struct candidate {
	uint64_t value;
	uint64_t end;
	uint32_t name;
	uint8_t rank; /* 0: there is none */
	uint8_t table; /* whose name it is */
	bool preferred;
};

/* What is known about one address while the table streams by. */
struct slot {
	struct candidate sized;
	struct candidate
		label; /* of size 0; of the addresses from this one on, until another slot has a nearer one */
	uint64_t sized_end; /* where a sized symbol ended, at or below this address; likewise */
};

/* A table of symbols with their names. */
struct table {
	const struct image *image;
	struct section symbols, strings;
};

enum { TABLES_MAX = 2 };

struct lookup {
	struct table tables[TABLES_MAX];
	uint8_t n_tables;
	struct elfsym *v;
	struct slot *slots;
	size_t n;
	struct range code[CODE_SECTIONS_MAX];
	size_t n_code;
	uint64_t work;
	char name[NAME_BYTES_MAX];
};

static void code_sections_read(struct lookup *lookup, const struct image *image)
{
	Elf64_Ehdr header;
	Elf64_Shdr section;
	if (image_read(image, 0, &header, sizeof(header)) != sizeof(header) || header.e_shoff == 0 ||
		header.e_shentsize != sizeof(section))
		return;
	uint64_t count = header.e_shnum;
	if (count == 0 && image_read(image, header.e_shoff, &section, sizeof(section)) == sizeof(section))
		count = section.sh_size;
	if (count > SECTIONS_MAX || header.e_shoff > UINT64_MAX - count * sizeof(section))
		return;
	for (uint64_t i = 0; i < count && lookup->n_code < CODE_SECTIONS_MAX; i++) {
		if (image_read(image, header.e_shoff + i * sizeof(section), &section, sizeof(section)) !=
			sizeof(section))
			return;
		if ((section.sh_flags & SHF_EXECINSTR) == 0 || section.sh_size > UINT64_MAX - section.sh_addr)
			continue;
		lookup->code[lookup->n_code++] =
			(struct range){.lo = section.sh_addr, .hi = section.sh_addr + section.sh_size};
	}
}

/* The end of the code section that holds `address`; 0 when none does. */
static uint64_t code_section_end(const struct lookup *lookup, uint64_t address)
{
	for (size_t i = 0; i < lookup->n_code; i++)
		if (address >= lookup->code[i].lo && address < lookup->code[i].hi)
			return lookup->code[i].hi;
	return 0;
}

/* The first address that is not below `pc`. */
static size_t lower_bound(const struct lookup *lookup, uint64_t pc)
{
	size_t lo = 0, hi = lookup->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (lookup->v[mid].pc < pc)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Reads a name without its @VERSION into lookup->name; returns its length, 0 when there is none. */
static size_t name_read(struct lookup *lookup, const struct candidate *candidate)
{
	const struct table *table = &lookup->tables[candidate->table];
	uint32_t offset = candidate->name;
	if (offset >= table->strings.size)
		return 0;
	/* Most names are short: one small read, and a second one for the rest. */
	uint64_t left = table->strings.size - offset;
	size_t got = 0;
	for (size_t want = 128; got < sizeof(lookup->name); want = sizeof(lookup->name)) {
		size_t limit = left < want ? (size_t)left : want;
		if (limit <= got)
			return 0;
		size_t more = image_read(
			table->image, table->strings.offset + offset + got, lookup->name + got, limit - got);
		const char *end = memchr(lookup->name + got, '\0', more);
		got += more;
		if (end != NULL) {
			size_t len = (size_t)(end - lookup->name);
			const char *at = memchr(lookup->name, '@', len);
			return at != NULL ? (size_t)(at - lookup->name) : len;
		}
		if (more == 0)
			return 0;
	}
	return 0;
}

/* Not a function's name: nothing, assembler-local labels, mapping symbols. */
static bool name_is_ignored(const char *name, size_t len)
{
	return len == 0 || name[0] == '$' || (len >= 2 && name[0] == '.' && name[1] == 'L');
}

static uint8_t symbol_rank(const Elf64_Sym *symbol)
{
	unsigned type = ELF64_ST_TYPE(symbol->st_info);
	if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx == SHN_ABS || symbol->st_shndx == SHN_COMMON)
		return 0;
	if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE)
		return 0;
	switch (ELF64_ST_BIND(symbol->st_info)) {
	case STB_GLOBAL:
	case STB_GNU_UNIQUE:
		return 3;
	case STB_WEAK:
		return 2;
	default:
		return 1;
	}
}

/* Among symbols that cover one address: the wanted name, then the innermost, then the more public. */
static bool candidate_better(const struct candidate *a, const struct candidate *b)
{
	if (b->rank == 0 || a->preferred != b->preferred)
		return b->rank == 0 || a->preferred;
	if (a->value != b->value)
		return a->value > b->value;
	return a->rank > b->rank;
}

static void offer_label(struct lookup *lookup, struct candidate candidate)
{
	size_t i = lower_bound(lookup, candidate.value);
	if (i == lookup->n || lookup->v[i].pc >= candidate.end)
		return;
	size_t len = name_read(lookup, &candidate);
	if (!name_is_ignored(lookup->name, len) && candidate_better(&candidate, &lookup->slots[i].label))
		lookup->slots[i].label = candidate;
}

static void offer_sized(struct lookup *lookup, struct candidate candidate)
{
	size_t i = lower_bound(lookup, candidate.value);
	if (i < lookup->n && lookup->v[i].pc < candidate.end) {
		size_t len = name_read(lookup, &candidate);
		if (name_is_ignored(lookup->name, len))
			return;
		for (; i < lookup->n && lookup->v[i].pc < candidate.end; i++) {
			const char *prefer = lookup->v[i].prefer;
			candidate.preferred = strlen(prefer) == len && memcmp(prefer, lookup->name, len) == 0;
			if (candidate_better(&candidate, &lookup->slots[i].sized))
				lookup->slots[i].sized = candidate;
			lookup->work++;
		}
	}
	if (i < lookup->n && lookup->slots[i].sized_end < candidate.end)
		lookup->slots[i].sized_end = candidate.end;
}

static void offer(struct lookup *lookup, uint8_t table, const Elf64_Sym *symbol)
{
	struct candidate candidate = {.value = symbol->st_value,
		.name = symbol->st_name,
		.rank = symbol_rank(symbol),
		.table = table};
	if (candidate.rank == 0)
		return;
	candidate.end = code_section_end(lookup, symbol->st_value);
	if (candidate.end == 0)
		return;
	if (symbol->st_size == 0) {
		offer_label(lookup, candidate);
	} else {
		if (symbol->st_size < candidate.end - candidate.value)
			candidate.end = candidate.value + symbol->st_size;
		offer_sized(lookup, candidate);
	}
}

static int table_stream(struct lookup *lookup, uint8_t number)
{
	const struct image *image = lookup->tables[number].image;
	const struct section *table = &lookup->tables[number].symbols;
	size_t bytes = SYMBOLS_PER_READ * sizeof(Elf64_Sym);
	Elf64_Sym *symbols = malloc(bytes);
	if (symbols == NULL)
		return -1;
	for (uint64_t at = 0; at < table->size && lookup->work < WORK_MAX;) {
		size_t want = table->size - at < bytes ? (size_t)(table->size - at) : bytes;
		size_t count = image_read(image, table->offset + at, symbols, want) / sizeof(*symbols);
		for (size_t i = 0; i < count; i++)
			offer(lookup, number, &symbols[i]);
		if (count == 0)
			break;
		at += count * sizeof(*symbols);
	}
	free(symbols);
	return 0;
}

static int names_settle(struct lookup *lookup, struct arena *arena)
{
	struct candidate label = {0};
	uint64_t sized_end = 0;
	for (size_t i = 0; i < lookup->n; i++) {
		const struct slot *slot = &lookup->slots[i];
		if (slot->label.rank != 0)
			label = slot->label;
		if (slot->sized_end > sized_end)
			sized_end = slot->sized_end;
		/* A label ends where its section ends, or where a function with a size was in between. */
		const struct candidate *best = &slot->sized;
		if (best->rank == 0 && label.value >= sized_end && lookup->v[i].pc < label.end)
			best = &label;
		size_t len = best->rank == 0 ? 0 : name_read(lookup, best);
		lookup->v[i].name = arena_string(arena, lookup->name, len);
		if (lookup->v[i].name == NULL)
			return -1;
	}
	return 0;
}

/* A section with content: in a separate debug file, .dynsym is there by name only. */
static bool content(const struct image *image, const char *name, struct section *out)
{
	return image != NULL && image_section(image, name, out) && out->type != SHT_NOBITS && out->size != 0 &&
	       (out->flags & SHF_COMPRESSED) == 0;
}

static bool table_add(
	struct lookup *lookup, const struct image *image, const char *symbols, const char *strings)
{
	struct table table = {.image = image};
	if (!content(image, symbols, &table.symbols) || !content(image, strings, &table.strings))
		return false;
	lookup->tables[lookup->n_tables++] = table;
	return true;
}

static enum elfsyms_source tables_choose(struct lookup *lookup, const struct image *image,
	const struct image *separate, const struct image *mini)
{
	if (table_add(lookup, image, ".symtab", ".strtab"))
		return ELFSYMS_FULL;
	if (table_add(lookup, separate, ".symtab", ".strtab"))
		return ELFSYMS_SEPARATE;
	bool dynamic = table_add(lookup, image, ".dynsym", ".dynstr");
	if (table_add(lookup, mini, ".symtab", ".strtab"))
		return ELFSYMS_MINI;
	return dynamic ? ELFSYMS_DYNAMIC : ELFSYMS_NONE;
}

int elfsyms_lookup(const struct image *image, const struct image *separate, const struct image *mini,
	struct arena *arena, struct elfsym *v, size_t n, enum elfsyms_source *source)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	int result = -1;
	if (lookup == NULL)
		return -1;
	lookup->v = v;
	lookup->n = n;
	lookup->slots = calloc(n + 1, sizeof(*lookup->slots));
	if (lookup->slots == NULL)
		goto out;
	code_sections_read(lookup, image);
	enum elfsyms_source found = tables_choose(lookup, image, separate, mini);
	for (uint8_t i = 0; i < lookup->n_tables; i++)
		if (table_stream(lookup, i) != 0)
			goto out;
	result = names_settle(lookup, arena);
	if (result == 0)
		*source = found;
out:
	free(lookup->slots);
	free(lookup);
	return result;
}
