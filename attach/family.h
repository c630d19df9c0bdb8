/* The processes of a run: the one that was named, and, if they are followed, its children and theirs. The
 * sampling thread fills the list; it is whole when that thread has ended.
 *
 * A process that begins during the run is a member from its first instruction on (target.h,
 * thread_seize_family()), but it is looked at only when a tick finds it alive: most children of a build are
 * gone by then, and all that is known of them is their name and their CPU time, which the kernel tells at the
 * end. */
#ifndef ATTACH_FAMILY_H
#define ATTACH_FAMILY_H

#include "attach/target.h"

enum {
	FAMILY_SAMPLED = 256, /* processes sampled at once: of others only the CPU time is known */
	FAMILY_LABELLED = 8192, /* members whose samples carry their PID: many more fill memory */
};

struct member {
	pid_t pid;
	char name[16]; /* comm, as last seen */
	bool born; /* during the run: all its time belongs to the profile */
	bool unlabelled; /* one of too many */
	bool unseen; /* not sampled: see struct family */
	bool ended;
	struct target *target; /* NULL: not looked at yet, or unseen */
	struct space *space;
	struct target own; /* what both are, but for the first member */

	/* The sampler's. */
	unsigned listing; /* number of the last listing of the threads */
	size_t listed; /* of its threads, those that are known */
	bool relist; /* a thread came or went */
	bool gone; /* it has no thread any more */
	uint64_t maps_ns; /* when maps were last read */
	bool maps_stale;
	bool walked; /* since then */
	bool awaits_exec; /* our own child, which is still a copy of us: nothing of its memory is of interest */
	bool is_go; /* a Go program, whose threads keep their goroutine there (unwinder_go_tls()) */
	int32_t go_tls;
	uint64_t start_cpu_ns, last_cpu_ns; /* the process's CPU clock, at the start and as last read */
	uint64_t charged_ns; /* CPU time charged to its stacks so far */
	uint64_t orphans_tick; /* when what no thread that lives has used was charged last */
	uint64_t rest_ns; /* at the end: what its threads have used since they were charged last */
};

/* Is it there, and sampled? */
static inline bool member_is_sampled(const struct member *member)
{
	return member->target != NULL && !member->ended && !member->gone;
}

struct family {
	bool follows; /* more than the first member */
	struct member **v; /* the first is the one that was named; others leave when they have ended */
	size_t n, cap;
	size_t met, most; /* members ever, and sampled at once */
	size_t sampled; /* now */
	/* Members that were not sampled: they are not ours to look at, their program is not for x86-64, or too
	 * many were there. */
	size_t refused, foreign, crowded;
};

/* `target` and its space are borrowed. NULL when memory is out. */
struct family *family_new(struct target *target, struct space *space, bool follows);
void family_free(struct family *family);

/* Forgets what an earlier run has found. */
void family_begin(struct family *family);
/* NULL: none is called so. */
struct member *family_find(const struct family *family, pid_t pid);
/* The member `pid`, which is new. NULL when memory is out. */
struct member *family_add(struct family *family, pid_t pid);
/* Looks at a member for the first time: fills target and space, or sets `unseen`. False when it is unseen, or
 * has gone. */
bool family_look_at(struct family *family, struct member *member);
/* From now on it is not sampled; why: ENOEXEC, or as target_open_child() says. */
void family_lose(struct family *family, struct member *member, int why);
/* Reads its CPU clock. False when it is gone: last_cpu_ns stays. */
bool family_clock(struct member *member);
/* It has ended. Not for the first member. */
void family_remove(struct family *family, size_t at);
/* Calls each(context, pid) for every process that descends from a member and is none. */
void family_each_stranger(const struct family *family, void (*each)(void *context, pid_t pid), void *context);

/* All members that live, but the first, as target_inspect(). */
void family_inspect(const struct family *family, struct target_traces *found);

#endif
