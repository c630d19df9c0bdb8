#include "unwind/gopclntab.h"
#include "unwind/bytes.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum {
	TABLE_MAX = 64 << 20,
	FUNCS_MAX = 4 << 20,
	HEADER_MAX = 72,
	SCAN_MAX = 256 << 20, /* bytes of an image searched for the table */
	WORDS_MAX = 64 << 20, /* bytes of data, and of relocations, searched for what points to it */
	SCAN_CHUNK = 1 << 16,
	SEGMENTS_MAX = 64,
	MODULES_MAX = 4, /* words that look like the beginning of the module data */
};

/* Words of runtime.moduledata, the same in all releases from 1.16. */
enum { MODULE_HEADER = 0, MODULE_NAMES = 1, MODULE_TEXT = 22 };

/* ---- the header and the functions ---- */

static bool version_of(uint32_t magic, enum gopclntab_version *version)
{
	switch (magic) {
	case 0xfffffffa:
		*version = GOPCLNTAB_116;
		return true;
	case 0xfffffff0:
		*version = GOPCLNTAB_118;
		return true;
	case 0xfffffff1:
		*version = GOPCLNTAB_120;
		return true;
	default:
		return false; /* 1.15 and older have another layout altogether */
	}
}

/* Two padding bytes, the instruction size unit of amd64, the pointer size. */
static bool is_header(struct bytes *b, enum gopclntab_version *version)
{
	uint32_t magic = bytes_u32(b);
	uint16_t padding = bytes_u16(b);
	uint8_t quantum = bytes_u8(b), pointer = bytes_u8(b);
	return version_of(magic, version) && padding == 0 && quantum == 1 && pointer == 8 && !b->failed;
}

static size_t functab_field(const struct gopclntab *table)
{
	return table->version == GOPCLNTAB_116 ? 8 : 4;
}

static bool parts_are_inside(const struct gopclntab *table)
{
	/* One more entry than functions: the end of the last. */
	uint64_t functab = (uint64_t)(2 * table->n_funcs + 1) * functab_field(table);
	return table->names <= table->len && table->cutab <= table->len && table->files <= table->len &&
	       table->pctab <= table->len && table->funcs <= table->len && table->len - table->funcs >= functab;
}

bool gopclntab_open(const uint8_t *bytes, size_t len, uint64_t text, struct gopclntab *out)
{
	struct bytes b = {bytes, len, false};
	struct gopclntab table = {.bytes = bytes, .len = len, .text = text};
	if (!is_header(&b, &table.version))
		return false;
	uint64_t n_funcs = bytes_u64(&b);
	table.n_files = (size_t)bytes_u64(&b);
	if (table.version != GOPCLNTAB_116)
		bytes_u64(&b); /* the text's address, no longer filled in since 1.26 */
	table.names = (size_t)bytes_u64(&b);
	table.cutab = (size_t)bytes_u64(&b);
	table.files = (size_t)bytes_u64(&b);
	table.pctab = (size_t)bytes_u64(&b);
	table.funcs = (size_t)bytes_u64(&b);
	if (b.failed || n_funcs == 0 || n_funcs > FUNCS_MAX)
		return false;
	table.n_funcs = (size_t)n_funcs;
	if (table.version == GOPCLNTAB_116)
		table.text = 0;
	if (!parts_are_inside(&table))
		return false;
	*out = table;
	return true;
}

static struct bytes view(const struct gopclntab *table, size_t from, uint64_t offset)
{
	struct bytes b = {table->bytes + from, table->len - from, false};
	bytes_skip(&b, offset);
	return b;
}

static uint64_t take_field(struct bytes *b, size_t size)
{
	return size == 8 ? bytes_u64(b) : bytes_u32(b);
}

/* Entry `i` of the functab, i <= n_funcs: an address, and where the function's record lies. */
static uint64_t functab_entry(const struct gopclntab *table, size_t i, uint64_t *record)
{
	size_t field = functab_field(table);
	struct bytes b = view(table, table->funcs, (uint64_t)i * 2 * field);
	uint64_t entry = table->text + take_field(&b, field);
	*record = i < table->n_funcs ? take_field(&b, field) : 0;
	return entry;
}

