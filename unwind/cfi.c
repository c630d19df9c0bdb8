#include "unwind/cfi.h"
#include "unwind/bytes.h"
#include "unwind/types.h"

enum {
	REMEMBER_MAX = 16, /* compilers nest these once or twice */
	EXPRESSION_STACK_MAX = 32,
	DW_CFA_advance_loc = 0x40,
	DW_CFA_offset = 0x80,
	DW_CFA_restore = 0xc0,
};

enum {
	DW_CFA_nop,
	DW_CFA_set_loc,
	DW_CFA_advance_loc1,
	DW_CFA_advance_loc2,
	DW_CFA_advance_loc4,
	DW_CFA_offset_extended,
	DW_CFA_restore_extended,
	DW_CFA_undefined,
	DW_CFA_same_value,
	DW_CFA_register,
	DW_CFA_remember_state,
	DW_CFA_restore_state,
	DW_CFA_def_cfa,
	DW_CFA_def_cfa_register,
	DW_CFA_def_cfa_offset,
	DW_CFA_def_cfa_expression,
	DW_CFA_expression,
	DW_CFA_offset_extended_sf,
	DW_CFA_def_cfa_sf,
	DW_CFA_def_cfa_offset_sf,
	DW_CFA_val_offset,
	DW_CFA_val_offset_sf,
	DW_CFA_val_expression,
	DW_CFA_GNU_args_size = 0x2e,
	DW_CFA_GNU_negative_offset_extended = 0x2f,
};

/* How pointers are written in .eh_frame (Linux Standard Base, "DWARF Exception Header Encoding"). */
enum { PE_OMIT = 0xff, PE_FORMAT = 0x0f, PE_PCREL = 0x10, PE_APPLICATION = 0x70, PE_INDIRECT = 0x80 };

struct scan {
	const uint8_t *bytes;
	size_t len;
	uint64_t vaddr;
	bool debug;
	cfi_sink *sink;
	void *context;
	uint64_t work; /* bytes of CIEs read and run so far: see may_work */
};

struct cie {
	size_t offset; /* of the parsed one, SIZE_MAX: none */
	size_t size; /* bytes of its entry */
	bool valid, has_augmentation, is_signal;
	uint8_t pointer_encoding;
	uint64_t code_align;
	int64_t data_align;
	uint64_t return_register;
	struct bytes program;
};

struct program {
	const struct scan *scan;
	const struct cie *cie;
	/* Only rbp, rbx and the return address are followed, and rsp where it is moved apart: from no other
	 * register do frames of compiled code, or of the C library's assembler, find their CFA after a call. */
	struct cfi_state now, initial, remembered[REMEMBER_MAX];
	size_t depth;
	uint64_t pc;
	bool first_row;
	bool harmful; /* something that the evaluator of expressions must not be given: see
			 expression_is_harmless */
	struct fde fde;
	struct cfi_state *wanted; /* gets the rules at wanted_pc; NULL: rows are wanted */
	uint64_t wanted_pc;
	bool found;
};

/* ---- pointers and entries ---- */

static uint64_t take_format(struct bytes *b, uint8_t format)
{
	switch (format) {
	case 0x00:
	case 0x04:
	case 0x0c:
		return bytes_u64(b);
	case 0x01:
		return bytes_uleb(b);
	case 0x02:
		return bytes_u16(b);
	case 0x03:
		return bytes_u32(b);
	case 0x09:
		return (uint64_t)bytes_sleb(b);
	case 0x0a:
		return (uint64_t)(int64_t)(int16_t)bytes_u16(b);
	case 0x0b:
		return (uint64_t)(int64_t)(int32_t)bytes_u32(b);
	default:
		b->failed = true;
		return 0;
	}
}

static uint64_t take_pointer(const struct scan *scan, struct bytes *b, uint8_t encoding)
{
	uint64_t here = scan->vaddr + (uint64_t)(b->p - scan->bytes);
	uint64_t value = take_format(b, encoding & PE_FORMAT);
	switch (encoding & (PE_APPLICATION | PE_INDIRECT)) {
	case 0:
		return value;
	case PE_PCREL:
		return here + value;
	default: /* relative to text, data or function, or indirect: no compiler writes an FDE's pcs so on
		    x86-64 */
		b->failed = true;
		return 0;
	}
}

