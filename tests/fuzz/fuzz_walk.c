/* The walker over hostile call frame information: the first byte chooses the section (1: .debug_frame), the
 * others are its contents, in an image that is the target's vdso. A stack is walked from many of its pcs, by
 * rows and by libunwind. Made for libFuzzer, a mutator writes entries whose programs are well formed and mean
 * anything. */
#include "tests/fuzz/fuzz.h"
#include "unwind/unwinder.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#define BASE UINT64_C(0x7f0000000000)
#define STACK UINT64_C(0x7ffff0000000)

enum {
	IMAGE_BYTES = 1 << 16,
	SECTION_AT = 0x2000,
	SECTION_MAX = 0x8000,
	HEADERS_AT = 0xf000,
	NAMES_AT = 0xf800,
	CODE_BYTES = 0x1000,
	STACK_BYTES = 0x2000,
	STEPS = 0x40, /* between the pcs that are tried */
};

static const char maps[] = "7f0000000000-7f0000010000 r-xp 00000000 00:00 0 [vdso]\n"
			   "7ffff0000000-7ffff0002000 rw-p 00000000 00:00 0 [stack]\n";
static const char names[] = "\0.eh_frame\0.debug_frame\0.shstrtab";
static uint8_t image[IMAGE_BYTES], stack[STACK_BYTES];

static int open_none(void *context, const struct map *map)
{
	(void)context;
	(void)map;
	return -1;
}

static size_t read_image(void *context, uint64_t address, void *buffer, size_t len)
{
	(void)context;
	if (address < BASE || address - BASE >= IMAGE_BYTES)
		return 0;
	size_t at = (size_t)(address - BASE);
	len = len < IMAGE_BYTES - at ? len : IMAGE_BYTES - at;
	memcpy(buffer, image + at, len);
	return len;
}

static void write_image(const uint8_t *section, size_t len, bool debug)
{
	Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_ehsize = sizeof header,
		.e_phoff = sizeof header,
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 1,
		.e_shoff = HEADERS_AT,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 3,
		.e_shstrndx = 2};
	Elf64_Phdr segment = {
		.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_filesz = IMAGE_BYTES, .p_memsz = IMAGE_BYTES};
	Elf64_Shdr sections[3] = {{0},
		{.sh_name = debug ? 11 : 1,
			.sh_type = SHT_PROGBITS,
			.sh_addr = debug ? 0 : SECTION_AT,
			.sh_offset = SECTION_AT,
			.sh_size = len},
		{.sh_name = 24, .sh_type = SHT_STRTAB, .sh_offset = NAMES_AT, .sh_size = sizeof names}};
	memset(image, 0xe8, sizeof image); /* calls everywhere: any address may be returned to */
	memcpy(image, &header, sizeof header);
	memcpy(image + sizeof header, &segment, sizeof segment);
	memcpy(image + SECTION_AT, section, len);
	memcpy(image + HEADERS_AT, sections, sizeof sections);
	memcpy(image + NAMES_AT, names, sizeof names);
}

/* Return addresses, frame pointers, zeros and rubbish, in turn. */
static void write_stack(void)
{
	for (size_t i = 0; i < STACK_BYTES / 8; i++) {
		uint64_t word = i % 4 == 0   ? BASE + 0x100 + i * 7 % CODE_BYTES
				: i % 4 == 1 ? STACK + (i + 3) * 8 % STACK_BYTES
				: i % 4 == 2 ? i
					     : BASE + i * 31 % CODE_BYTES;
		memcpy(stack + 8 * i, &word, sizeof word);
	}
}

static void walk_from(struct unwinder *unwinder, uint64_t pc, uint32_t known)
{
	struct snapshot snapshot = {.regs.known = known, .region[0] = {STACK, STACK_BYTES, stack}};
	struct stack out;
	for (size_t i = 0; i < AMD64_COUNT; i++)
		snapshot.regs.r[i] = STACK + 0x100 + 8 * i;
	snapshot.regs.r[AMD64_RSP] = STACK + 0x80;
	snapshot.regs.r[AMD64_RIP] = pc;
	unwinder_walk(unwinder, &snapshot, &out);
	if (out.n == 0 || out.n > 64 || out.v[0].pc != pc || out.why >= STOP_KINDS)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (len < 1 || len > SECTION_MAX)
		return 0;
	write_image(bytes + 1, len - 1, (bytes[0] & 1) != 0);
	write_stack();
	struct space *space = space_new(&(struct space_source){NULL, open_none, read_image, NULL}, "");
	struct unwinder *unwinder = NULL;
	if (space == NULL || space_update(space, maps, sizeof maps - 1) != 1 ||
		(unwinder = unwinder_new(space, 64)) == NULL || unwinder_use(unwinder, UNWINDER_BOTH) != 0)
		abort();
	for (uint64_t pc = BASE + 0x100; pc < BASE + CODE_BYTES; pc += STEPS)
		walk_from(unwinder, pc, REGS_ALL);
	walk_from(unwinder, BASE + 0x100, 1u << AMD64_RIP | 1u << AMD64_RSP);
	unwinder_free(unwinder);
	space_free(space);
	return 0;
}

