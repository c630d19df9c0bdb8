#include "unwind/unwinder.h"
#include "unwind/cfi.h"
#include "unwind/expression.h"
#include "unwind/gopclntab.h"
#include "unwind/library.h"
#include "unwind/memory.h"
#include "unwind/rows.h"

#include <stdlib.h>
#include <time.h>

enum {
	FRAMES_MAX = 65536,
	RECOVER_WORDS = 8192, /* of stack searched for a lost rbp */
	TRIALS_MAX = 16,
	PLACES = 1 << 12,
	ASMCGOCALL_FRAME = 80, /* until 1.20: 64 bytes, aligned to 16 */
	SWITCHES_MAX = 1024, /* between Go's stacks: C and Go that call each other */
	WORDS_MAX = 1 << 18, /* for expressions; some 10 ms */
	/* What else costs as much as reading so many words: */
	THROWING_WORDS = 1 << 12, /* is_throwing() */
	RULES_WORDS = 1 << 5, /* cfi_state_at(), besides the length of the programs */
	FUNCTION_WORDS = 1 << 10, /* rows_function_start() */
	SLOT_WORDS = 1 << 4, /* a slot of the stack that may be the lost rbp: code is read */
};

/* For the tables of all modules together: 30 million rows, and fifty times what LLVM's library takes. */
static const size_t TABLE_BYTES_MAX = 512u << 20;
static const int64_t TABLE_NS_MAX = INT64_C(5) * 1000000000;

/* The tables of one image. */
struct module {
	const struct image *image;
	struct rows *eh, *go, *debug; /* .eh_frame; Go's table of functions; .debug_frame, see find_debug() */
	bool looked_for_debug;
	struct module *next;
};

/* Where a pc lies. */
struct place {
	const struct mapping *mapping;
	const struct module *module;
	const struct rows *rows;
	const struct row *row;
	uint64_t vaddr, bias;
};

/* What find_place() found: a program returns to few places, again and again. */
struct known_place {
	uint64_t address, generation; /* of the space; 0: empty */
	struct place place;
	uint32_t id;
	bool found;
};

struct unwinder {
	const struct space *space;
	size_t max_depth;
	struct module *modules;
	struct module **by_mapping; /* by mapping id; NULL: not looked for yet */
	size_t n_by_mapping;
	struct known_place places[PLACES];
	size_t table_bytes; /* of all modules */
	int64_t table_ns; /* CPU time that they took */
	struct expression *expression;
	struct frame *frames;
	size_t cap;
	enum unwinder_kind kind;
	struct library *library; /* NULL: not wanted yet */
	struct unwinder_comparison comparison;
};

/* A walk under way: the registers of the frame that is looked at. */
struct walk {
	struct unwinder *unwinder;
	const struct snapshot *snapshot;
	struct regs regs;
	bool is_return;
	bool guessed;
	bool is_trial; /* of a guessed rbp */
	size_t n;
	enum stop why;
	bool scheduling; /* Go: below this frame the thread has let its goroutine go */
	unsigned switches; /* of stacks */
	unsigned words; /* left for expressions to read, and see spend() */
};

const char *stop_name(enum stop why)
{
	static const char *const names[STOP_KINDS] = {
		[STOP_ROOT] = "complete",
		[STOP_NO_INFO] = "no unwind information",
		[STOP_NO_MAPPING] = "code outside every file",
		[STOP_COPY_END] = "stack deeper than the copy",
		[STOP_BAD_FRAME] = "unwind information leads nowhere",
		[STOP_NO_REGISTER] = "a register of a sleeping thread is unknown",
		[STOP_THROWN] = "an exception is unwinding it",
		[STOP_BUDGET] = "too many frames",
	};
	return (unsigned)why < STOP_KINDS ? names[why] : "unknown";
}

struct unwinder *unwinder_new(const struct space *space, size_t max_depth)
{
	struct unwinder *unwinder = calloc(1, sizeof *unwinder);
	if (unwinder == NULL)
		return NULL;
	unwinder->space = space;
	unwinder->max_depth = max_depth < 2 ? 2 : max_depth;
	unwinder->cap = 1024;
	unwinder->frames = calloc(unwinder->cap, sizeof *unwinder->frames);
	unwinder->expression = expression_new();
	if (unwinder->frames == NULL || unwinder->expression == NULL) {
		unwinder_free(unwinder);
		return NULL;
	}
	return unwinder;
}

void unwinder_free(struct unwinder *unwinder)
{
	if (unwinder == NULL)
		return;
	while (unwinder->modules != NULL) {
		struct module *module = unwinder->modules;
		unwinder->modules = module->next;
		rows_free(module->eh);
		rows_free(module->go);
		rows_free(module->debug);
		free(module);
	}
	free(unwinder->by_mapping);
	free(unwinder->frames);
	expression_free(unwinder->expression);
	library_free(unwinder->library);
	free(unwinder);
}

void unwinder_turn_to(struct unwinder *unwinder, const struct space *space)
{
	unwinder->space = space;
	if (unwinder->library != NULL)
		library_turn_to(unwinder->library, space);
}

/* ---- modules ---- */

static int64_t thread_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

enum table { TABLE_EH, TABLE_GO, TABLE_DEBUG };

/* Each table has its limits (rows.h), but a target can map any number of files that reach them. */
static struct rows *compile(struct unwinder *unwinder, const struct image *image, enum table which)
{
	if (unwinder->table_bytes >= TABLE_BYTES_MAX || unwinder->table_ns >= TABLE_NS_MAX)
		return NULL;
	int64_t begin_ns = thread_ns();
	struct rows *rows =
		which == TABLE_GO ? rows_compile_go(image) : rows_compile(image, which == TABLE_DEBUG);
	unwinder->table_bytes += rows != NULL ? rows_bytes(rows) : 0;
	unwinder->table_ns += thread_ns() - begin_ns;
	return rows;
}