/* The body of the entry at `offset`. *id_at gets the offset of its CIE field. */
static struct bytes entry_at(const struct scan *scan, size_t offset, size_t *id_at, size_t *next, bool *wide)
{
	struct bytes b = {scan->bytes + offset, scan->len - offset, false};
	uint64_t length = bytes_u32(&b);
	*wide = length == 0xffffffff;
	if (*wide)
		length = bytes_u64(&b);
	if (b.failed || length > b.left) {
		*next = scan->len;
		b.failed = true;
		return b;
	}
	*id_at = (size_t)(b.p - scan->bytes);
	*next = *id_at + (size_t)length;
	b.left = (size_t)length;
	return b;
}

static uint64_t take_id(const struct scan *scan, struct bytes *b, bool wide)
{
	/* In .eh_frame the CIE pointer has four bytes in the 64-bit format, too (readers and writers agree, the
	 * specification is silent). */
	return wide && scan->debug ? bytes_u64(b) : bytes_u32(b);
}

static bool is_cie_id(const struct scan *scan, uint64_t id, bool wide)
{
	if (!scan->debug)
		return id == 0;
	return id == (wide ? UINT64_MAX : UINT32_MAX);
}

static void take_augmentation(struct bytes *b, const char *letters, struct cie *cie)
{
	uint64_t len = bytes_uleb(b);
	struct bytes data = {b->p, len <= b->left ? (size_t)len : 0, false};
	bytes_skip(b, len);
	for (; *letters != '\0' && !data.failed; letters++) {
		if (*letters == 'R') {
			cie->pointer_encoding = bytes_u8(&data);
		} else if (*letters == 'P') {
			uint8_t encoding = bytes_u8(&data);
			if (encoding != PE_OMIT)
				take_format(&data, encoding & PE_FORMAT);
		} else if (*letters == 'L') {
			bytes_u8(&data);
		} else if (*letters == 'S') {
			cie->is_signal = true;
		} else if (*letters != 'B') {
			break; /* unknown: the length says where the program begins all the same */
		}
	}
	b->failed = b->failed || data.failed;
}

static void parse_cie(const struct scan *scan, size_t offset, struct cie *cie)
{
	size_t id_at, next;
	bool wide;
	*cie = (struct cie){.offset = offset};
	struct bytes b = entry_at(scan, offset, &id_at, &next, &wide);
	cie->size = sizeof(uint32_t) + (b.failed ? 0 : b.left);
	uint64_t id = take_id(scan, &b, wide);
	uint8_t version = bytes_u8(&b);
	if (b.failed || !is_cie_id(scan, id, wide) || (version != 1 && version != 3 && version != 4))
		return;
	const char *augmentation = (const char *)b.p;
	size_t len = strnlen(augmentation, b.left);
	bytes_skip(&b, len + 1);
	/* Compilers write up to four letters: "zPLR". */
	if (b.failed || len > 16)
		return;
	if (version == 4) {
		uint8_t address_size = bytes_u8(&b), segment_size = bytes_u8(&b);
		if (address_size != sizeof(uint64_t) || segment_size != 0)
			return;
	}
	cie->code_align = bytes_uleb(&b);
	cie->data_align = bytes_sleb(&b);
	cie->return_register = version == 1 ? bytes_u8(&b) : bytes_uleb(&b);
	cie->has_augmentation = augmentation[0] == 'z';
	if (cie->has_augmentation)
		take_augmentation(&b, augmentation + 1, cie);
	else if (augmentation[0] != '\0')
		return; /* "eh" and its kin: gcc 2 */
	cie->program = b;
	cie->valid = !b.failed && cie->return_register == AMD64_RIP;
}

/* ---- programs ---- */

static bool fits(int64_t value, int64_t limit)
{
	return value >= -limit && value <= limit;
}

