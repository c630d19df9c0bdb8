/* libunwind over a snapshot: one step of a walk where the unwind information is a DWARF expression or uses a
 * register beyond those of the rows (PLT entries, functions that realign their stack, hand-written assembler),
 * or a whole walk. The only user of libunwind; it sees the snapshot through bounded accessors, never the
 * target, and only call frame information that cfi.c found harmless. */
#ifndef UNWIND_EXPRESSION_H
#define UNWIND_EXPRESSION_H

#include "unwind/rows.h"
#include "unwind/types.h"

struct expression;

/* "libunwind 1.6.2". Static storage. */
const char *expression_library(void);

struct expression *expression_new(void); /* NULL when memory is out */
void expression_free(struct expression *expression);
/* See library_cache(). */
void expression_cache(struct expression *expression);

/* The unwind information of one pc. All borrowed for the call. */
struct expression_place {
	const struct rows *rows;
	struct fde fde;
	uint64_t bias; /* target address - link-time address, of this module */
	const struct image *image;
};

/* What one step may read. */
struct expression_step {
	struct expression_place place;
	const struct snapshot *snapshot;
	unsigned *budget; /* of words read, for the whole walk */
};

/* Replaces *regs (rip, rsp, rbp and what else is known) by the caller's. Returns false when libunwind could
 * not, or its budget ran out; *regs is then unchanged. */
bool expression_apply(struct expression *expression, const struct expression_step *step, struct regs *regs);

/* A whole walk: libunwind keeps the registers from frame to frame. */
struct expression_walk {
	const struct snapshot *snapshot;
	unsigned *budget; /* of words read */
	void *context;
	/* Fills *out for `pc` (of a call: an address inside it); false when there is no such information. An
	 * `out->image` is wanted all the same: libunwind looks for the bytes of rt_sigreturn. */
	bool (*find)(void *context, uint64_t pc, struct expression_place *out);
	/* Takes the next frame; false ends the walk. */
	bool (*frame)(void *context, uint64_t pc, bool is_return);
};

/* Calls walk->frame for each frame from the leaf on, and returns why it ended; STOP_ROOT too when walk->frame
 * ended it. *unread gets the address that could not be read, when that was the reason, else 0. */
enum stop expression_walk(struct expression *expression, const struct expression_walk *walk, uint64_t *unread);

#endif
