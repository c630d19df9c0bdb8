#include "unwind/gorows.h"

#include <string.h>

enum {
	RUNS_MAX = 4 << 20,
	CODE_READS_MAX = 1 << 16, /* assembler functions that are looked at; big programs have some thousands */
	PROLOGUE = 96, /* bytes of code in which a frame pointer is set up, after the check for stack */
	STACKCHECK = 24,
};

/* How an assembler function keeps the frame pointer. */
struct frame_pointer {
	bool saved; /* at all */
	uint64_t saved_at, set_at; /* code offsets behind the instructions that save rbp, and that set it */
	int32_t disp; /* it is saved at rsp + disp, with rsp as at set_at; -1: pushed */
};

/* ---- functions with a meaning ---- */

/* What their whole body, or the body behind their prologue, is. */
static const struct special {
	const char *name;
	enum row_kind kind;
} specials[] = {
	{"runtime.goexit", ROW_ROOT},
	{"runtime.rt0_go", ROW_ROOT},
	{"runtime.mstart", ROW_ROOT},
	{"runtime.mcall", ROW_GO_MCALL},
	{"runtime.morestack", ROW_GO_MORESTACK},
	{"runtime.gogo", ROW_GO_GOGO},
	{"runtime.schedule", ROW_GO_SCHEDULE},
	{"runtime.clone", ROW_GO_CLONE},
	{"runtime.asyncPreempt", ROW_GO_PREEMPT},
	{"runtime.sigpanic", ROW_GO_SIGPANIC},
	{"runtime.sigpanic0", ROW_GO_SIGPANIC},
	{"runtime.systemstack", ROW_GO_SYSTEMSTACK},
	{"runtime.asmcgocall", ROW_GO_ASMCGOCALL},
	{"runtime.cgocallback", ROW_SWITCH},
	{"runtime.sigtramp", ROW_RSP},
	{"runtime.cgoSigtramp", ROW_RSP},
	{"runtime.sigprofNonGoWrapper", ROW_RSP},
	{"runtime.sigreturn", ROW_SIGNAL},
	{"runtime.sigreturn__sigaction", ROW_SIGNAL},
	{"gogo", ROW_GO_GOGO}, /* gogo<>, where 1.17 and later change the stack */
	{"_rt0_amd64", ROW_ROOT},
	{"_rt0_amd64_linux", ROW_ROOT},
};

/* Wrappers, which go from one calling convention to the other, have the name of what they call, and an identity
 * of their own, the last in every release (1.16: 22, 1.26: 23). */
static uint8_t wrapper_id(const struct gopclntab *table)
{
	enum { LOWEST = 16 };
	struct gofunc func;
	uint8_t last = LOWEST;
	for (size_t i = 0; i < table->n_funcs; i++)
		if (gopclntab_func(table, i, &func) && func.id > last)
			last = func.id;
	return last;
}

/* By name; then by flag, which 1.16 does not have. */
static enum row_kind kind_of(const struct gopclntab *table, const struct gofunc *func, uint8_t wrapper)
{
	if (func->id == wrapper)
		return ROW_RSP;
	for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
		if (gopclntab_name_is(table, func->name, specials[i].name))
			return specials[i].kind;
	if ((func->flags & GOFUNC_TOP_FRAME) != 0)
		return ROW_ROOT;
	return (func->flags & GOFUNC_SP_WRITE) != 0 ? ROW_SWITCH : ROW_RSP;
}

/* ---- frame pointers of assembler functions ---- */

/* push %rbp; mov %rsp,%rbp (since 1.21), or mov %rbp,disp(%rsp); lea disp(%rsp),%rbp. */
static bool parse_at(const uint8_t *code, size_t at, struct frame_pointer *out)
{
	static const uint8_t push[] = {0x55, 0x48, 0x89, 0xe5}, mov8[] = {0x48, 0x89, 0x6c, 0x24},
			     lea8[] = {0x48, 0x8d, 0x6c, 0x24}, mov32[] = {0x48, 0x89, 0xac, 0x24},
			     lea32[] = {0x48, 0x8d, 0xac, 0x24};
	code += at;
	if (memcmp(code, push, sizeof push) == 0) {
		*out = (struct frame_pointer){true, at + 1, at + 4, -1};
	} else if (memcmp(code, mov8, 4) == 0 && memcmp(code + 5, lea8, 4) == 0 && code[4] == code[9]) {
		*out = (struct frame_pointer){true, at + 5, at + 10, (int8_t)code[4]};
	} else if (memcmp(code, mov32, 4) == 0 && memcmp(code + 8, lea32, 4) == 0 &&
		   memcmp(code + 4, code + 12, 4) == 0) {
		int32_t disp;
		memcpy(&disp, code + 4, sizeof disp);
		*out = (struct frame_pointer){true, at + 8, at + 16, disp};
	} else {
		return false;
	}
	return out->disp >= -1;
}