/* Can a row say where the caller's value of this register is? */
static bool is_simple(const struct cfi_rule *r)
{
	return r->kind == CFI_SAME || r->kind == CFI_UNDEFINED ||
	       (r->kind == CFI_AT && r->value != 0 && fits(r->value, INT16_MAX));
}

static enum row_kind kind_of_cfa(uint64_t number)
{
	switch (number) {
	case AMD64_RSP:
		return ROW_RSP;
	case AMD64_RBP:
		return ROW_RBP;
	case AMD64_RBX:
		return ROW_RBX;
	default:
		return ROW_EXPRESSION;
	}
}

/* The state as a row. */
static struct row row_of(const struct program *program)
{
	const struct cfi_state *s = &program->now;
	struct row row = {.kind = ROW_EXPRESSION,
		.is_first = program->first_row,
		.is_harmful = program->harmful || s->cfa_register >= AMD64_COUNT,
		.is_thrower = s->saves_results};
	if (s->ra.kind == CFI_UNDEFINED) {
		row.kind = ROW_ROOT;
		return row;
	}
	if (program->cie->is_signal) {
		row.kind = ROW_SIGNAL;
		return row;
	}
	bool simple = !s->cfa_is_expression && !s->cfa_is_stored && s->ra.kind == CFI_AT && s->ra.value == -8 &&
		      s->rsp.kind == CFI_SAME && fits(s->cfa_offset, INT32_MAX) && is_simple(&s->rbp) &&
		      is_simple(&s->rbx);
	enum row_kind kind = kind_of_cfa(s->cfa_register);
	if (!simple || kind == ROW_EXPRESSION) {
		if (row.is_harmful)
			row.kind = ROW_NONE;
		return row;
	}
	row.kind = (uint8_t)kind;
	row.cfa = (int32_t)s->cfa_offset;
	row.rbp = s->rbp.kind == CFI_AT ? (int16_t)s->rbp.value : 0;
	row.rbx = s->rbx.kind == CFI_AT ? (int16_t)s->rbx.value : 0;
	return row;
}

/* The state so far holds from program->pc up to `end`. */
static void emit(struct program *program, uint64_t end)
{
	if (program->wanted != NULL) {
		if (program->pc <= program->wanted_pc && program->wanted_pc < end) {
			*program->wanted = program->now;
			program->found = true;
		}
		return;
	}
	struct row row = row_of(program);
	program->scan->sink(program->scan->context, &program->fde, program->pc, &row);
	program->first_row = false;
}

/* A new location. */
static void advance(struct program *program, uint64_t pc)
{
	if (pc <= program->pc)
		return;
	emit(program, pc);
	program->pc = pc;
}

static struct cfi_rule *rule_of(struct cfi_state *state, uint64_t number)
{
	switch (number) {
	case AMD64_RBP:
		return &state->rbp;
	case AMD64_RBX:
		return &state->rbx;
	case AMD64_RSP:
		return &state->rsp;
	case AMD64_RIP:
		return &state->ra;
	default:
		return NULL;
	}
}

static void set_rule(struct program *program, uint64_t number, enum cfi_rule_kind kind, int64_t value)
{
	struct cfi_rule *r = rule_of(&program->now, number);
	if (number > AMD64_RIP + 16) /* beyond the vector registers */
		program->harmful = true;
	if (number == AMD64_RAX && kind == CFI_AT)
		program->now.saves_results = true;
	if (r != NULL)
		*r = (struct cfi_rule){kind, value, 0};
}

static void restore_rule(struct program *program, uint64_t number)
{
	struct cfi_rule *r = rule_of(&program->now, number), *initial = rule_of(&program->initial, number);
	if (r != NULL)
		*r = *initial;
}

/* Products of hostile factors: unsigned, since signed ones may overflow. */
static int64_t scaled(const struct program *program, uint64_t factor)
{
	return (int64_t)(factor * (uint64_t)program->cie->data_align);
}

static void define_cfa(struct program *program, uint64_t number, int64_t offset)
{
	program->now.cfa_register = number;
	program->now.cfa_offset = offset;
	program->now.cfa_is_expression = program->now.cfa_is_stored = false;
}

