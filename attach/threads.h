/* The threads of the target that are known, by TID, with what the sampler keeps of each.
 *
 * Each is in one of two lists: hot ones may have run since the last tick; cold ones have slept the same sleep
 * for some time, and are looked at only when the process has used CPU time that the hot ones do not explain. */
#ifndef ATTACH_THREADS_H
#define ATTACH_THREADS_H

#include "attach/capture.h"
#include "attach/target.h"

/* A thread asleep: its stack at that sleep, and what is to be charged to it when the sleep ends. */
struct sleep {
	struct stack stack; /* v is owned, grown as needed */
	const char *state; /* NULL: no sleep is held */
	const char *syscall;
	int64_t count, ns;
};

/* A thread whose system calls our stops have cut short. */
struct back_off {
	struct stack stack; /* as it was then; v is owned */
	uint64_t until_ns; /* it is not stopped before */
	unsigned times; /* short counts, lately */
	unsigned clean; /* stops without one since */
};

/* What moment.c saw of a thread from outside, before it asked for anything. */
struct sight {
	char letter; /* its state in /proc */
	int cpu; /* on which it ran last; -1 unknown */
	struct blocked blocked; /* while it sleeps */
};

struct entry {
	struct thread thread;
	struct member *member; /* the process that it belongs to; borrowed */
	struct entry *next; /* in its bucket */
	size_t place; /* in its list */
	bool cold;
	bool met; /* looked at before */
	struct switches switches; /* when it was last sampled */
	unsigned stops; /* of it, since */
	int cpu; /* that it ran on when it was last sampled; -1 unknown */
	uint64_t placed; /* the last tick that looked for it, for it was not sampled */
	uint64_t before, before_ns; /* its CPU time just before the instant of that tick */
	uint64_t slept; /* the last tick at whose instant it slept */
	uint64_t passed_over; /* the last tick at whose instant it was not come to */
	uint64_t instant; /* the last tick that looked at it with CPUs held */
	bool unnamed; /* its samples carry no TID */
	bool gone; /* has ended; stays until it leaves /proc/PID/task */
	bool refused; /* could not be seized */
	bool asleep; /* seen asleep when last.count was what it is */
	bool due; /* its batch still waits for its stop */
	bool taken; /* this tick's sample is there, though a stop may still be due */
	bool waited; /* at the last stop: it had had no CPU at the tick that asked for it */
	uint64_t waited_ns; /* for how long it waited for one, up to that stop */
	bool fresh; /* `now` was read at this tick, and nothing was made of it yet */
	unsigned seen; /* number of the last listing that had it */
	unsigned calm; /* ticks for which it has slept the same sleep */
	uint64_t looked; /* the last tick that looked at it */
	struct schedstat now; /* as this tick found it */
	struct schedstat last; /* as last read, at a stop or a look */
	uint64_t charged_run_ns; /* CPU time up to here has been charged to stacks */
	uint64_t charged_wall_ns; /* wall time (clock) up to here has been charged */
	uint64_t charged_tick; /* the last tick that was counted */
	uint64_t interrupted_at_ns; /* when it was asked to stop */
	uint64_t interrupted_tick, interrupted_tick_ns, interrupted_woke_ns; /* by that tick */
	uint64_t wait_before_ns; /* how long it had ever waited for a CPU by then */
	int blocked_nr; /* the last system call seen, for restart_syscall(2), which hides it */
	bool held; /* stopped, and kept so while the sampler holds */
	struct wait_event held_by; /* its stop */
	uint64_t held_at_ns;
	struct sight sight;
	struct capture_hint hint;
	struct sleep sleep;
	struct back_off back_off;
};

enum { THREAD_BUCKETS = 4096 };

struct entry_list {
	struct entry **v;
	size_t n, cap;
};

struct threads {
	struct entry *bucket[THREAD_BUCKETS];
	struct entry_list hot, cold;
	size_t n; /* entries, gone ones included */
};

struct entry *threads_find(const struct threads *threads, pid_t tid);
/* Takes `thread` over; the entry is hot. NULL when memory is out (the thread's files are then closed). */
struct entry *threads_add(struct threads *threads, const struct thread *thread);
/* To the other list. The last entry of the list that it leaves takes its place: lists are walked from their
 * end. */
void threads_heat(struct threads *threads, struct entry *entry);
void threads_cool(struct threads *threads, struct entry *entry);
/* Takes out, closes and frees the entries for which drop(context, entry) is true. */
void threads_sweep(struct threads *threads, bool (*drop)(void *context, struct entry *entry), void *context);
void threads_free(struct threads *threads);

/* dst = src, with its own frames. Returns false, and dst is as it was, when memory is out. */
bool stack_keep(struct stack *dst, const struct stack *src);

#endif
