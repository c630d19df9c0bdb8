/* One step of a walk where the unwind information is a DWARF expression or uses a register beyond rsp and rbp:
 * libunwind evaluates it (PLT entries, functions that realign their stack, hand-written assembler). The only
 * user of libunwind; it sees the snapshot through bounded accessors, never the target. */
#ifndef UNWIND_EXPRESSION_H
#define UNWIND_EXPRESSION_H

#include "unwind/rows.h"
#include "unwind/types.h"

struct expression;

struct expression *expression_new(void); /* NULL when memory is out */
void expression_free(struct expression *expression);

/* What one step may read. All borrowed for the call. */
struct expression_step {
	const struct rows *rows;
	struct fde fde;
	uint64_t bias; /* target address - link-time address, of this module */
	const struct image *image;
	const struct snapshot *snapshot;
	unsigned *budget; /* of words read, for the whole walk */
};

/* Replaces *regs (rip, rsp, rbp and what else is known) by the caller's. Returns false when libunwind could
 * not, or its budget ran out; *regs is then unchanged. */
bool expression_apply(struct expression *expression, const struct expression_step *step, struct regs *regs);

#endif