static void remember(struct program *program, struct bytes *b)
{
	if (program->depth == REMEMBER_MAX)
		b->failed = true;
	else
		program->remembered[program->depth++] = program->now;
}

static void restore(struct program *program, struct bytes *b)
{
	if (program->depth == 0)
		b->failed = true;
	else
		program->now = program->remembered[--program->depth];
}

/* What an operator takes from the stack and puts there (DWARF 5, 2.5.1); those that are refused anyhow count as
 * harmless. */
static void stack_effect(uint8_t op, int *needs, int *gives)
{
	*needs = 0;
	*gives = 1;
	if (op == 0x12 || op == 0x14 || op == 0x16 || op == 0x17) { /* dup, over, swap, rot */
		*needs = op == 0x12 ? 1 : op == 0x17 ? 3 : 2;
		*gives = op == 0x12 ? 2 : op == 0x14 ? 3 : *needs;
	} else if (op == 0x13) { /* drop */
		*needs = 1;
		*gives = 0;
	} else if (op == 0x06 || op == 0x19 || op == 0x1f || op == 0x20 || op == 0x23) {
		*needs = 1; /* deref, abs, neg, not, plus_uconst */
	} else if (op >= 0x1a && op <= 0x2e) {
		*needs = 2; /* arithmetic and comparisons */
	}
}

/* libunwind, which evaluates expressions, trusts them: a backward branch hangs it, a division kills it, a huge
 * register number makes it write beyond its tables. Only harmless operators may reach it (DWARF 5, 7.7.1). */
static bool expression_is_harmless(struct bytes b, int depth)
{
	while (b.left > 0 && !b.failed) {
		uint8_t op = bytes_u8(&b);
		int needs, gives;
		stack_effect(op, &needs, &gives);
		if (depth < needs || depth - needs + gives > EXPRESSION_STACK_MAX)
			return false;
		depth += gives - needs;
		bool plain = (op >= 0x30 && op <= 0x4f) || op == 0x06 || (op >= 0x12 && op <= 0x14) ||
			     op == 0x16 || op == 0x17;
		bool arithmetic = op == 0x19 || op == 0x1a || op == 0x1c || (op >= 0x1e && op <= 0x22) ||
				  (op >= 0x24 && op <= 0x27) || (op >= 0x29 && op <= 0x2e);
		if (plain || arithmetic)
			continue; /* lit, deref, stack operators; no division, no branch */
		if ((op >= 0x70 && op <= 0x80) || op == 0x11)
			bytes_sleb(&b); /* breg0-16, consts */
		else if (op == 0x10 || op == 0x23)
			bytes_uleb(&b); /* constu, plus_uconst */
		else if (op >= 0x08 && op <= 0x0f)
			bytes_skip(&b, UINT64_C(1) << ((op - 0x08) / 2)); /* const1u to const8s */
		else
			return false;
	}
	return !b.failed && depth > 0;
}

/* Takes an expression. `depth`: the values on its stack when it begins. */
static struct bytes take_expression(struct program *program, struct bytes *b, int depth)
{
	uint64_t len = bytes_uleb(b);
	struct bytes block = {b->p, len <= b->left ? (size_t)len : 0, false};
	bytes_skip(b, len);
	if (!expression_is_harmless(block, depth))
		program->harmful = true;
	return block;
}

/* Is it nothing but a register plus an offset? Then `b` is left behind it. */
static bool is_based(struct bytes *b, uint64_t *base, int64_t *offset)
{
	enum { DW_OP_breg0 = 0x70 };
	*base = (uint64_t)bytes_u8(b) - DW_OP_breg0;
	*offset = bytes_sleb(b);
	return !b->failed && *base < AMD64_COUNT;
}

static void define_cfa_by(struct program *program, struct bytes expression)
{
	enum { DW_OP_deref = 0x06 };
	struct cfi_state *now = &program->now;
	uint64_t base;
	int64_t offset;
	now->cfa_is_stored = is_based(&expression, &base, &offset) && bytes_u8(&expression) == DW_OP_deref &&
			     expression.left == 0;
	now->cfa_is_expression = !now->cfa_is_stored;
	if (now->cfa_is_stored) {
		now->cfa_register = base;
		now->cfa_offset = offset;
	}
}

