/* What one run of the sampler holds, shared by its files and not for others: sampler.c (the clock and the list
 * of threads), watch.c (what is seen without stopping), harvest.c (stops), ledger.c (walks and charges),
 * moment.c (all threads at one moment). */
#ifndef ATTACH_SAMPLING_H
#define ATTACH_SAMPLING_H

#include "attach/clock.h"
#include "attach/family.h"
#include "attach/holders.h"
#include "attach/moment.h"
#include "attach/pace.h"
#include "attach/priority.h"
#include "attach/sampler.h"
#include "attach/threads.h"
#include "attach/usual.h"

/* A copied stack that waits to be walked. */
struct taken {
	struct entry *entry;
	struct snapshot snapshot;
	uint64_t run_ns, stopped_at_ns; /* its CPU time ever, and the time, at the stop */
	int64_t wall_ns;
	int64_t late_ns, late_ticks; /* of wall time, after the tick that asked: no CPU to stop on was free */
	const char *state, *syscall;
	/* entry->interrupted_tick, interrupted_woke_ns, interrupted_at_ns and waited_ns at the stop */
	uint64_t tick, woke_ns, interrupted_at_ns, waited_ns;
	bool instant; /* that tick's */
	bool in_call, blocked; /* it stood at the end of a system call; in which it had slept */
	bool cut_short; /* a system call that our stop may have cut short was on its way out */
	struct user_regs_struct regs; /* at a stop */
	bool asleep; /* it slept, and was not stopped */
};

/* A thread that slept at an instant, with what it slept in: it may be awake soon after. */
struct sleeper {
	struct entry *entry;
	struct blocked blocked;
	struct snapshot snapshot;
	char letter; /* its state in /proc */
};

enum { SLEEPERS_MOST = 16 };

/* For how much longer than the other thread says that it ran, a thread waits that it has preempted. */
struct delays {
	struct usual in_code, in_call; /* by where the preempted thread was */
};

struct sampler {
	struct family *family;
	struct member *root; /* its first */
	struct unwinder *unwinder;
	struct profile *profile;
	const struct sampler_options *options;
	struct sampler_progress *progress;
	struct sampler_result *result;

	struct threads threads;
	size_t named; /* threads met since the first listing, those beyond NAMED_THREADS too */
	bool strangers; /* a member has not been looked at yet, or has ended */
	bool running_out; /* the end was asked for */
	bool target_gone; /* whatever there was to be sampled */
	int refusal; /* errno: threads that may not even be looked at */
	sigset_t signals;

	struct pace pace;
	struct priority priority;
	struct holders *holders; /* NULL: none could be had */
	uint64_t held_ns; /* since when CPUs are held; 0: none is */
	struct delays delays[2]; /* by holders, and by us [1] */
	uint64_t woke_ns; /* when we woke up for this tick */
	uint64_t lead_ns; /* how much later holders are to come, for we take longer to wake up */
	uint64_t instants_held; /* ticks at which some came */
	uint64_t tick; /* number of this tick, from 1 on */
	uint64_t tick_ns,
		last_tick_ns; /* this tick's time, to which wall time is charged, and the one's before */
	uint64_t own_at_tick_ns; /* our own CPU time when the tick began */
	uint64_t stopped_ns; /* for how long threads that had a CPU were stopped, in all */

	struct copies copies;
	struct taken *taken;
	size_t n_taken, taken_cap;
	struct entry *batch[PACE_BATCH];
	size_t n_batch, due; /* interrupted together; of them not stopped yet */
	size_t n_pending; /* interrupted at any time, and not stopped yet */
	uint64_t asked_ns; /* when the last thread was interrupted for a moment */
	struct sleeper sleepers[SLEEPERS_MOST]; /* of this instant, not walked yet */
	size_t n_sleepers;
	bool more_events; /* so many that it was not waited for all of them */
	size_t turn; /* of threads whose events are asked for by name */
	bool holding; /* whatever stops stays stopped, until harvest_release() */
	bool apart; /* we run where the target does not */

	uint64_t maps_earned_ns; /* when maps were last read */
	int64_t maps_debt_ns; /* then: what they had cost beyond their share */

	uint64_t last_cpu_ns; /* the CPU clocks of all members, as last read */
	uint64_t ended_cpu_ns; /* of it, what those have used that are members no more */
	bool clock_is_fresh; /* it was read at this tick */
	unsigned clock_rest; /* ticks to go without it */
	/* Of the processes' CPU time, what the threads that were looked at have used, and what is known to be
	 * nobody's that lives: what exceeds both was used by a thread that was not looked at. */
	int64_t seen_run_ns, nobodys_ns;
	size_t unswept; /* cold threads that the sweep has not come to yet */
	double look_ns; /* what looking at one of them has cost */
};

static inline bool wants_state(const struct sampler *s)
{
	return s->options->kind == PROFILE_STATE;
}

/* ---- ledger.c ---- */

