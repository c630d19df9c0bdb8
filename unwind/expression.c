#include "unwind/expression.h"
#include "unwind/memory.h"

#include <libunwind.h>
#include <stdlib.h>
#include <string.h>

enum {
	ACCESS_BUDGET = 4096, /* words; a PLT entry needs about 100 */
};

/* libunwind searches a table of {pc, FDE} pairs for us, in target memory: this one has a single pair, at an
 * address that no program has (the hole in the middle of the x86-64 address space). */
static const uint64_t table_address = UINT64_C(0x8000000000000000);

/* Exported, declared nowhere: what perf's unwinder uses, too. */
extern int UNW_OBJ(dwarf_search_unwind_table)(
	unw_addr_space_t, unw_word_t, unw_dyn_info_t *, unw_proc_info_t *, int, void *);

struct expression {
	unw_addr_space_t space;
};

struct access {
	const struct expression_step *step;
	const struct regs *regs;
	int32_t pair[2];
	unsigned budget; /* of this step */
	bool failed;
};

static int fail(struct access *access)
{
	access->failed = true;
	return -UNW_ENOINFO;
}

static int find_proc_info(
	unw_addr_space_t space, unw_word_t ip, unw_proc_info_t *info, int need_unwind_info, void *arg)
{
	struct access *access = arg;
	const struct expression_step *step = access->step;
	uint64_t start = step->fde.start + step->bias;
	if (ip < start || ip - start >= step->fde.end - step->fde.start)
		return fail(access);
	unw_dyn_info_t table = {.start_ip = start,
		.end_ip = step->fde.end + step->bias,
		.format = UNW_INFO_FORMAT_REMOTE_TABLE,
		.u.rti = {.segbase = start, .table_data = table_address, .table_len = 1 /* in words */}};
	int64_t distance = (int64_t)(step->fde.vaddr - step->fde.start);
	if (distance < INT32_MIN || distance > INT32_MAX)
		return fail(access);
	access->pair[0] = 0;
	access->pair[1] = (int32_t)distance;
	int outcome = UNW_OBJ(dwarf_search_unwind_table)(space, ip, &table, info, need_unwind_info, arg);
	access->failed |= outcome < 0;
	return outcome;
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

static int access_mem(unw_addr_space_t space, unw_word_t address, unw_word_t *value, int write, void *arg)
{
	struct access *access = arg;
	const struct expression_step *step = access->step;
	(void)space;
	if (write || access->budget == 0 || *step->budget == 0) {
		access->failed = true;
		return -UNW_EINVAL;
	}
	access->budget--;
	(*step->budget)--;
	if (address - table_address < sizeof access->pair) {
		memcpy(value, access->pair, sizeof *value);
		return 0;
	}
	if (memory_word(step->snapshot, address, value))
		return 0;
	uint64_t vaddr = address - step->bias;
	*value = 0;
	if (rows_read(step->rows, vaddr, value, sizeof *value) > 0 ||
		image_read_vaddr(step->image, vaddr, value, sizeof *value) > 0)
		return 0;
	access->failed = true;
	return -UNW_EINVAL;
}

static int access_reg(unw_addr_space_t space, unw_regnum_t number, unw_word_t *value, int write, void *arg)
{
	struct access *access = arg;
	(void)space;
	access->failed |=
		!write && number >= 0 && number < AMD64_COUNT && (access->regs->known >> number & 1) == 0;
	if (write || number < 0 || number >= AMD64_COUNT || (access->regs->known >> number & 1) == 0)
		return -UNW_EBADREG;
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

void expression_free(struct expression *expression)
{
	if (expression == NULL)
		return;
	unw_destroy_addr_space(expression->space);
	free(expression);
}

bool expression_apply(struct expression *expression, const struct expression_step *step, struct regs *regs)
{
	struct access access = {.step = step, .regs = regs, .budget = ACCESS_BUDGET, .failed = false};
	unw_cursor_t cursor;
	unw_word_t ip, sp;
	/* Where the unwind information leads nowhere, unw_step follows rbp instead, and says so to nobody. */
	if (unw_init_remote(&cursor, expression->space, &access) != 0 || unw_step(&cursor) <= 0 ||
		access.failed || unw_get_reg(&cursor, UNW_REG_IP, &ip) != 0 ||
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