static void set_rule_by(struct program *program, uint64_t number, struct bytes expression)
{
	uint64_t base;
	int64_t offset;
	bool based = is_based(&expression, &base, &offset) && expression.left == 0;
	struct cfi_rule *r = rule_of(&program->now, number);
	set_rule(program, number, CFI_OTHER, 0);
	if (r != NULL && based)
		*r = (struct cfi_rule){CFI_AT_REGISTER, offset, base};
}

/* Rules of registers and of the CFA. */
static void run_rule(struct program *program, struct bytes *b, uint8_t op)
{
	uint64_t number, other;
	switch (op) {
	case DW_CFA_offset_extended:
		number = bytes_uleb(b);
		set_rule(program, number, CFI_AT, scaled(program, bytes_uleb(b)));
		break;
	case DW_CFA_offset_extended_sf:
		number = bytes_uleb(b);
		set_rule(program, number, CFI_AT, scaled(program, (uint64_t)bytes_sleb(b)));
		break;
	case DW_CFA_GNU_negative_offset_extended:
		number = bytes_uleb(b);
		set_rule(program, number, CFI_AT, scaled(program, 0 - bytes_uleb(b)));
		break;
	case DW_CFA_restore_extended:
		restore_rule(program, bytes_uleb(b));
		break;
	case DW_CFA_undefined:
		set_rule(program, bytes_uleb(b), CFI_UNDEFINED, 0);
		break;
	case DW_CFA_same_value:
		set_rule(program, bytes_uleb(b), CFI_SAME, 0);
		break;
	case DW_CFA_def_cfa:
		number = bytes_uleb(b);
		define_cfa(program, number, (int64_t)bytes_uleb(b));
		break;
	case DW_CFA_def_cfa_sf:
		number = bytes_uleb(b);
		define_cfa(program, number, scaled(program, (uint64_t)bytes_sleb(b)));
		break;
	case DW_CFA_def_cfa_register:
		program->now.cfa_register = bytes_uleb(b);
		program->harmful |= program->now.cfa_is_stored; /* DWARF 5, 6.4.2.2: only after a register */
		break;
	case DW_CFA_def_cfa_offset:
		program->now.cfa_offset = (int64_t)bytes_uleb(b);
		break;
	case DW_CFA_def_cfa_offset_sf:
		program->now.cfa_offset = scaled(program, (uint64_t)bytes_sleb(b));
		break;
	case DW_CFA_def_cfa_expression:
		define_cfa_by(program, take_expression(program, b, 0));
		break;
	case DW_CFA_register:
		number = bytes_uleb(b);
		other = bytes_uleb(b);
		program->harmful |= other >= AMD64_COUNT;
		set_rule(program, number, other < AMD64_COUNT ? CFI_REGISTER : CFI_OTHER, (int64_t)other);
		break;
	case DW_CFA_val_offset:
		number = bytes_uleb(b);
		bytes_uleb(b);
		set_rule(program, number, CFI_OTHER, 0);
		break;
	case DW_CFA_val_offset_sf:
		number = bytes_uleb(b);
		bytes_sleb(b);
		set_rule(program, number, CFI_OTHER, 0);
		break;
	case DW_CFA_expression:
		number = bytes_uleb(b);
		set_rule_by(program, number, take_expression(program, b, 1)); /* 1: the CFA */
		break;
	case DW_CFA_val_expression:
		number = bytes_uleb(b);
		take_expression(program, b, 1);
		set_rule(program, number, CFI_OTHER, 0);
		break;
	default: /* unknown: its operands' length is unknown, too */
		b->failed = true;
	}
}