void ledger_read_maps(struct sampler *s, struct member *member);
/* Not so often that it would cost more than a percent of our time. */
bool ledger_may_read_maps(const struct sampler *s);
/* Walks a stack; a pc in no known mapping has the maps read anew. The stack lives until the next walk. */
void ledger_walk(struct sampler *s, struct entry *entry, const struct snapshot *snapshot, struct stack *stack);
/* Walks and charges every copy that was taken. No thread of the batch is stopped then. */
void ledger_charge_taken(struct sampler *s);
/* Counts and charges the sleep that is held up to a tick that has not been counted yet. */
void ledger_charge_sleep(struct sampler *s, struct entry *entry, uint64_t tick, uint64_t tick_ns);
/* Writes down what the sleep has gathered, and holds it no more. */
void ledger_end_sleep(struct sampler *s, struct entry *entry);
/* A thread that is not to be stopped now: its time goes to the stack that it had when it was last. */
void ledger_charge_backed_off(struct sampler *s, struct entry *entry);
/* Writes down what sleeps have gathered so far: they go on. */
void ledger_show_sleeps(struct sampler *s);
/* The next window begins now: what was used until now is charged to none. */
void ledger_open_window(struct sampler *s);
/* A member has ended, and its threads are none any more: its CPU time that no sample carries. */
void ledger_balance_ended(struct sampler *s, struct member *member);
/* At the end: what no sample carries. */
void ledger_balance(struct sampler *s);

/* ---- harvest.c ---- */

/* Takes in everything that has happened to seized threads. */
void harvest_events(struct sampler *s);
/* Waits for an event, a signal to end, or `deadline_ns`, whichever is first. While a thread is on its way to a
 * stop, at real-time priority: it would wait for us as long as we wait for a CPU. */
void harvest_wait(struct sampler *s, uint64_t deadline_ns);
/* Interrupts s->batch, takes a sample of what stops, then walks and charges. None is waited for alone. */
void harvest_batch(struct sampler *s);
/* The same, for those of s->batch that run now, with the CPUs held that they were seen on: each is sampled
 * where it was at one instant. A profile of CPU time has nothing of those that sleep then, or wait for a CPU:
 * they stand where they were preempted, which may be anywhere, or where they were woken up, which is where they
 * used none. Their time goes to the next sample that finds them on a CPU. */
void harvest_instant(struct sampler *s);
/* Asks a thread to stop: s->due counts it until it does. */
void harvest_ask(struct sampler *s, struct entry *entry);
/* Ends s->holding: all that are held go on. Pauses are counted up to here. */
void harvest_release(struct sampler *s);
/* Before we let go: what was interrupted must have stopped and gone on, or the kernel would end a stop that we
 * did not look at. What is taken then is still to be walked. */
void harvest_settle(struct sampler *s);
/* The stop that was asked for has come, or will not come any more. */
void harvest_stop_is_over(struct sampler *s, struct entry *entry);
/* The thread cannot be stopped: its time is charged to no stack. */
void harvest_refuse(struct sampler *s, struct entry *entry);
/* The thread has changed its identity, or was taken for gone and lives: nothing that was known of it holds. */
void harvest_revive(struct sampler *s, struct entry *entry);

/* ---- watch.c ---- */

/* Fills s->batch for the next instant: threads that have run lately. */
void watch_plan_instant(struct sampler *s);
/* What does this tick owe each thread? Charges sleeps, and fills s->batch with threads that run and were not at
 * the instant; whole batches it harvests. */
void watch_threads(struct sampler *s);
/* What a thread that does not run is doing, by its state in /proc: "sleeping", "disk", "stopped". */
const char *watch_state_word(char letter);
/* Begins a new sleep: walks the stack of a thread that sleeps at entry->last. False when it woke up meanwhile.
 */
bool watch_begin_sleep(struct sampler *s, struct entry *entry, const struct blocked *blocked);
/* Of those in s->sleepers: charges the sleep that each was in. Their copies are not needed any more. */
void watch_begin_sleeps(struct sampler *s);
/* Copies a sleeper's stack without stopping it, or walking it. The copy counts only if the thread got no turn
 * on a CPU since entry->last; false otherwise. */
bool watch_copy_sleeper(
	struct sampler *s, struct entry *entry, const struct blocked *blocked, struct snapshot *snapshot);

/* ---- census.c ---- */

/* Lists the process's threads anew. While the sampler holds, none is dropped. */
void census_list_threads(struct sampler *s, struct member *member);
/* The threads of all processes, where their number has changed; */
void census_list_all(struct sampler *s);
/* and where some were found gone, for as many may have come. True when there are such. */
bool census_list_where_changed(struct sampler *s);
/* Looks at processes that are new, and takes leave of those that have ended. */
void census_meet_strangers(struct sampler *s);
/* The children that are there already, and theirs. */
void census_adopt_all(struct sampler *s);
/* Has all ended that was to be sampled? */
bool census_all_gone(const struct sampler *s);

/* ---- standing.c ---- */

/* The thread runs: its place will stand for its time if it has done nothing else from now on. */
void standing_begins(struct entry *entry);
/* Does the place where it stopped stand for the CPU time that it has used since its last sample? In a profile
 * of states every sample counts, and the question is whether the thread had a CPU. */
bool standing_of(struct sampler *s, struct entry *entry, struct taken *taken);

/* ---- moment.c ---- */

/* -1 when memory is out. */
int moment_take(struct sampler *s, struct moment *moment);

#endif