static struct frame_pointer read_frame_pointer(const struct image *image, const struct gofunc *func)
{
	uint8_t code[PROLOGUE + 16] = {0};
	struct frame_pointer found = {0};
	image_read_vaddr(image, func->entry, code, sizeof code);
	for (size_t at = 0; at < PROLOGUE && at < func->end - func->entry; at++)
		if (parse_at(code, at, &found))
			return found;
	return (struct frame_pointer){0};
}

/* Where, from the CFA, rbp is saved: found at the run in which the frame pointer is set. 0: nowhere. */
static int32_t slot_of(const struct gopclntab *table, const struct gofunc *func, const struct frame_pointer *fp)
{
	int32_t depth;
	if (!fp->saved || !gopcvalue_at(table, func, func->pcsp, func->entry + fp->saved_at, &depth))
		return 0;
	/* Pushed: rsp points at it. */
	int64_t slot = (int64_t)(fp->disp < 0 ? 0 : fp->disp) - depth - 8;
	return slot < 0 && slot > INT16_MIN ? (int32_t)slot : 0;
}

/* ---- rows ---- */

struct scan {
	const struct gopclntab *table;
	const struct gofunc *func;
	uint8_t wrapper; /* wrapper_id() */
	size_t *code_reads; /* left */
	enum row_kind kind;
	int32_t slot; /* of rbp, from the CFA; 0: not saved */
	uint64_t saved, set; /* from these addresses on it is saved, and points there */
	bool is_restored_first; /* at a function's end rbp is restored before rsp, not after (until 1.20) */
	cfi_sink *sink;
	void *context;
	bool is_first;
};

static void put(struct scan *scan, uint64_t start, enum row_kind kind, int64_t cfa, int32_t rbp)
{
	struct row row = {
		.cfa = (int32_t)cfa, .rbp = (int16_t)rbp, .kind = (uint8_t)kind, .is_first = scan->is_first};
	scan->is_first = false;
	scan->sink(scan->context, NULL, start, &row);
}

/* The row from `start` on, where rsp is `depth` bytes below the return address. */
static void put_depth(struct scan *scan, uint64_t start, int32_t depth)
{
	int64_t cfa = (int64_t)depth + 8;
	/* Above the slot it has been popped, or not yet pushed. */
	bool is_saved = scan->slot != 0 && start >= scan->saved && cfa >= -(int64_t)scan->slot;
	bool is_set = is_saved && start >= scan->set;
	int32_t rbp = is_saved ? scan->slot : 0;
	if (depth < 0 || depth > INT32_MAX - 8)
		put(scan, start, ROW_NONE, 0, 0);
	else if (scan->kind == ROW_SWITCH)
		put(scan, start, is_set ? ROW_SWITCH : ROW_RSP, is_set ? -scan->slot : cfa, rbp);
	else if (scan->kind == ROW_GO_SYSTEMSTACK || scan->kind == ROW_GO_ASMCGOCALL)
		put(scan, start, scan->slot != 0 && !is_set ? ROW_RSP : scan->kind, cfa, rbp);
	else
		put(scan, start, scan->kind, cfa, rbp);
}

/* Before the add to rsp that ends a run, with an operand of one byte or four. */
static uint64_t before_add(const struct gopcvalue *run)
{
	return run->end - (run->value < 128 ? 4 : 7);
}

/* One run of the table, cut where the frame pointer is saved and set. */
static void put_run(struct scan *scan, const struct gopcvalue *run)
{
	put_depth(scan, run->start, run->value);
	if (scan->slot == 0)
		return;
	if (scan->saved > run->start && scan->saved < run->end)
		put_depth(scan, scan->saved, run->value);
	if (scan->set > run->start && scan->set < run->end && scan->set != scan->saved)
		put_depth(scan, scan->set, run->value);
	struct gopcvalue next = *run;
	if (scan->kind == ROW_SWITCH && scan->is_restored_first && before_add(run) > scan->set &&
		gopcvalue_next(&next) && next.value == 0)
		put(scan, before_add(run), ROW_RSP, (int64_t)run->value + 8, scan->slot);
}

