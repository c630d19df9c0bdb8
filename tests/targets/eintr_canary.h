/* What the canary's engine (eintr_canary.c) and its list of calls (eintr_calls.c) share. */
#ifndef EINTR_CANARY_H
#define EINTR_CANARY_H

#include "target.h"

#include <stdatomic.h>
#include <stdbool.h>

/* What the kernel does with a call in which a handler ran (signal(7)). Without a handler all go on. */
enum restart {
	RESTARTS, /* goes on if the handler has SA_RESTART, else EINTR */
	ENDS, /* EINTR, with SA_RESTART too */
	GOES_ON, /* goes on always: FUTEX_LOCK_PI */
};

enum {
	SHORT_COUNTS = 1, /* moves many bytes: any interruption may end it with fewer than asked for */
	BY_SIGNAL = 2, /* ends only by a handler, which is how it is fed: EINTR is its good end */
	SIGNAL_MASKED =
		4, /* the feeding signal is blocked but within the call: one signal, one EINTR, always */
	FED_EACH = 16, /* a feed holds for the call that it met; else it waits for the next one */
	JIFFIES = 8, /* its timeout counts in jiffies, and may end up to one early */
};

struct cell;

/* One way to block. */
struct kind {
	const char *name;
	long nr;
	enum restart restart;
	unsigned flags;
	/* Makes what is blocked on, once, before any thread runs. -1 with errno: the case is left out. */
	int (*open)(struct cell *cell);
	/* Before each call, in its thread: fills cell->arg. */
	void (*arm)(struct cell *cell);
	/* In the feeder's thread, never blocking: lets the blocked call end; false: it could not yet. NULL: the
	 * call ends by its timeout. */
	bool (*feed)(struct cell *cell);
	/* After each call, in its thread, with the call's result; may be NULL. */
	void (*after)(struct cell *cell, long result);
	long want; /* the good result (-errno), ANY_FD or ANY_COUNT */
	long timeout_us; /* that the call itself was given, 0 for none; for a fed one long enough not to matter
			  */
	size_t bytes; /* of cell->buffer that are moved */
};

enum { ANY_FD = -100000, ANY_COUNT = -100001 };

struct cell {
	const struct kind *kind;
	pid_t tid;
	long arg[6];
	int fd, other, third; /* as kind->open says */
	pid_t child;
	char path[64];
	void *memory; /* likewise */
	char *buffer;
	struct timespec time;
	uint32_t word __attribute__((aligned(64))); /* futex */

	/* The call that is being made: odd while in it. Written by its thread, read by the feeder. */
	_Atomic unsigned long turn;
	_Atomic uint64_t begun_ns;
	_Atomic unsigned long consumed; /* feeds that ended a call */
	_Atomic unsigned long handlers; /* handlers run */
	/* Of the feeder alone. */
	unsigned long seen_turn, signalled_turn, fed_turn, feeds, signals;
	uint64_t due_ns;

	/* What the handler saw in this call. */
	volatile sig_atomic_t handler_ran, gave_eintr;
	int schedstat;

	/* Since the last report. */
	_Atomic unsigned long calls, eintr, spurious, lost, wrong, shorts, early, late;
	_Atomic long wrong_result, latest_us;
};

extern const struct kind eintr_kinds[];
extern const size_t eintr_n_kinds;

/* Removes what would outlive the process: System V queues and semaphores. */
void eintr_remove(const struct cell *cell);

/* The thread that feeds: the owner of the priority-inheriting futexes. */
extern _Atomic pid_t eintr_feeder;

/* SIGRTMIN: a handler without SA_RESTART; + 1: with; + 2: no handler, blocked everywhere, for sigwaitinfo and
 * signalfd. */
enum { SIGNAL_PLAIN, SIGNAL_RESTART, SIGNAL_TAKEN };

#endif
