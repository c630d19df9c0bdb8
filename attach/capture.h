/* A thread's registers and the used part of its stack -> a snapshot. Runs while the thread is stopped (or
 * asleep, unstopped): it copies into memory set aside before, and does nothing else. */
#ifndef ATTACH_CAPTURE_H
#define ATTACH_CAPTURE_H

#include "unwind/space.h"

/* Memory for the snapshots of one tick. Emptied by setting used = 0. */
struct copies {
	uint8_t *bytes;
	size_t used, cap;
};

enum {
	CAPTURE_MIN_BYTES = 16 << 10, /* most stacks: 1-2 us */
	CAPTURE_ALL_BYTES = 64 << 10, /* a stack no larger than this is copied whole */
	CAPTURE_MAX_BYTES = 1 << 20, /* unless a hint says more */
	COPIES_BYTES = 16 << 20,
};

/* Memory is taken as it is used, beyond the first of it. Returns -1 when memory is out. */
int copies_new(struct copies *copies, size_t bytes);
void copies_free(struct copies *copies);
static inline bool copies_are_full(const struct copies *copies)
{
	return copies->cap - copies->used < CAPTURE_MIN_BYTES;
}

struct capture_hint {
	size_t want_bytes; /* what this thread's stacks needed lately; 0 at first */
	size_t max_bytes; /* the most that is copied of one; 0: CAPTURE_MAX_BYTES */
	/* An address in the thread's ordinary stack, 0 unknown: the leader's start of stack; of another thread
	 * fs_base, which glibc and musl keep at the top of its stack. */
	uint64_t home;
	/* Go: where the thread keeps its current goroutine (gorows_tls() from fs_base). 0: not known, since the
	 * thread was never stopped; then, if `is_go`, it is looked for where asmcgocall left it. */
	uint64_t goroutine_at;
	bool is_go;
};

/* Fills out->region[] and out->goroutine from the target for out->tid and out->regs (set by the caller). Takes
 * memory from `copies`. */
void capture_stack(const struct space *space, const struct capture_hint *hint, struct copies *copies,
	struct snapshot *out);

/* After a walk that ended at the end of the copy: how much to copy of that thread the next time. */
void capture_want_more(struct capture_hint *hint);

#endif
