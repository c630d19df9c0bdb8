/* The clock: which thread, when; target -> unwinder -> profile.
 *
 * At every tick the threads that run are interrupted together, and each gives its registers and stack and goes
 * on at once; stacks are walked afterwards. Threads that sleep are never stopped: the kernel's count of a
 * thread's turns on a CPU tells whether it still sleeps the same sleep. Runs in one thread of ours from the
 * first seize to the last stop; when that thread ends, the kernel lets go of the target without stopping it
 * once more. */
#ifndef ATTACH_SAMPLER_H
#define ATTACH_SAMPLER_H

#include "attach/family.h"
#include "attach/histogram.h"
#include "attach/moment.h"
#include "encoder/profile.h"
#include "unwind/unwinder.h"

#include <stdatomic.h>

struct sampler_result;

/* A run in windows, for a live view. What a window has not seen by its end is in none: there is no
 * "[cpu between samples]". */
struct sampler_windows {
	int64_t window_ns; /* of each, about; 0: the run is one */
	/* Called on the sampling thread when a window is over, with what it lasted: takes its profile over, and
	 * returns the next window's. NULL: not yet; it is called again every few milliseconds, and until it
	 * returns one no thread is stopped, nothing is charged, no lock is held and the space is not changed:
	 * another thread may read it, and fork(2). A profile that was not handed over stays the caller's. */
	struct profile *(*turn)(
		void *context, struct profile *full, int64_t length_ns, const struct sampler_result *so_far);
	void *context;
};

struct sampler_options {
	enum profile_kind kind;
	struct sampler_windows windows;
	int64_t duration_ns;
	double rate_hz;
	const pid_t *tids; /* borrowed; n_tids 0: every thread */
	size_t n_tids;
	double max_overhead; /* share of CPU time that we may cost, 0.01 for 1 %; see pace.h */
	uint64_t max_pause_ns; /* for how long one thread should be stopped at most */
	bool realtime; /* SCHED_FIFO may be used while threads are stopped */
	bool whole_life; /* the target's end is what is waited for */
	int go_fd; /* a byte is written here when the target is watched; -1: nobody waits for it */
};

enum sampler_end { END_DURATION, END_SIGNAL, END_TARGET };

/* Read by another thread while sampling goes on. */
struct sampler_progress {
	_Atomic int64_t elapsed_ns;
	_Atomic uint64_t samples, threads, late_ticks;
};

struct sampler_result {
	enum sampler_end end;
	int64_t time_ns; /* start, since the epoch */
	int64_t duration_ns; /* from the first tick to the end */
	uint64_t ticks, late_ticks; /* taken; skipped because their time had passed */
	uint64_t lowered_ticks; /* put off to stay within max_overhead */
	uint64_t samples; /* with a stack, running and asleep; a sleep counts at every tick */
	uint64_t threads, threads_refused;
	uint64_t threads_unnamed; /* of the threads, those whose samples carry no TID: too many came and went */
	/* Samples that may show the end of a system call for work up to it: their CPU was not held. */
	uint64_t slid;
	/* Times that a running thread was not sampled in its tick: it did not stop in time (no CPU), for it
	 * waited uninterruptibly, it had still not stopped since an earlier tick, there was no room for its
	 * stack. */
	uint64_t late_stops, uninterruptible, pending, no_room;
	uint64_t eintr_repaired;
	uint64_t short_counts; /* system calls that returned less because of a stop */
	uint64_t backed_off; /* samples of threads not stopped for that reason: their last stack again */
	uint64_t stacks[STOP_KINDS], guessed; /* samples by the end of their walk */
	uint64_t stops; /* of one thread each */
	struct histogram pauses; /* of stopped threads that had a CPU: from the interrupt to going on */
	uint64_t stopped_ns; /* their sum */
	uint64_t long_pauses; /* of them longer than max_pause_ns */
	uint64_t kernel_cpu_ns; /* what the kernel charged to the process (or the chosen threads) */
	uint64_t between_cpu_ns; /* of it what no sample carries */
	uint64_t orphaned_cpu_ns; /* what threads have used that ended unmet, charged to the stacks of others */
	uint64_t unseen_cpu_ns; /* of that, what processes have used that are not sampled */
	uint64_t own_cpu_ns; /* the sampling thread's own */
	bool exited; /* the process was seen to end, and is reaped */
	int status; /* then: of waitpid(2) */
	bool job_stopped; /* at the end, job control had the target stopped */
	bool realtime; /* SCHED_FIFO was used */
	bool out_of_memory; /* some samples were lost to it */
};

/* `family` has the process as its first member; its others are found here. A member that lives at the end has
 * its target afterwards, too.
 *
 * Samples until the duration is over, SIGINT, SIGTERM or SIGHUP comes, or the target ends: all members of its
 * family have, or, if it is a child of ours, it has. These and SIGCHLD must be blocked in every thread of ours.
 * Returns -1 when the first thread could not be seized (errno tells why) and nothing was done. */
int sampler_run(struct family *family, struct unwinder *unwinder, struct profile *profile,
	const struct sampler_options *options, struct sampler_progress *progress,
	struct sampler_result *result);

/* All threads (or the chosen ones) at one moment; of `options` the kind must be PROFILE_STATE. Of *result the
 * end, pauses and job_stopped are filled, and what went wrong. As sampler_run otherwise; *moment goes to
 * moment_free() in any case. */
int sampler_moment(struct family *family, struct unwinder *unwinder, const struct sampler_options *options,
	struct sampler_result *result, struct moment *moment);

#endif
