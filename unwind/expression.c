#include "unwind/expression.h"
#include "unwind/cfi.h"
#include "unwind/memory.h"

#include <libunwind.h>
#include <stdlib.h>
#include <string.h>

enum {
	STEP_WORDS =
		1 << 16, /* for one step; a PLT entry needs about 100, the end of a long function thousands */
	PROGRAM_MAX = 1 << 16, /* bytes of one FDE's program, and of one CIE's */
	HEAD_MAX = 64, /* what stands before each program */
};

/* libunwind searches a table of {pc, FDE} pairs for us, in target memory: ours has a single pair, and stands
 * with the FDE and its CIE at an address that no program has (the hole in the middle of the x86-64 address
 * space). Both are written anew in one plain form: so .debug_frame can be evaluated, too, which libunwind's
 * search cannot read, and nothing of the target's augmentations reaches it. */
static const uint64_t table_address = UINT64_C(0x8000000000000000);

/* Exported, declared nowhere: what perf's unwinder uses, too. */
extern int UNW_OBJ(dwarf_search_unwind_table)(
	unw_addr_space_t, unw_word_t, unw_dyn_info_t *, unw_proc_info_t *, int, void *);

struct expression {
	unw_addr_space_t space;
	uint8_t table[sizeof(int32_t[2]) + 2 * HEAD_MAX + 2 * PROGRAM_MAX + sizeof(uint64_t)];
	size_t len; /* of the table */
};

/* What the accessors are given of one walk. */
struct access {
	struct expression *expression;
	const struct expression_walk *walk;
	const struct regs *regs;
	struct expression_place place; /* that was found last */
	uint64_t pc; /* for which */
	unsigned words; /* left for this step */
	uint64_t unread; /* the first address that could not be read, 0: none */
	bool no_place, no_register, no_words;
};

/* ---- the table ---- */

static void put(struct expression *expression, uint64_t value, size_t size)
{
	memcpy(expression->table + expression->len, &value, size);
	expression->len += size;
}

static void put_leb(struct expression *expression, uint64_t value, bool is_signed)
{
	/* Ten groups hold every value of either kind: padding is legal. */
	for (int i = 0; i < 9; i++) {
		put(expression, (value & 0x7f) | 0x80, 1);
		value = is_signed ? (uint64_t)((int64_t)value >> 7) : value >> 7;
	}
	put(expression, value & 0x7f, 1);
}

static void put_program(struct expression *expression, const struct bytes *program, size_t begin)
{
	memcpy(expression->table + expression->len, program->p, program->left);
	expression->len += program->left;
	uint32_t length = (uint32_t)(expression->len - begin - sizeof length);
	memcpy(expression->table + begin, &length, sizeof length);
}

/* The pair, the CIE, and the FDE (Linux Standard Base, "The .eh_frame section"). */
static bool write_table(struct expression *expression, const struct cfi_entry *entry, uint64_t bias)
{
	if (entry->initial.left > PROGRAM_MAX || entry->program.left > PROGRAM_MAX)
		return false;
	expression->len = 0;
	put(expression, (uint32_t)INT32_MIN, sizeof(int32_t)); /* whatever is looked for lies above */
	put(expression, 0, sizeof(int32_t));
	size_t cie = expression->len;
	put(expression, 0, sizeof(uint32_t)); /* length */
	put(expression, 0, sizeof(uint32_t)); /* a CIE */
	put(expression, 1, 1); /* version */
	put(expression, 'z', 1);
	put(expression, 'R', 1);
	if (entry->is_signal)
		put(expression, 'S', 1);
	put(expression, 0, 1);
	put_leb(expression, entry->code_align, false);
	put_leb(expression, (uint64_t)entry->data_align, true);
	put(expression, AMD64_RIP, 1);
	put(expression, 1, 1); /* bytes of augmentation */
	put(expression, 0, 1); /* pointers are plain addresses */
	put_program(expression, &entry->initial, cie);
	size_t fde = expression->len;
	memcpy(expression->table + sizeof(int32_t), &(int32_t){(int32_t)fde}, sizeof(int32_t));
	put(expression, 0, sizeof(uint32_t));
	put(expression, expression->len - cie, sizeof(uint32_t));
	put(expression, entry->start + bias, sizeof(uint64_t));
	put(expression, entry->end - entry->start, sizeof(uint64_t));
	put(expression, 0, 1); /* bytes of augmentation */
	put_program(expression, &entry->program, fde);
	return true;
}

/* ---- what libunwind asks ---- */

static bool read_word(const struct access *access, uint64_t address, uint64_t *value)
{
	const struct expression *expression = access->expression;
	*value = 0;
	if (address >= table_address && address - table_address < expression->len) {
		/* It reads whole words around what it wants. */
		size_t at = (size_t)(address - table_address), left = sizeof expression->table - at;
		memcpy(value, expression->table + at, left < sizeof *value ? left : sizeof *value);
		return true;
	}
	return memory_word(access->walk->snapshot, address, value) ||
	       (access->place.image != NULL && image_read_vaddr(access->place.image,
						       address - access->place.bias, value, sizeof *value) > 0);
}