static struct module *module_of_image(struct unwinder *unwinder, const struct image *image)
{
	struct module *module = unwinder->modules;
	while (module != NULL && module->image != image)
		module = module->next;
	if (module != NULL || (module = calloc(1, sizeof *module)) == NULL)
		return module;
	module->image = image;
	module->eh = compile(unwinder, image, TABLE_EH);
	module->go = compile(unwinder, image, TABLE_GO);
	module->next = unwinder->modules;
	unwinder->modules = module;
	return module;
}

/* What is known of a mapping stays right when the target's maps change; its id may only become that of another
 * when its process has ended. */
static struct module *module_of(struct unwinder *unwinder, uint32_t id, const struct mapping *mapping)
{
	if (mapping->image == NULL)
		return NULL;
	if (id >= unwinder->n_by_mapping) {
		size_t n = space_count(unwinder->space);
		struct module **larger = realloc(unwinder->by_mapping, n * sizeof *larger);
		if (larger == NULL)
			return NULL;
		for (size_t i = unwinder->n_by_mapping; i < n; i++)
			larger[i] = NULL;
		unwinder->by_mapping = larger;
		unwinder->n_by_mapping = n;
	}
	if (unwinder->by_mapping[id] == NULL || unwinder->by_mapping[id]->image != mapping->image)
		unwinder->by_mapping[id] = module_of_image(unwinder, mapping->image);
	return unwinder->by_mapping[id];
}

/* .debug_frame mostly says again what .eh_frame does, and is as large: it is compiled when that knows nothing
 * of a pc. */
static const struct rows *find_debug(struct unwinder *unwinder, struct module *module)
{
	if (!module->looked_for_debug) {
		module->looked_for_debug = true;
		module->debug = compile(unwinder, module->image, TABLE_DEBUG);
	}
	return module->debug;
}

static bool look_up_place(struct unwinder *unwinder, uint64_t address, struct place *place, uint32_t *id)
{
	*place = (struct place){0};
	*id = space_find(unwinder->space, address);
	place->mapping = space_mapping(unwinder->space, *id);
	if (place->mapping == NULL)
		return false;
	struct module *module = module_of(unwinder, *id, place->mapping);
	place->module = module;
	if (module == NULL || !mapping_vaddr(place->mapping, address, &place->vaddr))
		return true;
	place->bias = address - place->vaddr;
	/* In Go code .debug_frame does not know what changes stacks, nor where rbp is. */
	const struct rows *const tables[] = {module->eh, module->go};
	for (size_t i = 0; i < sizeof tables / sizeof *tables && place->row == NULL; i++) {
		place->rows = tables[i];
		place->row = tables[i] != NULL ? rows_find(tables[i], place->vaddr) : NULL;
	}
	if (place->row == NULL) {
		place->rows = find_debug(unwinder, module);
		place->row = place->rows != NULL ? rows_find(place->rows, place->vaddr) : NULL;
	}
	return true;
}

void unwinder_prepare(struct unwinder *unwinder, int64_t cpu_ns)
{
	int64_t end = thread_ns() + cpu_ns;
	size_t n;
	const uint32_t *live = space_live(unwinder->space, &n);
	for (size_t i = 0; i < n && thread_ns() < end; i++) {
		const struct mapping *mapping = space_mapping(unwinder->space, live[i]);
		if (mapping->image != NULL)
			module_of(unwinder, live[i], mapping);
	}
}

bool unwinder_go_tls(struct unwinder *unwinder, int32_t *offset)
{
	size_t n;
	const uint32_t *live = space_live(unwinder->space, &n);
	for (size_t i = 0; i < n; i++) {
		const struct mapping *mapping = space_mapping(unwinder->space, live[i]);
		if (mapping->image == NULL || !gopclntab_is_go(mapping->image))
			continue;
		const struct module *module = module_of(unwinder, live[i], mapping);
		if (module != NULL && module->go != NULL && rows_go_tls(module->go, offset))
			return true;
	}
	return false;
}

/* Finds the mapping and row of `address`; false when it lies in no executable mapping. Mappings, images and
 * tables that were ever seen stay as they are: only which of them is mapped there changes. */
static bool find_place(struct unwinder *unwinder, uint64_t address, struct place *place, uint32_t *id)
{
	uint64_t generation = space_generation(unwinder->space);
	struct known_place *known = &unwinder->places[(address ^ address >> 12) % PLACES];
	if (known->address != address || known->generation != generation) {
		known->found = look_up_place(unwinder, address, &known->place, &known->id);
		known->address = address;
		known->generation = generation;
	}
	*place = known->place;
	*id = known->id;
	return known->found;
}

/* ---- reading ---- */

/* Why a word could not be read: beyond the copy of the same stack, or nowhere. */
static enum stop unreadable(const struct walk *walk, uint64_t address)
{
	for (int i = 0; i < SNAPSHOT_REGIONS; i++) {
		const struct region *region = &walk->snapshot->region[i];
		if (region->len == 0 || address < region->start)
			continue;
		const struct map *map = space_map(walk->unwinder->space, region->start);
		if (map == NULL || address < map->end)
			return STOP_COPY_END;
	}
	return STOP_BAD_FRAME;
}

static bool read_word(struct walk *walk, uint64_t address, uint64_t *value)
{
	if (memory_word(walk->snapshot, address, value))
		return true;
	walk->why = unreadable(walk, address);
	return false;
}

/* What a hostile table could repeat at each of 65,536 frames is paid from the walk's budget; false when that is
 * spent. */
static bool spend(struct walk *walk, unsigned words)
{
	if (walk->words < words) {
		walk->words = 0;
		walk->why = STOP_BUDGET;
		return false;
	}
	walk->words -= words;
	return true;
}

static void set_reg(struct walk *walk, enum amd64_reg reg, uint64_t value)
{
	walk->regs.r[reg] = value;
	walk->regs.known |= 1u << reg;
}

