/* Snapshot -> stack. The walk needs no target: registers and stack come from the snapshot, unwind information
 * from the space's images. It never fails: a stack that ends early is data with a reason. */
#ifndef UNWIND_UNWINDER_H
#define UNWIND_UNWINDER_H

#include "unwind/space.h"

struct unwinder;

/* `space` is borrowed and must outlive the unwinder. `max_depth`: frames to keep of one stack (both ends are
 * kept, see struct stack). Unwind tables are compiled when a module is first met, up to 512 MB and 5 s of CPU
 * time for all of them; the others count as missing. Returns NULL when memory is out. */
struct unwinder *unwinder_new(const struct space *space, size_t max_depth);
void unwinder_free(struct unwinder *unwinder);
/* The next calls are about another process, whose space shares its list with the first (space_beside): so do
 * the tables. It must live until the next such call. */
void unwinder_turn_to(struct unwinder *unwinder, const struct space *space);

/* Compiles the tables of all live mappings, for as long as it takes up to `cpu_ns`; those that are left are
 * compiled when they are first met. */
void unwinder_prepare(struct unwinder *unwinder, int64_t cpu_ns);

/* Go: where threads keep their current goroutine (gorows_tls()), by the first Go program among the live
 * mappings. False when there is none, or it cannot be told. Compiles that program's tables: not to be called
 * while a thread is stopped. */
bool unwinder_go_tls(struct unwinder *unwinder, int32_t *offset);

/* Walks one snapshot. *out is overwritten; out->v is owned by the unwinder and valid until the next call. A
 * change of the space since the last call is noticed (space_generation) and no older cache is used. */
void unwinder_walk(struct unwinder *unwinder, const struct snapshot *snapshot, struct stack *out);

/* Who walks: the rows compiled from the unwind tables, libunwind over the same snapshot, or first the one and
 * then the other (the rows' stack is the one that is given back). */
enum unwinder_kind { UNWINDER_ROWS, UNWINDER_LIBUNWIND, UNWINDER_BOTH };

/* From the next walk on; UNWINDER_ROWS at first. Returns -1 when memory is out. */
int unwinder_use(struct unwinder *unwinder, enum unwinder_kind kind);

/* What walking everything twice has shown so far. */
struct unwinder_comparison {
	uint64_t walks;
	/* Not alike: both reached the thread's first frame on other ways, or differ in a frame that both have;
	 * only the rows' walk reached it; only libunwind's; neither, and they ended at different frames. */
	uint64_t contradict, rows_only, library_only, ends;
};
struct unwinder_comparison unwinder_comparison(const struct unwinder *unwinder);

/* The reason in words for people, without a full stop: "no unwind information". */
const char *stop_name(enum stop why);

#endif
