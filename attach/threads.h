/* The threads of the target that are known, by TID, with what the sampler keeps of each. */
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

struct entry {
	struct thread thread;
	struct entry *next; /* in its bucket */
	bool gone; /* has ended; stays until it leaves /proc/PID/task */
	bool refused; /* could not be seized */
	bool asleep; /* seen asleep when last.count was what it is */
	bool due; /* its batch still waits for its stop */
	bool taken; /* this tick's sample is there, though a stop may still be due */
	bool waited; /* at the last stop: it had had no CPU */
	unsigned seen; /* number of the last listing that had it */
	struct schedstat last; /* as last read */
	uint64_t charged_run_ns; /* CPU time up to here has been charged to stacks */
	uint64_t charged_wall_ns; /* wall time (clock) up to here has been charged */
	uint64_t interrupted_at_ns;
	int blocked_nr; /* the last system call seen, for restart_syscall(2), which hides it */
	struct capture_hint hint;
	struct sleep sleep;
};

enum { THREAD_BUCKETS = 4096 };

struct threads {
	struct entry *bucket[THREAD_BUCKETS];
	size_t n; /* entries, gone ones included */
};

struct entry *threads_find(const struct threads *threads, pid_t tid);
/* Takes `thread` over; NULL when memory is out (the thread's files are then closed). */
struct entry *threads_add(struct threads *threads, const struct thread *thread);
/* Takes out, closes and frees the entries for which drop(context, entry) is true. */
void threads_sweep(struct threads *threads, bool (*drop)(void *context, struct entry *entry), void *context);
void threads_free(struct threads *threads);

#endif