/* Called by C: it saves C's registers itself; 1.16 and 1.17 do not mark it as assembler. */
static bool is_crosscall2(const struct scan *scan)
{
	return gopclntab_name_is(scan->table, scan->func->name, "crosscall2");
}

static void scan_func(const struct image *image, struct scan *scan, size_t *budget)
{
	const struct gofunc *func = scan->func;
	struct gopcvalue run = gopcvalue_begin(scan->table, func, func->pcsp);
	scan->kind = kind_of(scan->table, func, scan->wrapper);
	scan->is_first = true;
	/* The compiler's functions keep the frame pointer just below the return address whenever they have a
	 * frame; between making room and storing it there, which is one instruction before 1.21, it is still
	 * unchanged. */
	scan->slot = -16;
	scan->saved = scan->set = func->entry;
	bool is_special =
		scan->kind != ROW_RSP && scan->kind != ROW_GO_SCHEDULE && scan->kind != ROW_GO_SIGPANIC;
	if (*scan->code_reads > 0 && ((func->flags & GOFUNC_ASM) != 0 || is_special || is_crosscall2(scan))) {
		--*scan->code_reads;
		struct frame_pointer fp = read_frame_pointer(image, func);
		scan->slot = slot_of(scan->table, func, &fp);
		scan->saved = func->entry + fp.saved_at;
		scan->set = func->entry + fp.set_at;
		scan->is_restored_first = fp.disp >= 0;
	}
	if (scan->kind == ROW_ROOT || scan->kind == ROW_SIGNAL) {
		/* The kernel makes the trampoline's address the handler's return address, and a return address
		 * is looked up by the byte before it, which is padding. */
		if (scan->kind == ROW_SIGNAL)
			put(scan, func->entry - 1, scan->kind, 0, 0);
		put(scan, func->entry, scan->kind, 0, 0);
		return;
	}
	while (*budget > 0 && gopcvalue_next(&run)) {
		put_run(scan, &run);
		--*budget;
	}
	if (run.end < func->end)
		put(scan, run.end, ROW_NONE, 0, 0);
}

void gorows_scan(const struct image *image, const struct gopclntab *table, cfi_sink *sink, void *context)
{
	size_t budget = RUNS_MAX, code_reads = CODE_READS_MAX;
	uint8_t wrapper = wrapper_id(table);
	for (size_t i = 0; i < table->n_funcs && budget > 0; i++) {
		struct gofunc func;
		if (!gopclntab_func(table, i, &func))
			continue;
		struct scan scan = {.table = table,
			.func = &func,
			.wrapper = wrapper,
			.code_reads = &code_reads,
			.sink = sink,
			.context = context};
		scan_func(image, &scan, &budget);
		scan.is_first = true;
		put(&scan, func.end, ROW_NONE, 0, 0);
		budget -= budget > 0;
	}
}

/* ---- thread-local storage ---- */

static bool find_stackcheck(const struct gopclntab *table, struct gofunc *out)
{
	for (size_t i = 0; i < table->n_funcs; i++)
		if (gopclntab_func(table, i, out) && gopclntab_name_is(table, out->name, "runtime.stackcheck"))
			return true;
	return false;
}

bool gorows_tls(const struct image *image, const struct gopclntab *table, int32_t *offset)
{
	/* mov %fs:offset,%rax; or mov $offset,%rcx; mov %fs:(%rcx),%rax */
	static const uint8_t absolute[] = {0x64, 0x48, 0x8b, 0x04, 0x25}, loaded[] = {0x48, 0xc7, 0xc1},
			     through[] = {0x64, 0x48, 0x8b, 0x01};
	uint8_t code[STACKCHECK] = {0};
	struct gofunc func;
	if (!find_stackcheck(table, &func) ||
		image_read_vaddr(image, func.entry, code, sizeof code) != sizeof code)
		return false;
	if (memcmp(code, absolute, sizeof absolute) == 0)
		memcpy(offset, code + sizeof absolute, sizeof *offset);
	else if (memcmp(code, loaded, sizeof loaded) == 0 && memcmp(code + 7, through, sizeof through) == 0)
		memcpy(offset, code + sizeof loaded, sizeof *offset);
	else
		return false;
	return true;
}