static bool is_known(const struct walk *walk, enum amd64_reg reg)
{
	return (walk->regs.known >> reg & 1) != 0;
}

/* ---- guesses, where there is no unwind information ---- */

/* Does the instruction before `address` call? (Intel SDM, CALL: E8 rel32; FF /2 with every addressing form.)
 * Code without a file cannot be looked at: being executable must do. */
static size_t indirect_call_size(const uint8_t *code)
{
	uint8_t modrm = code[1], mod = modrm >> 6, rm = modrm & 7;
	if (code[0] != 0xff || (modrm >> 3 & 7) != 2)
		return 0;
	bool has_sib = mod != 3 && rm == 4;
	bool no_base = mod == 0 && (has_sib ? (code[2] & 7) == 5 : rm == 5);
	return 2 + has_sib + (mod == 1 ? 1 : 0) + (mod == 2 || no_base ? 4 : 0);
}

static bool follows_call(struct unwinder *unwinder, uint64_t address)
{
	enum { LONGEST = 7 };
	struct place place;
	uint32_t id;
	uint8_t code[LONGEST + 1] = {0};
	if (!find_place(unwinder, address - 1, &place, &id))
		return false;
	if (place.module == NULL)
		return true;
	if (place.bias == 0 && place.vaddr == 0)
		return false; /* no segment has it */
	if (image_read_vaddr(place.module->image, address - place.bias - LONGEST, code, LONGEST) != LONGEST)
		return false;
	if (code[LONGEST - 5] == 0xe8)
		return true;
	for (size_t size = 2; size <= LONGEST; size++)
		if (indirect_call_size(code + LONGEST - size) == size)
			return true;
	return false;
}

/* An assembler leaf, or an interrupted stub: the return address is still on top of the stack. */
static bool guess_leaf(struct walk *walk)
{
	uint64_t sp = walk->regs.r[AMD64_RSP], ra;
	if (walk->is_return || !memory_word(walk->snapshot, sp, &ra) || !follows_call(walk->unwinder, ra))
		return false;
	set_reg(walk, AMD64_RIP, ra);
	set_reg(walk, AMD64_RSP, sp + 8);
	return true;
}

/* A stub of the procedure linkage table without information, as lld writes it, by its bytes (psABI AMD64, 5.2):
 * a jump; or a push and a jump to the table's first entry, which pushes again and jumps. How many words lie on
 * top of the return address; -1: it is no such stub. */
static int words_of_stub(const struct place *place)
{
	enum { BEFORE = 6, AFTER = 9 };
	uint8_t code[BEFORE + AFTER];
	if (place->module == NULL ||
		image_read_vaddr(place->module->image, place->vaddr - BEFORE, code, sizeof code) != sizeof code)
		return -1;
	const uint8_t *at = code + BEFORE;
	bool push_before = at[-6] == 0xff && at[-5] == 0x35;
	if (at[0] == 0xe9 && at[-5] == 0x68)
		return 1;
	if (at[0] == 0xff && at[1] == 0x35 && at[6] == 0xff && at[7] == 0x25)
		return 1;
	if (at[0] == 0xff && at[1] == 0x25)
		return push_before ? 2 : 0;
	return at[0] == 0x68 && at[5] == 0xe9 ? 0 : -1;
}

/* False when the pc is not in a stub. */
static bool step_stub(struct walk *walk, const struct place *place)
{
	uint64_t ra;
	int words = walk->is_return ? -1 : words_of_stub(place);
	if (words < 0)
		return false;
	uint64_t slot = walk->regs.r[AMD64_RSP] + 8 * (uint64_t)words;
	if (!memory_word(walk->snapshot, slot, &ra) || !follows_call(walk->unwinder, ra))
		return false;
	set_reg(walk, AMD64_RIP, ra);
	set_reg(walk, AMD64_RSP, slot + 8);
	walk->is_return = true;
	return true;
}

/* Code that keeps a frame pointer (JIT code, Go): the caller's rbp and return address are where rbp points. */
static bool guess_frame_pointer(struct walk *walk)
{
	uint64_t bp = walk->regs.r[AMD64_RBP], saved, ra;
	if (!is_known(walk, AMD64_RBP) || bp < walk->regs.r[AMD64_RSP] || bp % 8 != 0 ||
		!memory_word(walk->snapshot, bp, &saved) || !memory_word(walk->snapshot, bp + 8, &ra) ||
		!follows_call(walk->unwinder, ra))
		return false;
	set_reg(walk, AMD64_RIP, ra);
	set_reg(walk, AMD64_RSP, bp + 16);
	set_reg(walk, AMD64_RBP, saved);
	return true;
}

/* Does the word on top of the stack point into a function with unwind information? An assembler leaf, or a
 * stub, does not touch rbp: it belongs to the caller, and to follow it would lose that caller. Code that keeps
 * frame pointers mostly has callers of its own kind. */
static bool is_in_known_code(const struct walk *walk)
{
	struct place place;
	uint32_t id;
	uint64_t ra;
	return memory_word(walk->snapshot, walk->regs.r[AMD64_RSP], &ra) &&
	       find_place(walk->unwinder, ra - 1, &place, &id) && place.row != NULL;
}

static bool guess_caller(struct walk *walk)
{
	if (!(is_in_known_code(walk) && guess_leaf(walk)) && !guess_frame_pointer(walk) && !guess_leaf(walk)) {
		walk->why = STOP_NO_INFO;
		return false;
	}
	walk->guessed = true;
	walk->is_return = true;
	return true;
}

/* ---- steps ---- */

/* The registers that the kernel saved when it delivered a signal: rsp points to the ucontext (struct
 * rt_sigframe of the kernel; the order of gregs in <sys/ucontext.h>). The interrupted pc is exact. */