static void run_one(struct program *program, struct bytes *b)
{
	uint8_t op = bytes_u8(b), low = op & 0x3f;
	uint64_t align = program->cie->code_align;
	switch (op & 0xc0) {
	case DW_CFA_advance_loc:
		advance(program, program->pc + low * align);
		return;
	case DW_CFA_offset:
		set_rule(program, low, CFI_AT, scaled(program, bytes_uleb(b)));
		return;
	case DW_CFA_restore:
		restore_rule(program, low);
		return;
	}
	switch (op) {
	case DW_CFA_nop:
		break;
	case DW_CFA_set_loc:
		program->harmful = true; /* encoded as the CIE says, which the evaluator does not learn */
		advance(program, take_pointer(program->scan, b, program->cie->pointer_encoding));
		break;
	case DW_CFA_advance_loc1:
		advance(program, program->pc + bytes_u8(b) * align);
		break;
	case DW_CFA_advance_loc2:
		advance(program, program->pc + bytes_u16(b) * align);
		break;
	case DW_CFA_advance_loc4:
		advance(program, program->pc + bytes_u32(b) * align);
		break;
	case DW_CFA_remember_state:
		remember(program, b);
		break;
	case DW_CFA_restore_state:
		restore(program, b);
		break;
	case DW_CFA_GNU_args_size:
		bytes_uleb(b);
		break;
	default:
		run_rule(program, b, op);
	}
}

/* Runs until the program ends, or leaves its function: what follows would belong to nobody. False when it is
 * damaged. */
static bool run(struct program *program, struct bytes b)
{
	while (b.left > 0 && !b.failed && program->pc < program->fde.end)
		run_one(program, &b);
	return !b.failed;
}

static void run_fde(const struct scan *scan, const struct cie *cie, const struct fde *fde, struct bytes body)
{
	struct program program = {.scan = scan, .cie = cie, .fde = *fde, .first_row = true};
	/* The CIE's program sets the state at the start; it has no locations. */
	program.pc = fde->start;
	bool sound = run(&program, cie->program);
	program.initial = program.now;
	program.pc = fde->start;
	program.first_row = true;
	struct row none = {.kind = ROW_NONE, .is_first = true};
	/* Behind an unknown or damaged instruction nothing is known, and a wrong row is worse than none. */
	sound = sound && run(&program, body);
	if (program.pc < fde->end && sound)
		emit(&program, fde->end);
	else if (program.pc < fde->end)
		scan->sink(scan->context, fde, program.pc, &none);
	scan->sink(scan->context, fde, fde->end, &none);
}

/* A file may name one huge CIE in each of a million FDEs: what is read of CIEs stays in proportion to the
 * section. Compilers' CIEs have some 24 bytes, and their FDEs as many. */
static bool may_work(const struct scan *scan)
{
	enum { TIMES = 8, SMALL = 1 << 16 };
	return scan->work <= TIMES * (uint64_t)scan->len + SMALL;
}

/* `b` is behind the FDE's CIE pointer; it is left at the FDE's program. */
static bool take_fde(const struct scan *scan, const struct cie *cie, struct bytes *b, struct fde *fde)
{
	if (!cie->valid)
		return false;
	fde->start = take_pointer(scan, b, cie->pointer_encoding);
	uint64_t length = take_format(b, cie->pointer_encoding & PE_FORMAT);
	if (cie->has_augmentation)
		bytes_skip(b, bytes_uleb(b));
	/* Functions that the linker dropped begin at 0. */
	if (b->failed || fde->start == 0 || length == 0 || length > UINT32_MAX ||
		fde->start > UINT64_MAX - length)
		return false;
	fde->end = fde->start + length;
	return true;
}

static void scan_fde(struct scan *scan, size_t offset, size_t cie_offset, struct bytes b, struct cie *cie)
{
	if (cie_offset >= scan->len)
		return;
	/* Its header is read again whenever it is not the last one's, and its program is run for each FDE. */
	if (!may_work(scan))
		return;
	if (cie->offset != cie_offset)
		parse_cie(scan, cie_offset, cie);
	scan->work += cie->size;
	struct fde fde = {.vaddr = scan->vaddr + offset};
	if (take_fde(scan, cie, &b, &fde))
		run_fde(scan, cie, &fde, b);
}