/* ---- entries that mean anything ---- */

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

struct writer {
	uint8_t v[4096];
	size_t n;
	uint32_t random;
};

static uint32_t draw(struct writer *w, uint32_t below)
{
	w->random = w->random * 1664525 + 1013904223;
	return (w->random >> 8) % below;
}

static void put(struct writer *w, uint64_t value, size_t size)
{
	if (size > sizeof w->v - w->n)
		return;
	memcpy(w->v + w->n, &value, size);
	w->n += size;
}

static void put_number(struct writer *w)
{
	static const uint64_t odd[] = {0, 1, 2, 6, 7, 8, 16, 17, 24, 32, 64, 127, 128, 255, 4096, INT32_MAX,
		UINT32_MAX, INT64_MAX, UINT64_MAX, (uint64_t)INT64_MIN};
	uint64_t value = draw(w, 2) ? draw(w, 20) : odd[draw(w, sizeof odd / sizeof *odd)];
	while (value >= 0x80) {
		put(w, (value & 0x7f) | 0x80, 1);
		value >>= 7;
	}
	put(w, value, 1);
}

static void put_expression(struct writer *w)
{
	static const uint8_t plain[] = {0x06, 0x12, 0x13, 0x14, 0x16, 0x17, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e,
		0x1f, 0x22, 0x24, 0x2f, 0x28, 0x30, 0x31, 0x4f, 0x94, 0x96, 0x9c, 0xe0};
	size_t at = w->n;
	put(w, 0, 1);
	for (uint32_t i = draw(w, 8); i > 0; i--) {
		if (draw(w, 2)) {
			put(w, plain[draw(w, sizeof plain)], 1);
		} else {
			put(w, 0x70 + draw(w, 20), 1);
			put_number(w);
		}
	}
	w->v[at] = (uint8_t)(w->n - at - 1);
}

static void put_instruction(struct writer *w)
{
	uint8_t op = (uint8_t)draw(w, 0x30);
	if (draw(w, 3) == 0) {
		put(w, 0x40 + draw(w, 0x3f), 1); /* advance_loc */
		return;
	}
	put(w, op, 1);
	if (op == 0x0f) {
		put_expression(w);
	} else if (op == 0x10 || op == 0x16) {
		put_number(w);
		put_expression(w);
	} else if (op != 0x00 && op != 0x0a && op != 0x0b) {
		put_number(w);
		if (op == 0x05 || op == 0x09 || op == 0x0c || op == 0x11 || op == 0x12 || op == 0x14 ||
			op == 0x15)
			put_number(w);
	}
}

static void put_entry(struct writer *w, bool debug, bool is_cie)
{
	static const uint8_t head[] = {1, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x90, 1};
	size_t at = w->n;
	put(w, 0, 4);
	put(w, is_cie ? (debug ? UINT32_MAX : 0) : (debug ? 0 : (uint32_t)w->n), 4);
	if (is_cie) {
		for (size_t i = 0; i < sizeof head; i++)
			put(w, head[i], 1);
	} else {
		put(w, 0x100 + draw(w, 30) * STEPS, 8);
		put(w, 0x40 + draw(w, 0x400), 8);
	}
	for (uint32_t i = draw(w, is_cie ? 3 : 24); i > 0; i--)
		put_instruction(w);
	uint32_t length = (uint32_t)(w->n - at - 4);
	memcpy(w->v + at, &length, sizeof length);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	static struct writer w;
	w.n = 0;
	w.random = seed;
	if (draw(&w, 2) && LLVMFuzzerMutate != NULL)
		return LLVMFuzzerMutate(data, size, max_size);
	bool debug = draw(&w, 2);
	put(&w, debug, 1);
	size_t begin = w.n;
	put_entry(&w, debug, true);
	for (uint32_t i = 1 + draw(&w, 8); i > 0; i--)
		put_entry(&w, debug, false);
	/* .eh_frame counts back from the field, .debug_frame from the section's start: both were written as if
	 * the section began at the file's first byte. */
	for (size_t at = begin + 4 + 0; !debug && at + 8 < w.n;) {
		uint32_t length, id;
		memcpy(&length, w.v + at - 4, sizeof length);
		memcpy(&id, w.v + at, sizeof id);
		if (id != 0)
			id -= (uint32_t)begin;
		memcpy(w.v + at, &id, sizeof id);
		at += length + 4;
	}
	if (w.n > max_size)
		w.n = max_size;
	memcpy(data, w.v, w.n);
	return w.n;
}