static bool step_signal(struct walk *walk)
{
	static const uint8_t order[] = {AMD64_R8, AMD64_R9, AMD64_R10, AMD64_R11, AMD64_R12, AMD64_R13,
		AMD64_R14, AMD64_R15, AMD64_RDI, AMD64_RSI, AMD64_RBP, AMD64_RBX, AMD64_RDX, AMD64_RAX,
		AMD64_RCX, AMD64_RSP, AMD64_RIP};
	enum { GREGS = 40 }; /* offset of uc_mcontext.gregs */
	uint64_t base = walk->regs.r[AMD64_RSP] + GREGS;
	struct regs saved = {.known = REGS_ALL};
	for (size_t i = 0; i < sizeof order; i++)
		if (!read_word(walk, base + 8 * i, &saved.r[order[i]]))
			return false;
	walk->regs = saved;
	walk->is_return = false;
	/* Nobody called the trampoline: the kernel made its address the handler's return address, and the byte
	 * before it is another function's. */
	walk->unwinder->frames[walk->n - 1].is_return = false;
	return true;
}

/* mov $15, %rax; syscall: rt_sigreturn, in a C library that has no unwind information for it (musl). */
static bool is_sigreturn(const struct walk *walk, const struct place *place)
{
	static const uint8_t code[] = {0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};
	uint8_t there[sizeof code];
	return place->module != NULL &&
	       image_read_vaddr(place->module->image, place->vaddr + walk->is_return, there, sizeof there) ==
		       sizeof there &&
	       memcmp(there, code, sizeof code) == 0;
}

/* The arguments of clone and clone3 are still there: the new stack's pointer, which is rsp, and CLONE_VM among
 * the flags; or a structure of one of the sizes that there have been (linux/sched.h). */
static bool has_cloned(const struct walk *walk)
{
	enum { FLAG_VM = 0x100, SIZE_1 = 64, SIZE_2 = 80, SIZE_3 = 88 };
	const uint64_t *r = walk->regs.r;
	bool has_size = r[AMD64_RSI] == SIZE_1 || r[AMD64_RSI] == SIZE_2 || r[AMD64_RSI] == SIZE_3;
	return (r[AMD64_RSI] == r[AMD64_RSP] && (r[AMD64_RDI] & FLAG_VM) != 0) ||
	       (has_size && space_map(walk->unwinder->space, r[AMD64_RDI]) != NULL);
}

/* A thread that has just been created stands behind the system call that made it, with 0 as its result, and has
 * no caller; C libraries end the unwind information before that call (glibc's clone3.S: "in the child the
 * unwind info will be wrong"). */
static bool is_newborn(const struct walk *walk, const struct place *place)
{
	static const uint8_t code[] = {0x0f, 0x05};
	uint8_t there[sizeof code];
	return walk->n == 1 && walk->regs.known == REGS_ALL && walk->regs.r[AMD64_RAX] == 0 &&
	       has_cloned(walk) && place->module != NULL &&
	       image_read_vaddr(place->module->image, place->vaddr - sizeof code, there, sizeof there) ==
		       sizeof there &&
	       memcmp(there, code, sizeof code) == 0;
}

/* The caller's value of a register that the row says lies at `cfa + offset`; 0: it is unchanged. */
static bool restore_reg(struct walk *walk, enum amd64_reg reg, uint64_t cfa, int16_t offset)
{
	uint64_t value;
	if (offset == 0)
		return true;
	uint64_t slot = cfa + (uint64_t)(int64_t)offset;
	/* Below the stack pointer an epilogue has popped it already, which compilers need not say (gcc does not
	 * at -O0), or a leaf keeps it in the red zone: either way the word is right where it was copied, and
	 * where not, the register is. */
	if (slot < walk->regs.r[AMD64_RSP] && !memory_word(walk->snapshot, slot, &value))
		return true;
	if (!read_word(walk, slot, &value))
		return false;
	set_reg(walk, reg, value);
	return true;
}

/* Does the function at link-time address `vaddr` do nothing? (endbr64, nop, ret: _Unwind_DebugHook, where
 * debuggers put a breakpoint.) */
static bool does_nothing(const struct image *image, uint64_t vaddr)
{
	static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
	uint8_t code[8] = {0};
	image_read_vaddr(image, vaddr, code, sizeof code);
	size_t at = memcmp(code, endbr64, sizeof endbr64) == 0 ? sizeof endbr64 : 0;
	at += code[at] == 0x90;
	return code[at] == 0xc3;
}

/* Is there a direct call in [begin, end) of code with information? Another instruction's operand may look like
 * one, but hardly goes to where a function begins. */
static bool has_call(const struct place *place, uint64_t begin, uint64_t end)
{
	enum { LONGEST = 512, CALL = 5 };
	const struct image *image = place->module->image;
	uint8_t code[LONGEST];
	size_t len =
		image_read_vaddr(image, begin, code, end - begin < LONGEST ? (size_t)(end - begin) : LONGEST);
	for (size_t i = 0; i + CALL <= len; i++) {
		int32_t distance;
		memcpy(&distance, code + i + 1, sizeof distance);
		uint64_t callee = begin + i + CALL + (uint64_t)(int64_t)distance;
		if (code[i] == 0xe8 && rows_is_function_start(place->rows, callee) &&
			!does_nothing(image, callee))
			return true;
	}
	return false;
}

/* A function that throws leaves by its last rows, where the CFA comes from a scratch register: from there its
 * "caller" is the landing pad that it jumps to, whose address is exact. */
static bool is_leaving(const struct place *place)
{
	const struct row *before = rows_find(place->rows, place->vaddr - 1);
	return place->row->is_thrower && place->row->kind == ROW_RSP && before != NULL &&
	       before->kind == ROW_EXPRESSION;
}

/* Before, behind its last call, it puts the registers of the frame that catches over those that it saved, and
 * that frame's return address over its own: what it saved is no longer its caller's, and nothing says any more
 * who that was (uw_install_context_1 in libgcc's unwind.inc; __builtin_eh_return in gcc's manual). */