bool gopclntab_func(const struct gopclntab *table, size_t i, struct gofunc *out)
{
	uint64_t record, next;
	if (i >= table->n_funcs)
		return false;
	struct gofunc func = {.entry = functab_entry(table, i, &record)};
	func.end = functab_entry(table, i + 1, &next);
	struct bytes b = view(table, table->funcs, record);
	bytes_skip(&b, functab_field(table)); /* the entry again */
	func.name = (int32_t)bytes_u32(&b);
	bytes_skip(&b, 8); /* size of arguments, deferreturn */
	func.pcsp = bytes_u32(&b);
	func.pcfile = bytes_u32(&b);
	func.pcln = bytes_u32(&b);
	func.npcdata = bytes_u32(&b);
	func.cu = bytes_u32(&b);
	if (table->version == GOPCLNTAB_120)
		func.start_line = (int32_t)bytes_u32(&b);
	func.id = bytes_u8(&b);
	func.flags = bytes_u8(&b);
	bytes_skip(&b, 1);
	func.nfuncdata = bytes_u8(&b);
	if (b.failed || func.end <= func.entry)
		return false;
	func.pcdata = table->len - b.left;
	*out = func;
	return true;
}

bool gopclntab_find(const struct gopclntab *table, uint64_t vaddr, struct gofunc *out)
{
	size_t low = 0, high = table->n_funcs;
	uint64_t record;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (functab_entry(table, middle, &record) <= vaddr)
			low = middle;
		else
			high = middle;
	}
	struct gofunc func;
	if (!gopclntab_func(table, low, &func) || vaddr < func.entry || vaddr >= func.end)
		return false;
	*out = func;
	return true;
}

const char *gopclntab_name(const struct gopclntab *table, int32_t name)
{
	if (name < 0)
		return "";
	struct bytes b = view(table, table->names, (uint32_t)name);
	if (b.failed || b.left == 0 || memchr(b.p, '\0', b.left) == NULL)
		return "";
	return (const char *)b.p;
}

bool gopclntab_name_is(const struct gopclntab *table, int32_t name, const char *wanted)
{
	size_t len = strlen(wanted) + 1;
	if (name < 0)
		return false;
	struct bytes b = view(table, table->names, (uint32_t)name);
	return !b.failed && b.left >= len && memcmp(b.p, wanted, len) == 0;
}

const char *gopclntab_file(const struct gopclntab *table, const struct gofunc *func, int32_t file)
{
	if (file < 0)
		return "";
	struct bytes b = view(table, table->cutab, ((uint64_t)func->cu + (uint32_t)file) * 4);
	uint32_t offset = bytes_u32(&b);
	if (b.failed || offset == UINT32_MAX)
		return "";
	b = view(table, table->files, offset);
	if (b.failed || b.left == 0 || memchr(b.p, '\0', b.left) == NULL)
		return "";
	return (const char *)b.p;
}

uint32_t gopclntab_pcdata(const struct gopclntab *table, const struct gofunc *func, uint32_t index)
{
	if (index >= func->npcdata)
		return 0;
	struct bytes b = view(table, func->pcdata, (uint64_t)index * 4);
	return bytes_u32(&b);
}

bool gopclntab_funcdata(
	const struct gopclntab *table, const struct gofunc *func, uint32_t index, uint64_t *offset)
{
	if (index >= func->nfuncdata)
		return false;
	if (table->version == GOPCLNTAB_116) {
		/* Addresses, aligned as such. */
		uint64_t at = ((func->pcdata + (uint64_t)func->npcdata * 4 + 7) & ~UINT64_C(7)) - func->pcdata;
		struct bytes words = view(table, func->pcdata, at + (uint64_t)index * 8);
		*offset = bytes_u64(&words);
		return !words.failed && *offset != 0;
	}
	struct bytes b = view(table, func->pcdata, ((uint64_t)func->npcdata + index) * 4);
	uint32_t found = bytes_u32(&b);
	if (b.failed || found == UINT32_MAX)
		return false;
	*offset = found;
	return true;
}

/* ---- pc -> value ---- */

struct gopcvalue gopcvalue_begin(const struct gopclntab *table, const struct gofunc *func, uint32_t offset)
{
	struct bytes b = view(table, table->pctab, offset);
	bool none = offset == 0 || b.failed;
	return (struct gopcvalue){.p = b.p,
		.left = none ? 0 : b.left,
		.start = func->entry,
		.end = func->entry,
		.limit = func->end,
		.value = -1};
}