static int access_mem(unw_addr_space_t space, unw_word_t address, unw_word_t *value, int write, void *arg)
{
	struct access *access = arg;
	unsigned *budget = access->walk->budget;
	uint64_t word;
	(void)space;
	if (write || access->words == 0 || *budget == 0) {
		access->no_words = true;
		return -UNW_EINVAL;
	}
	access->words--;
	(*budget)--;
	if (!read_word(access, address, &word)) {
		if (access->unread == 0)
			access->unread = address;
		return -UNW_EINVAL;
	}
	*value = word;
	return 0;
}

static int fail(struct access *access)
{
	access->no_place = true;
	return -UNW_ENOINFO;
}

static int find_proc_info(
	unw_addr_space_t space, unw_word_t ip, unw_proc_info_t *info, int need_unwind_info, void *arg)
{
	struct access *access = arg;
	struct expression_place *place = &access->place;
	struct cfi_entry entry;
	if (access->pc != ip) {
		*place = (struct expression_place){0};
		access->pc = ip;
		if (!access->walk->find(access->walk->context, ip, place))
			return fail(access);
	}
	if (place->rows == NULL || !rows_entry(place->rows, &place->fde, &entry) || !cfi_is_harmless(&entry) ||
		!write_table(access->expression, &entry, place->bias))
		return fail(access);
	unw_dyn_info_t table = {.start_ip = entry.start + place->bias,
		.end_ip = entry.end + place->bias,
		.format = UNW_INFO_FORMAT_REMOTE_TABLE,
		.u.rti = {
			.segbase = table_address, .table_data = table_address, .table_len = 1 /* in words */}};
	int outcome = UNW_OBJ(dwarf_search_unwind_table)(space, ip, &table, info, need_unwind_info, arg);
	return outcome < 0 ? fail(access) : outcome;
}

static void put_unwind_info(unw_addr_space_t space, unw_proc_info_t *info, void *arg)
{
	(void)space;
	(void)arg;
	/* dwarf_search_unwind_table takes it from libunwind's own pool; nothing else knows how to give it back.
	 */
	(void)info;
}

static int get_list(unw_addr_space_t space, unw_word_t *address, void *arg)
{
	(void)space;
	(void)address;
	(void)arg;
	return -UNW_ENOINFO;
}

static int access_reg(unw_addr_space_t space, unw_regnum_t number, unw_word_t *value, int write, void *arg)
{
	struct access *access = arg;
	(void)space;
	if (write || number < 0 || number >= AMD64_COUNT)
		return -UNW_EBADREG;
	if ((access->regs->known >> number & 1) == 0) {
		access->no_register = true;
		return -UNW_EBADREG;
	}
	*value = access->regs->r[number];
	return 0;
}

static int access_fpreg(unw_addr_space_t space, unw_regnum_t number, unw_fpreg_t *value, int write, void *arg)
{
	(void)space;
	(void)number;
	(void)value;
	(void)write;
	(void)arg;
	return -UNW_EBADREG;
}

static int resume(unw_addr_space_t space, unw_cursor_t *cursor, void *arg)
{
	(void)space;
	(void)cursor;
	(void)arg;
	return -UNW_EINVAL;
}

static int get_proc_name(
	unw_addr_space_t space, unw_word_t ip, char *name, size_t len, unw_word_t *offset, void *arg)
{
	(void)space;
	(void)ip;
	(void)name;
	(void)len;
	(void)offset;
	(void)arg;
	return -UNW_ENOINFO;
}

#define TEXT_OF(number) TEXT(number)
#define TEXT(number) #number

const char *expression_library(void)
{
	return "libunwind " TEXT_OF(UNW_VERSION_MAJOR) "." TEXT_OF(UNW_VERSION_MINOR) "." TEXT_OF(
		UNW_VERSION_EXTRA);
}

struct expression *expression_new(void)
{
	struct expression *expression = calloc(1, sizeof *expression);
	unw_accessors_t accessors = {.find_proc_info = find_proc_info,
		.put_unwind_info = put_unwind_info,
		.get_dyn_info_list_addr = get_list,
		.access_mem = access_mem,
		.access_reg = access_reg,
		.access_fpreg = access_fpreg,
		.resume = resume,
		.get_proc_name = get_proc_name};
	if (expression == NULL || (expression->space = unw_create_addr_space(&accessors, 0)) == NULL) {
		free(expression);
		return NULL;
	}
	/* Its cache is keyed by the pc alone, and outlives a change of the maps. */
	unw_set_caching_policy(expression->space, UNW_CACHE_NONE);
	return expression;
}

void expression_cache(struct expression *expression)
{
	unw_set_caching_policy(expression->space, UNW_CACHE_GLOBAL);
}

void expression_free(struct expression *expression)
{
	if (expression == NULL)
		return;
	unw_destroy_addr_space(expression->space);
	free(expression);
}