static bool is_throwing(const struct walk *walk, const struct place *place)
{
	enum { FAR = 512 };
	const struct row *next = place->row;
	uint64_t end = place->vaddr;
	if (!next->is_thrower || next->kind == ROW_RSP)
		return false;
	while (next != NULL && next->kind != ROW_EXPRESSION && next->is_thrower && end - place->vaddr < FAR)
		next = rows_find(place->rows, ++end);
	if (next == NULL || next->kind != ROW_EXPRESSION)
		return false;
	/* Called from it is the very function that does this, or one that only returns. */
	return !has_call(place, place->vaddr + walk->is_return, end);
}

/* The caller's frame begins at `cfa`, which must lie above this one's. */
static bool step_to_cfa(struct walk *walk, enum amd64_reg from, const struct place *place)
{
	const struct row *row = place->row;
	uint64_t ra, cfa = walk->regs.r[from] + (uint64_t)(int64_t)row->cfa;
	if (row->is_thrower && !spend(walk, THROWING_WORDS))
		return false;
	if (is_throwing(walk, place)) {
		walk->why = STOP_THROWN;
		return false;
	}
	if (cfa <= walk->regs.r[AMD64_RSP] || cfa % 8 != 0) {
		walk->why = STOP_BAD_FRAME;
		return false;
	}
	if (!read_word(walk, cfa - 8, &ra) || !restore_reg(walk, AMD64_RBP, cfa, row->rbp) ||
		!restore_reg(walk, AMD64_RBX, cfa, row->rbx))
		return false;
	/* Other registers are not followed. */
	walk->regs.known &= 1u << AMD64_RIP | 1u << AMD64_RSP | 1u << AMD64_RBP | 1u << AMD64_RBX;
	set_reg(walk, AMD64_RIP, ra);
	set_reg(walk, AMD64_RSP, cfa);
	walk->is_return = !is_leaving(place);
	return true;
}

/* Rules that need no expression, from any register: code that is about to leave its stack frame for another one
 * (longjmp, the last instructions of a throw), or finds it by a scratch register. What it says of the callers
 * is already where it goes. */
static bool value_by_rule(const struct walk *walk, const struct cfi_rule *rule, uint64_t cfa,
	enum amd64_reg same, uint64_t *value)
{
	enum amd64_reg from = rule->kind == CFI_REGISTER ? (enum amd64_reg)rule->value : same;
	if (rule->kind == CFI_AT)
		return memory_word(walk->snapshot, cfa + (uint64_t)rule->value, value);
	if (rule->kind == CFI_AT_REGISTER && is_known(walk, (enum amd64_reg)rule->base)) {
		uint64_t at = walk->regs.r[rule->base] + (uint64_t)rule->value;
		/* An epilogue that has popped the base register has popped this one, too, and no compiler says
		 * so: then the base is another frame's. */
		if (at < cfa)
			return memory_word(walk->snapshot, at, value);
		*value = walk->regs.r[same];
		return is_known(walk, same);
	}
	if ((rule->kind != CFI_SAME && rule->kind != CFI_REGISTER) || !is_known(walk, from))
		return false;
	*value = walk->regs.r[from];
	return true;
}

static bool step_by_rules(struct walk *walk, const struct cfi_state *rules)
{

	uint64_t cfa = walk->regs.r[rules->cfa_register] + (uint64_t)rules->cfa_offset, sp, value;
	struct regs caller = {.known = 1u << AMD64_RIP | 1u << AMD64_RSP};
	bool apart = rules->rsp.kind == CFI_REGISTER;
	if (rules->cfa_is_stored && !memory_word(walk->snapshot, cfa, &cfa))
		return false;
	sp = cfa;
	if (!value_by_rule(walk, &rules->ra, cfa, AMD64_RIP, &caller.r[AMD64_RIP]) ||
		(apart && !value_by_rule(walk, &rules->rsp, cfa, AMD64_RSP, &sp)))
		return false;
	/* What is popped already lies in a register: then nothing of the stack is left to pass. */
	bool is_popped = rules->ra.kind == CFI_REGISTER;
	if (sp % 8 != 0 || sp < walk->regs.r[AMD64_RSP] || (sp == walk->regs.r[AMD64_RSP] && !is_popped))
		return false;
	caller.r[AMD64_RSP] = sp;
	if (value_by_rule(walk, &rules->rbp, cfa, AMD64_RBP, &value)) {
		caller.r[AMD64_RBP] = value;
		caller.known |= 1u << AMD64_RBP;
	}
	if (value_by_rule(walk, &rules->rbx, cfa, AMD64_RBX, &value)) {
		caller.r[AMD64_RBX] = value;
		caller.known |= 1u << AMD64_RBX;
	}
	walk->regs = caller;
	walk->is_return = !rules->saves_results; /* else a landing pad: see is_leaving */
	return true;
}

/* Can the walk follow these rules itself? */
static bool is_plain(const struct walk *walk, const struct cfi_state *rules)
{
	/* A function that has called another cannot keep its return address in a register that the call spares.
	 */
	bool has_ra = rules->ra.kind == CFI_AT || (rules->ra.kind == CFI_REGISTER && !walk->is_return);
	return has_ra && !rules->cfa_is_expression && rules->cfa_register < AMD64_COUNT &&
	       is_known(walk, (enum amd64_reg)rules->cfa_register) && rules->rbp.kind != CFI_OTHER &&
	       rules->rbx.kind != CFI_OTHER && (rules->rsp.kind == CFI_SAME || rules->rsp.kind == CFI_REGISTER);
}