/* At most 32 bits; a longer one is cut, and its last byte taken, as for every reader. */
static bool take_varint(struct gopcvalue *run, uint32_t *value)
{
	*value = 0;
	for (unsigned shift = 0; run->left > 0 && shift < 64; shift += 7) {
		uint8_t byte = *run->p++;
		run->left--;
		if (shift < 32)
			*value |= (uint32_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return true;
	}
	return false;
}

bool gopcvalue_next(struct gopcvalue *run)
{
	uint32_t delta, length;
	bool is_first = run->value == -1 && run->start == run->end;
	if (run->end >= run->limit || !take_varint(run, &delta) || (delta == 0 && !is_first) ||
		!take_varint(run, &length) || length == 0)
		return false;
	/* Zigzag; unsigned, so that nothing overflows. */
	run->value = (int32_t)((uint32_t)run->value + ((delta & 1) != 0 ? ~(delta >> 1) : delta >> 1));
	run->start = run->end;
	run->end = length < run->limit - run->start ? run->start + length : run->limit;
	return true;
}

bool gopcvalue_at(
	const struct gopclntab *table, const struct gofunc *func, uint32_t offset, uint64_t pc, int32_t *value)
{
	struct gopcvalue run = gopcvalue_begin(table, func, offset);
	while (gopcvalue_next(&run)) {
		if (pc < run.start)
			return false;
		if (pc < run.end) {
			*value = run.value;
			return true;
		}
	}
	return false;
}

/* ---- where the table lies ---- */

/* Reads the table that begins at a place in the image and extends at most to the end of `part`. */
static bool read_table(
	const struct image *image, const struct section *part, uint64_t at, struct gopclntab *out)
{
	uint8_t header[HEADER_MAX];
	struct bytes b = {header, sizeof header, false};
	enum gopclntab_version version;
	uint64_t size = part->size - at;
	if (image_read(image, part->offset + at, header, sizeof header) != sizeof header ||
		!is_header(&b, &version))
		return false;
	size_t len = size < TABLE_MAX ? (size_t)size : TABLE_MAX;
	uint8_t *bytes = malloc(len);
	if (bytes == NULL)
		return false;
	len = image_read(image, part->offset + at, bytes, len);
	if (!gopclntab_open(bytes, len, 0, out)) {
		free(bytes);
		return false;
	}
	out->owned = bytes;
	out->vaddr = part->vaddr + at;
	return true;
}

/* The linker aligns the table to at least 8 bytes. */
static bool scan_part(
	const struct image *image, const struct section *part, uint64_t *budget, struct gopclntab *out)
{
	uint8_t chunk[SCAN_CHUNK];
	for (uint64_t at = 0; at<part->size && * budget> 0; at += sizeof chunk) {
		uint64_t left = part->size - at;
		size_t len = image_read(
			image, part->offset + at, chunk, left < sizeof chunk ? (size_t)left : sizeof chunk);
		*budget -= len < *budget ? len : *budget;
		for (size_t i = 0; i + 8 <= len; i += 8) {
			struct bytes b = {chunk + i, 8, false};
			enum gopclntab_version version;
			if (chunk[i + 3] == 0xff && is_header(&b, &version) &&
				read_table(image, part, at + i, out))
				return true;
		}
	}
	return false;
}

bool gopclntab_is_go(const struct image *image)
{
	struct section part;
	return !image_has_sections(image) || image_section(image, ".gopclntab", &part) ||
	       image_section(image, ".go.buildinfo", &part) || image_section(image, ".note.go.buildid", &part);
}

/* A PIE linked by the system's linker has it somewhere in .data.rel.ro; a program may have no section headers.
 */
static bool find_table(const struct image *image, struct gopclntab *out)
{
	static const char *const names[] = {".gopclntab", ".data.rel.ro.gopclntab"};
	struct section part;
	uint64_t budget = SCAN_MAX;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (image_section(image, names[i], &part) && read_table(image, &part, 0, out))
			return true;
	if (!gopclntab_is_go(image))
		return false;
	for (size_t i = 0; i < SEGMENTS_MAX && image_load(image, i, &part); i++)
		if ((part.flags & SHF_EXECINSTR) == 0 && scan_part(image, &part, &budget, out))
			return true;
	return false;
}

/* ---- where the text lies: the module data says it ---- */

/* Calls each(context, place, value) for the words of the segments that can be written. Stops when it returns
 * false. */
typedef bool word_visitor(void *context, uint64_t place, uint64_t value);

static void each_data_word(const struct image *image, word_visitor *each, void *context)
{
	uint8_t chunk[SCAN_CHUNK];
	struct section part;
	uint64_t budget = WORDS_MAX;
	for (size_t i = 0; i < SEGMENTS_MAX && image_load(image, i, &part); i++) {
		if ((part.flags & SHF_WRITE) == 0)
			continue;
		for (uint64_t at = 0; at < part.size && budget > 0; at += sizeof chunk) {
			uint64_t left = part.size - at;
			size_t len = image_read(image, part.offset + at, chunk,
				left < sizeof chunk ? (size_t)left : sizeof chunk);
			budget -= len < budget ? len : budget;
			for (size_t k = 0; k + 8 <= len; k += 8) {
				uint64_t value;
				memcpy(&value, chunk + k, sizeof value);
				if (!each(context, part.vaddr + at + k, value))
					return;
			}
		}
	}
}

static bool find_relocations(const struct image *image, uint64_t *vaddr, uint64_t *size)
{
	struct section dynamic;
	*vaddr = *size = 0;
	if (!image_segment(image, PT_DYNAMIC, &dynamic))
		return false;
	for (uint64_t at = 0; at < dynamic.size && at < SCAN_CHUNK; at += sizeof(Elf64_Dyn)) {
		Elf64_Dyn entry;
		if (image_read(image, dynamic.offset + at, &entry, sizeof entry) != sizeof entry ||
			entry.d_tag == DT_NULL)
			break;
		if (entry.d_tag == DT_RELA)
			*vaddr = entry.d_un.d_ptr;
		if (entry.d_tag == DT_RELASZ)
			*size = entry.d_un.d_val;
	}
	return *vaddr != 0 && *size != 0;
}

/* The same for the words that relocations set (the psABI's R_X86_64_RELATIVE: load address plus addend). */
static void each_relocated_word(const struct image *image, word_visitor *each, void *context)
{
	uint64_t vaddr, size;
	Elf64_Rela chunk[SCAN_CHUNK / sizeof(Elf64_Rela)];
	if (!find_relocations(image, &vaddr, &size) || size > WORDS_MAX)
		return;
	for (uint64_t at = 0; at < size; at += sizeof chunk) {
		uint64_t left = size - at;
		size_t len = image_read_vaddr(
			image, vaddr + at, chunk, left < sizeof chunk ? (size_t)left : sizeof chunk);
		for (size_t i = 0; i < len / sizeof *chunk; i++)
			if (ELF64_R_TYPE(chunk[i].r_info) == R_X86_64_RELATIVE &&
				!each(context, chunk[i].r_offset, (uint64_t)chunk[i].r_addend))
				return;
		if (len < sizeof chunk)
			return;
	}
}

struct module_search {
	const struct gopclntab *table;
	uint64_t candidates[MODULES_MAX];
	size_t n;
};

/* The first word of the module data is the table's address, the second that of its names. */
static bool find_candidate(void *context, uint64_t place, uint64_t value)
{
	struct module_search *search = context;
	if (value == search->table->vaddr)
		search->candidates[search->n++] = place;
	return search->n < MODULES_MAX;
}

struct word_search {
	uint64_t place, value;
	bool found;
};

static bool find_word(void *context, uint64_t place, uint64_t value)
{
	struct word_search *search = context;
	search->found = place == search->place;
	search->value = value;
	return !search->found;
}

/* The word at `place` when the program runs: a relocation's, else the file's. */
static bool word_at(const struct image *image, uint64_t place, uint64_t *value)
{
	struct word_search search = {.place = place};
	each_relocated_word(image, find_word, &search);
	*value = search.value;
	return search.found || image_read_vaddr(image, place, value, sizeof *value) == sizeof *value;
}

static bool is_module(const struct image *image, const struct gopclntab *table, uint64_t module, uint64_t *text)
{
	uint64_t names;
	return word_at(image, module + 8 * MODULE_NAMES, &names) && names == table->vaddr + table->names &&
	       word_at(image, module + 8 * MODULE_TEXT, text) && *text != 0;
}

static bool find_text(const struct image *image, struct gopclntab *table)
{
	struct module_search search = {.table = table};
	uint64_t text;
	each_data_word(image, find_candidate, &search);
	each_relocated_word(image, find_candidate, &search);
	for (size_t i = 0; i < search.n; i++)
		if (is_module(image, table, search.candidates[i], &text)) {
			table->module = search.candidates[i];
			table->text = table->version == GOPCLNTAB_116 ? 0 : text;
			return true;
		}
	return table->version == GOPCLNTAB_116;
}

bool gopclntab_load(const struct image *image, struct gopclntab *out)
{
	struct gopclntab table;
	if (!find_table(image, &table))
		return false;
	if (!find_text(image, &table)) {
		gopclntab_unload(&table);
		return false;
	}
	*out = table;
	return true;
}

void gopclntab_unload(struct gopclntab *table)
{
	free(table->owned);
	*table = (struct gopclntab){0};
}

bool gopclntab_module_word(
	const struct image *image, const struct gopclntab *table, size_t index, uint64_t *value)
{
	return table->module != 0 && word_at(image, table->module + 8 * index, value);
}