/* ---- one step ---- */

static bool find_given(void *context, uint64_t pc, struct expression_place *out)
{
	const struct expression_place *place = context;
	(void)pc;
	*out = *place;
	return true;
}

/* Where the unwind information leads nowhere, unw_step follows rbp instead, and says so to nobody. */
static bool has_failed(const struct access *access)
{
	return access->no_place || access->no_register || access->no_words || access->unread != 0;
}

bool expression_apply(struct expression *expression, const struct expression_step *step, struct regs *regs)
{
	struct expression_place place = step->place;
	struct expression_walk walk = {
		.snapshot = step->snapshot, .budget = step->budget, .context = &place, .find = find_given};
	struct access access = {.expression = expression, .walk = &walk, .regs = regs, .words = STEP_WORDS};
	unw_cursor_t cursor;
	unw_word_t ip, sp;
	if (unw_init_remote(&cursor, expression->space, &access) != 0 || unw_step(&cursor) <= 0 ||
		has_failed(&access) || unw_get_reg(&cursor, UNW_REG_IP, &ip) != 0 ||
		unw_get_reg(&cursor, UNW_REG_SP, &sp) != 0)
		return false;
	struct regs caller = {.known = 1u << AMD64_RIP | 1u << AMD64_RSP};
	caller.r[AMD64_RIP] = ip;
	caller.r[AMD64_RSP] = sp;
	static const enum amd64_reg kept[] = {AMD64_RBP, AMD64_RBX};
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		if (unw_get_reg(&cursor, (int)kept[i], &caller.r[kept[i]]) == 0)
			caller.known |= 1u << kept[i];
	*regs = caller;
	return true;
}

/* ---- a whole walk ---- */

static enum stop reason(const struct access *access)
{
	if (access->no_words)
		return STOP_BUDGET;
	if (access->no_register)
		return STOP_NO_REGISTER;
	return access->no_place ? STOP_NO_INFO : STOP_BAD_FRAME;
}

/* Is it the return from a signal handler, by its augmentation or by its bytes (mov $15, %rax; syscall)?
 * unw_is_signal_frame() says so only when the step from there has been made. */
static bool is_signal_frame(struct access *access, uint64_t ip, bool is_return)
{
	static const uint8_t code[] = {0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};
	struct expression_place place = {0};
	struct cfi_entry entry;
	uint8_t there[sizeof code];
	if (access->walk->find(access->walk->context, ip - is_return, &place))
		return rows_entry(place.rows, &place.fde, &entry) && entry.is_signal;
	return place.image != NULL &&
	       image_read_vaddr(place.image, ip - place.bias, there, sizeof there) == sizeof there &&
	       memcmp(there, code, sizeof code) == 0;
}

static void begin_step(struct access *access)
{
	access->pc = 0;
	access->words = STEP_WORDS;
	access->unread = 0;
	access->no_place = access->no_register = access->no_words = false;
}

/* To the caller; false with *why at the end. libunwind's own guesses, where it found no information, are not
 * taken but for the return from a signal handler, which it knows by its bytes. */
static bool step_cursor(struct access *access, unw_cursor_t *cursor, bool is_signal, enum stop *why)
{
	unw_word_t before, after, ip;
	begin_step(access);
	unw_get_reg(cursor, UNW_REG_SP, &before);
	int outcome = unw_step(cursor);
	*why = reason(access);
	if (outcome < 0 || access->no_words || access->no_register || access->unread != 0 ||
		(access->no_place && !is_signal))
		return false;
	*why = STOP_BAD_FRAME;
	if (unw_get_reg(cursor, UNW_REG_IP, &ip) != 0 || unw_get_reg(cursor, UNW_REG_SP, &after) != 0)
		return false;
	if (outcome == 0 || ip == 0) {
		*why = STOP_ROOT;
		return false;
	}
	/* What it calls progress must be in the copy. */
	return (is_signal || after > before) &&
	       memory_region(access->walk->snapshot, after - sizeof(uint64_t)) != NULL;
}

enum stop expression_walk(struct expression *expression, const struct expression_walk *walk, uint64_t *unread)
{
	struct access access = {
		.expression = expression, .walk = walk, .regs = &walk->snapshot->regs, .words = STEP_WORDS};
	unw_cursor_t cursor;
	bool is_return = false;
	enum stop why = STOP_BAD_FRAME;
	*unread = 0;
	if (unw_init_remote(&cursor, expression->space, &access) != 0)
		return STOP_NO_REGISTER;
	for (;;) {
		unw_word_t ip;
		if (unw_get_reg(&cursor, UNW_REG_IP, &ip) != 0)
			return STOP_BAD_FRAME;
		bool is_signal = is_signal_frame(&access, ip, is_return);
		if (!walk->frame(walk->context, ip, is_return && !is_signal))
			return STOP_ROOT;
		if (!step_cursor(&access, &cursor, is_signal, &why)) {
			*unread = access.unread;
			return why;
		}
		is_return = !is_signal;
	}
}