static bool step_expression(struct walk *walk, const struct place *place)
{
	struct expression_step step = {
		.place = {.rows = place->rows, .bias = place->bias, .image = place->module->image},
		.snapshot = walk->snapshot,
		.budget = &walk->words};
	struct cfi_entry entry;
	struct cfi_state rules;
	uint64_t sp = walk->regs.r[AMD64_RSP];
	bool lacks_rbp = !is_known(walk, AMD64_RBP);
	walk->why = STOP_BAD_FRAME;
	if (!rows_fde(place->rows, place->row, &step.place.fde))
		return false;
	if (rows_entry(place->rows, &step.place.fde, &entry)) {
		size_t bytes = entry.initial.left + entry.program.left;
		if (!spend(walk, RULES_WORDS + (unsigned)(bytes < WORDS_MAX ? bytes / 8 : WORDS_MAX)))
			return false;
		bool known = cfi_state_at(&entry, place->vaddr, &rules);
		if (known && is_plain(walk, &rules))
			return step_by_rules(walk, &rules);
		/* A function that has called another cannot keep its return address in a register that calls
		 * change. */
		if (known && rules.ra.kind == CFI_REGISTER && walk->is_return)
			return false;
	}
	if (!expression_apply(walk->unwinder->expression, &step, &walk->regs) ||
		walk->regs.r[AMD64_RSP] <= sp) {
		walk->why = walk->words == 0 ? STOP_BUDGET : lacks_rbp ? STOP_NO_REGISTER : STOP_BAD_FRAME;
		return false;
	}
	walk->is_return = true;
	return true;
}

/* ---- Go's changes of stacks ---- */

/* Is rsp on the stack of the goroutine that the thread works for? */
static bool is_on_goroutine(const struct walk *walk)
{
	const struct goroutine *goroutine = &walk->snapshot->goroutine;
	return walk->regs.r[AMD64_RSP] >= goroutine->lo && walk->regs.r[AMD64_RSP] < goroutine->hi;
}

/* The caller's frame begins at `cfa`, on any stack; rbp was saved at `slot` (0: nowhere). What says so is
 * memory of the target, not a table: so it must look like a call. */
static bool switch_to(struct walk *walk, uint64_t cfa, uint64_t slot)
{
	uint64_t ra, bp = 0;
	if (cfa % 8 != 0 || walk->switches++ == SWITCHES_MAX) {
		walk->why = STOP_BAD_FRAME;
		return false;
	}
	if (!read_word(walk, cfa - 8, &ra) || (slot != 0 && !read_word(walk, slot, &bp)))
		return false;
	if (!follows_call(walk->unwinder, ra)) {
		walk->why = STOP_BAD_FRAME;
		return false;
	}
	if (slot != 0)
		set_reg(walk, AMD64_RBP, bp);
	walk->regs.known &= 1u << AMD64_RIP | 1u << AMD64_RSP | 1u << AMD64_RBP;
	set_reg(walk, AMD64_RIP, ra);
	set_reg(walk, AMD64_RSP, cfa);
	walk->is_return = true;
	return true;
}

/* The frame pointer of the function that changed stacks still points into its frame. */
static bool step_by_frame_pointer(struct walk *walk, const struct row *row)
{
	uint64_t bp = walk->regs.r[AMD64_RBP];
	return switch_to(walk, bp - (uint64_t)(int64_t)row->rbp, bp);
}

/* Until 1.20 asmcgocall keeps at 48(SP) the goroutine, or 0 if there was none to leave, and at 40(SP) how far
 * from its stack's end rsp was, or rsp itself. */
static bool old_asmcgocall_sp(struct walk *walk, uint64_t *sp)
{
	uint64_t goroutine, kept, at = walk->regs.r[AMD64_RSP];
	if (!read_word(walk, at + 48, &goroutine) || !read_word(walk, at + 40, &kept))
		return false;
	*sp = goroutine == 0 ? kept : walk->snapshot->goroutine.hi - kept;
	return true;
}

/* systemstack and asmcgocall, called on the goroutine's stack, call on the thread's own. */
static bool step_go_system(struct walk *walk, const struct place *place)
{
	const struct row *row = place->row;
	const struct goroutine *goroutine = &walk->snapshot->goroutine;
	uint64_t sp = goroutine->sp;
	if (row->rbp != 0 && is_known(walk, AMD64_RBP))
		return step_by_frame_pointer(walk, row);
	/* Called on the thread's own stack they stay there, and their caller's frames lie where that stack
	 * begins. */
	bool is_below = walk->regs.r[AMD64_RSP] + ASMCGOCALL_FRAME < goroutine->system_sp || goroutine->hi == 0;
	if (is_on_goroutine(walk) || (!walk->is_return && is_below))
		return step_to_cfa(walk, AMD64_RSP, place);
	if (goroutine->hi == 0) {
		walk->why = STOP_NO_REGISTER;
		return false;
	}
	if (row->kind == ROW_GO_ASMCGOCALL && row->rbp == 0 && walk->is_return && !old_asmcgocall_sp(walk, &sp))
		return false;
	/* What gosave saves as rbp is its own caller's, where there is no frame pointer. */
	set_reg(walk, AMD64_RBP, goroutine->bp);
	uint64_t cfa = sp + (uint64_t)(int64_t)row->cfa;
	return switch_to(walk, cfa, row->rbp != 0 ? cfa + (uint64_t)(int64_t)row->rbp : 0);
}

/* The goroutine goes on as it was saved. gogo clears what it has loaded: then it is in the registers. */
static bool step_to_goroutine(struct walk *walk)
{
	const struct goroutine *goroutine = &walk->snapshot->goroutine;
	if (walk->switches++ == SWITCHES_MAX) {
		walk->why = STOP_BAD_FRAME;
		return false;
	}
	struct regs left = walk->regs;
	bool is_loaded = is_on_goroutine(walk);
	walk->regs = (struct regs){.known = 0};
	set_reg(walk, AMD64_RIP, goroutine->pc);
	set_reg(walk, AMD64_RSP, is_loaded ? left.r[AMD64_RSP] : goroutine->sp);
	set_reg(walk, AMD64_RBP, is_loaded && goroutine->bp == 0 ? left.r[AMD64_RBP] : goroutine->bp);
	/* Behind a call; not where a goroutine begins, nor where it goes on after a panic. */
	walk->is_return = follows_call(walk->unwinder, goroutine->pc);
	return true;
}