/* Is the entry, whose id was read at `id_at`, an FDE? *cie_offset gets where its CIE is said to be. */
static bool is_fde(const struct scan *scan, uint64_t id, bool wide, size_t id_at, size_t *cie_offset)
{
	/* .eh_frame counts back from the field itself, .debug_frame from the section's start. */
	if (is_cie_id(scan, id, wide) || (!scan->debug && id > id_at))
		return false;
	*cie_offset = scan->debug ? (size_t)id : id_at - (size_t)id;
	return true;
}

void cfi_scan(const uint8_t *bytes, size_t len, uint64_t vaddr, bool debug, cfi_sink *sink, void *context)
{
	struct scan scan = {bytes, len, vaddr, debug, sink, context, 0};
	struct cie cie = {.offset = SIZE_MAX};
	for (size_t offset = 0, next; len - offset >= sizeof(uint32_t); offset = next) {
		size_t id_at = 0;
		bool wide;
		struct bytes b = entry_at(&scan, offset, &id_at, &next, &wide);
		if (b.failed)
			return;
		if (b.left == 0)
			continue; /* a terminator; crt files leave one in the middle of static programs */
		uint64_t id = take_id(&scan, &b, wide);
		size_t cie_offset;
		if (!b.failed && is_fde(&scan, id, wide, id_at, &cie_offset))
			scan_fde(&scan, offset, cie_offset, b, &cie);
	}
}

bool cfi_entry_at(
	const uint8_t *bytes, size_t len, uint64_t vaddr, bool debug, uint64_t at, struct cfi_entry *out)
{
	struct scan scan = {bytes, len, vaddr, debug, NULL, NULL, 0};
	struct cie cie;
	struct fde fde = {.vaddr = at};
	size_t id_at = 0, next, cie_offset;
	bool wide;
	if (at < vaddr || at - vaddr >= len)
		return false;
	struct bytes b = entry_at(&scan, (size_t)(at - vaddr), &id_at, &next, &wide);
	uint64_t id = take_id(&scan, &b, wide);
	if (b.failed || !is_fde(&scan, id, wide, id_at, &cie_offset) || cie_offset >= len)
		return false;
	parse_cie(&scan, cie_offset, &cie);
	if (!take_fde(&scan, &cie, &b, &fde))
		return false;
	*out = (struct cfi_entry){.start = fde.start,
		.end = fde.end,
		.code_align = cie.code_align,
		.data_align = cie.data_align,
		.is_signal = cie.is_signal,
		.initial = cie.program,
		.program = b};
	return true;
}

/* A machine for the programs of one entry, without its section: pointers in them (DW_CFA_set_loc, which no
 * compiler writes) make it harmful. Fills what it needs in `scan` and `cie`. */
static struct program program_of(const struct cfi_entry *entry, struct scan *scan, struct cie *cie)
{
	*scan = (struct scan){.bytes = entry->program.p, .len = entry->program.left};
	*cie = (struct cie){.code_align = entry->code_align, .data_align = entry->data_align};
	return (struct program){.scan = scan, .cie = cie, .fde = {.start = entry->start, .end = entry->end}};
}

static bool run_both(struct program *program, const struct cfi_entry *entry)
{
	program->pc = entry->start;
	bool sound = run(program, entry->initial);
	program->initial = program->now;
	program->pc = entry->start;
	program->found = false;
	return sound && run(program, entry->program);
}

bool cfi_is_harmless(const struct cfi_entry *entry)
{
	struct scan scan;
	struct cie cie;
	struct cfi_state unused;
	struct program program = program_of(entry, &scan, &cie);
	program.wanted = &unused;
	/* Beyond the function's end, too: when the evaluator stops is its own affair. */
	program.fde.end = UINT64_MAX;
	return run_both(&program, entry) && !program.harmful;
}

bool cfi_state_at(const struct cfi_entry *entry, uint64_t pc, struct cfi_state *out)
{
	struct scan scan;
	struct cie cie;
	struct cfi_state state = {0};
	struct program program = program_of(entry, &scan, &cie);
	program.wanted = &state;
	program.wanted_pc = pc;
	if (run_both(&program, entry) && program.pc < entry->end)
		emit(&program, entry->end);
	if (!program.found)
		return false;
	*out = state;
	return true;
}