static bool end_at_root(struct walk *walk)
{
	walk->why = STOP_ROOT;
	return false;
}

/* Go's clone has given its stack to the system call in rsi (clone(2)), and calls nothing that changes it. */
static bool is_new_thread(const struct walk *walk)
{
	const struct regs *regs = &walk->snapshot->regs;
	return regs->known == REGS_ALL && walk->regs.r[AMD64_RSP] == regs->r[AMD64_RSI];
}

static bool step_go(struct walk *walk, const struct place *place)
{
	const struct row *row = place->row;
	bool on_goroutine = is_on_goroutine(walk), has_goroutine = walk->snapshot->goroutine.hi != 0;
	switch ((enum row_kind)row->kind) {
	case ROW_GO_MCALL:
		return on_goroutine ? step_to_cfa(walk, AMD64_RSP, place) : end_at_root(walk);
	case ROW_GO_MORESTACK:
		if (on_goroutine || (!has_goroutine && !walk->is_return))
			return step_to_cfa(walk, AMD64_RSP, place);
		return has_goroutine && !walk->scheduling ? step_to_goroutine(walk) : end_at_root(walk);
	case ROW_GO_GOGO:
		return on_goroutine ? step_to_goroutine(walk) : step_to_cfa(walk, AMD64_RSP, place);
	case ROW_GO_CLONE:
		return is_new_thread(walk) ? end_at_root(walk) : step_to_cfa(walk, AMD64_RSP, place);
	case ROW_GO_PREEMPT:
	case ROW_GO_SIGPANIC:
		if (!step_to_cfa(walk, AMD64_RSP, place))
			return false;
		walk->is_return =
			row->kind == ROW_GO_SIGPANIC && follows_call(walk->unwinder, walk->regs.r[AMD64_RIP]);
		return true;
	case ROW_GO_SCHEDULE:
		walk->scheduling = true;
		return step_to_cfa(walk, AMD64_RSP, place);
	default:
		return step_go_system(walk, place);
	}
}

/* ---- the lost rbp of a sleeping thread ---- */

/* Where the call before return address `ra` goes, if it is a direct one; 0 otherwise. */
static uint64_t call_target(struct unwinder *unwinder, uint64_t ra)
{
	struct place place;
	uint32_t id;
	uint8_t code[5];
	int32_t distance;
	if (!find_place(unwinder, ra - 1, &place, &id) || place.module == NULL || place.row == NULL)
		return 0;
	if (image_read_vaddr(place.module->image, ra - place.bias - sizeof code, code, sizeof code) !=
			sizeof code ||
		code[0] != 0xe8)
		return 0;
	memcpy(&distance, code + 1, sizeof distance);
	return ra + (uint64_t)(int64_t)distance;
}

static void run_walk(struct walk *walk);

/* Does the rest of the walk reach the thread's first frame if rbp is `slot`? */
static bool leads_to_root(struct walk *walk, uint64_t slot)
{
	struct walk trial = *walk;
	trial.is_trial = true;
	trial.n--; /* it pushes the current frame again */
	set_reg(&trial, AMD64_RBP, slot);
	run_walk(&trial);
	walk->words = trial.words;
	return trial.why == STOP_ROOT;
}

/* The function that is looked at keeps its caller's rbp at its own rbp, and its return address above: some slot
 * of the stack has both. A return address whose call goes to this very function proves the slot; one after
 * another call, from where the walk reaches the thread's first frame, is a guess. */
static bool recover_rbp(struct walk *walk, const struct place *place)
{
	if (!spend(walk, FUNCTION_WORDS))
		return false;
	uint64_t sp = walk->regs.r[AMD64_RSP],
		 function = rows_function_start(place->rows, place->row) + place->bias, guess = 0;
	int trials = walk->is_trial ? 0 : TRIALS_MAX;
	for (uint64_t slot = sp, i = 0; i < RECOVER_WORDS; i++, slot += 8) {
		uint64_t ra;
		if (!memory_word(walk->snapshot, slot + 8, &ra))
			break;
		if (space_find(walk->unwinder->space, ra) == MAPPING_NONE)
			continue;
		if (!spend(walk, SLOT_WORDS))
			return false;
		if (call_target(walk->unwinder, ra) == function) {
			set_reg(walk, AMD64_RBP, slot);
			return true;
		}
		if (guess != 0 || trials == 0 || !follows_call(walk->unwinder, ra))
			continue;
		trials--;
		if (leads_to_root(walk, slot))
			guess = slot;
	}
	if (guess == 0) {
		walk->why = STOP_NO_REGISTER;
		return false;
	}
	walk->guessed = true;
	set_reg(walk, AMD64_RBP, guess);
	return true;
}

/* ---- the walk ---- */

/* From the current frame to its caller; false with walk->why at the end. */
static bool step(struct walk *walk, const struct place *place)
{
	const struct row *row = place->row;
	if (row == NULL && is_newborn(walk, place)) {
		walk->why = STOP_ROOT;
		return false;
	}
	if (row == NULL && is_sigreturn(walk, place))
		return step_signal(walk);
	if (row == NULL)
		return step_stub(walk, place) || guess_caller(walk);
	switch ((enum row_kind)row->kind) {
	case ROW_RSP:
		return step_to_cfa(walk, AMD64_RSP, place);
	case ROW_RBP:
		if (!is_known(walk, AMD64_RBP) && !recover_rbp(walk, place))
			return false;
		return step_to_cfa(walk, AMD64_RBP, place);
	case ROW_RBX:
		if (!is_known(walk, AMD64_RBX)) {
			walk->why = STOP_NO_REGISTER;
			return false;
		}
		return step_to_cfa(walk, AMD64_RBX, place);
	case ROW_SWITCH:
		if (!is_known(walk, AMD64_RBP)) {
			walk->why = STOP_NO_REGISTER;
			return false;
		}
		return step_by_frame_pointer(walk, row);
	case ROW_GO_SYSTEMSTACK:
	case ROW_GO_ASMCGOCALL:
	case ROW_GO_MCALL:
	case ROW_GO_MORESTACK:
	case ROW_GO_GOGO:
	case ROW_GO_SCHEDULE:
	case ROW_GO_CLONE:
	case ROW_GO_PREEMPT:
	case ROW_GO_SIGPANIC:
		return step_go(walk, place);
	case ROW_SIGNAL:
		return step_signal(walk);
	case ROW_EXPRESSION:
		return step_expression(walk, place);
	case ROW_ROOT:
		walk->why = STOP_ROOT;
		return false;
	case ROW_NONE:
		break;
	}
	walk->why = STOP_NO_INFO;
	return false;
}

static bool push_frame(struct walk *walk, uint32_t mapping)
{
	struct unwinder *unwinder = walk->unwinder;
	if (walk->n == FRAMES_MAX) {
		walk->why = STOP_BUDGET;
		return false;
	}
	if (walk->n == unwinder->cap) {
		size_t cap = 2 * unwinder->cap + 1;
		struct frame *larger = realloc(unwinder->frames, cap * sizeof *larger);
		if (larger == NULL) {
			walk->why = STOP_BUDGET;
			return false;
		}
		unwinder->frames = larger;
		unwinder->cap = cap;
	}
	unwinder->frames[walk->n++] = (struct frame){walk->regs.r[AMD64_RIP], mapping, walk->is_return};
	return true;
}

/* The frame that is left is the last one: either a known end, or a caller that lies nowhere. */
static void end_outside(struct walk *walk)
{
	/* Start code that pushes a zero as its return address ends the chain on purpose (psABI AMD64, 3.4.1:
	 * the deepest frame). */
	walk->why =
		walk->n > 0 && walk->is_return && walk->regs.r[AMD64_RIP] == 0 ? STOP_ROOT : STOP_NO_MAPPING;
}

/* A jump through a bad pointer: the pc lies nowhere, and the caller is on top of the stack. */
static bool leave_nowhere(struct walk *walk)
{
	if (walk->n != 0 || !push_frame(walk, MAPPING_NONE))
		return false;
	if (!guess_leaf(walk))
		return false;
	walk->guessed = true;
	walk->is_return = true;
	return true;
}

static void run_walk(struct walk *walk)
{
	for (;;) {
		struct place place;
		uint32_t id;
		if (!find_place(walk->unwinder, walk->regs.r[AMD64_RIP] - walk->is_return, &place, &id)) {
			end_outside(walk);
			if (walk->why == STOP_ROOT || !leave_nowhere(walk))
				return;
			continue;
		}
		if (!push_frame(walk, id) || !step(walk, &place))
			return;
	}
}

/* Keeps both ends of a stack with more frames than wanted. */
static void shorten(const struct unwinder *unwinder, struct stack *stack)
{
	size_t keep = unwinder->max_depth;
	if (stack->n <= keep)
		return;
	size_t root = keep / 2, leaf = keep - root;
	memmove(stack->v + leaf, stack->v + stack->n - root, root * sizeof *stack->v);
	stack->gap_at = leaf;
	stack->gap_frames = stack->n - keep;
	stack->n = keep;
}

static void walk_rows(struct unwinder *unwinder, const struct snapshot *snapshot, struct stack *out)
{
	struct walk walk = {
		.unwinder = unwinder, .snapshot = snapshot, .regs = snapshot->regs, .words = WORDS_MAX};
	run_walk(&walk);
	*out = (struct stack){.v = unwinder->frames,
		.n = walk.n,
		.cap = unwinder->cap,
		.why = walk.why,
		.guessed = walk.guessed};
}

/* ---- a second opinion ---- */

int unwinder_use(struct unwinder *unwinder, enum unwinder_kind kind)
{
	if (kind != UNWINDER_ROWS && unwinder->library == NULL)
		unwinder->library = library_new(unwinder->space);
	if (kind != UNWINDER_ROWS && unwinder->library == NULL)
		return -1;
	unwinder->kind = kind;
	return 0;
}

struct unwinder_comparison unwinder_comparison(const struct unwinder *unwinder)
{
	return unwinder->comparison;
}

static bool agree_up_to(const struct stack *a, const struct stack *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a->v[i].pc != b->v[i].pc || a->v[i].is_return != b->v[i].is_return)
			return false;
	return true;
}

static void compare(
	struct unwinder_comparison *comparison, const struct stack *rows, const struct stack *library)
{
	bool complete = rows->why == STOP_ROOT, other = library->why == STOP_ROOT;
	comparison->walks++;
	if (!agree_up_to(rows, library, rows->n < library->n ? rows->n : library->n) ||
		(complete && other && rows->n != library->n))
		comparison->contradict++;
	else if (complete != other)
		*(complete ? &comparison->rows_only : &comparison->library_only) += 1;
	else if (rows->n != library->n)
		comparison->ends++;
}

void unwinder_walk(struct unwinder *unwinder, const struct snapshot *snapshot, struct stack *out)
{
	struct stack other = {0};
	if (unwinder->kind != UNWINDER_ROWS)
		library_walk(unwinder->library, snapshot, &other);
	if (unwinder->kind == UNWINDER_LIBUNWIND)
		*out = other;
	else
		walk_rows(unwinder, snapshot, out);
	if (unwinder->kind == UNWINDER_BOTH)
		compare(&unwinder->comparison, out, &other);
	shorten(unwinder, out);
}
