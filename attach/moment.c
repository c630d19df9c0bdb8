/* All threads at one moment. Sleepers are copied, unstopped, before anything is stopped. Then all threads that
 * run are interrupted, and those that stop are held. An interrupted thread executes no instruction of its own
 * any more: one that runs enters the kernel at once, one that has no CPU stops when it gets one, in the very
 * place where it is. So, once all have been asked, the sleepers' counts of turns on a CPU are read once more,
 * and if none has changed, there was an instant, the beginning of that reading, at which every thread was where
 * it was copied, or will be. A sleeper that woke up is copied anew, or interrupted with the others, and the
 * counts are read again. Who has no CPU delays nobody: all go on, and it is copied when it stops. */
#include "attach/eintr.h"
#include "attach/sampling.h"

#include <stdlib.h>
#include <string.h>

enum {
	WANT_BYTES = 256 << 10, /* to copy of a runner: there is no second chance while it is held */
	MOST_BYTES = 64 << 20,
	STEP_BACK_NS = 1000000,
	FREEZE_NS = 500000, /* so long after it was asked, no thread is still on a CPU in its own code */
	HOLD_NS = 50000000, /* for so long runners are held for sleepers that wake up again and again */
	LAST_STOPS_NS = 2000000000, /* for threads without a CPU; nobody is held then */
	LOOK_AGAIN_NS = 10000000, /* has one of them begun an uninterruptible wait? */
	ATTEMPTS = 3,
	DEEPER = 5, /* attempts more for stacks that are deeper than what was copied */
};

/* ---- before anything is stopped ---- */

static void forget(struct entry *entry)
{
	entry->asleep = entry->taken = false;
	entry->sleep.state = NULL;
	entry->hint.max_bytes = MOST_BYTES;
}

static void look_at(struct sampler *s, struct entry *entry)
{
	struct sight *sight = &entry->sight;
	forget(entry);
	if (entry->gone)
		return;
	if (thread_state(entry->member->target, &entry->thread, &sight->letter) != 0 || sight->letter == 'Z' ||
		sight->letter == 'X' ||
		thread_schedstat(entry->member->target, &entry->thread, &entry->last) != 0) {
		entry->gone = entry->member->relist = true;
		return;
	}
	entry->now = entry->last;
	sight->cpu = thread_cpu(entry->member->target, &entry->thread);
	int waits = thread_blocked(entry->member->target, &entry->thread, &sight->blocked);
	entry->asleep = waits > 0 && watch_begin_sleep(s, entry, &sight->blocked);
}

/* -1 when memory is out. */
static int prepare(struct sampler *s)
{
	harvest_events(s);
	s->n_taken = s->copies.used = 0;
	if (s->root->relist)
		census_list_threads(s, s->root);
	if (s->root->maps_stale)
		ledger_read_maps(s, s->root);
	for (size_t i = 0; i < s->threads.hot.n; i++)
		look_at(s, s->threads.hot.v[i]);
	size_t cap = 2 * s->threads.n + PACE_BATCH;
	if (cap > s->taken_cap) {
		struct taken *larger = realloc(s->taken, cap * sizeof *larger);
		if (larger == NULL)
			return -1;
		s->taken = larger;
		s->taken_cap = cap;
	}
	s->copies.used = 0;
	return 0;
}

/* ---- while runners are held ---- */

static bool is_as_it_was(struct entry *entry)
{
	struct schedstat now;
	if (thread_schedstat(entry->member->target, &entry->thread, &now) != 0) {
		entry->gone = entry->member->relist = true;
		return true;
	}
	bool same = entry->asleep && now.count == entry->last.count;
	entry->now = entry->last = now;
	return same;
}

/* It slept when it was looked at, and has run since: it sleeps again. */
static bool copy_again(struct sampler *s, struct entry *entry)
{
	if (s->n_taken == s->taken_cap || copies_are_full(&s->copies) ||
		thread_state(entry->member->target, &entry->thread, &entry->sight.letter) != 0)
		return false;
	struct taken *taken = &s->taken[s->n_taken];
	*taken = (struct taken){.entry = entry, .asleep = true};
	if (!watch_copy_sleeper(s, entry, &entry->sight.blocked, &taken->snapshot))
		return false;
	s->n_taken++;
	return true;
}

static void ask(struct sampler *s, struct entry *entry)
{
	if (entry->thread.interrupted || entry->thread.listening || entry->refused)
		return;
	if (entry->hint.want_bytes < WANT_BYTES)
		entry->hint.want_bytes = WANT_BYTES;
	/* Whether it waits for a CPU: from now on, not since it was looked at. */
	if (thread_schedstat(entry->member->target, &entry->thread, &entry->now) == 0)
		harvest_ask(s, entry);
	s->asked_ns = now_ns(CLOCK_MONOTONIC);
}

static bool is_frozen(const struct entry *entry)
{
	return entry->held || entry->gone || entry->refused || entry->thread.interrupted;
}

/* True when no thread that is not frozen has got a CPU since it was copied. */
static bool all_sleep_on(struct sampler *s)
{
	bool calm = true;
	for (size_t i = 0; i < s->threads.hot.n; i++) {
		struct entry *entry = s->threads.hot.v[i];
		if (is_frozen(entry) || is_as_it_was(entry))
			continue;
		calm = false;
		entry->asleep =
			thread_blocked(entry->member->target, &entry->thread, &entry->sight.blocked) > 0 &&
			copy_again(s, entry);
		if (!entry->asleep)
			ask(s, entry);
	}
	return calm;
}

/* Chosen threads are all that there is; of others new ones may have come. */
static bool all_are_listed(const struct sampler *s)
{
	size_t n = 0;
	for (size_t i = 0; i < s->threads.hot.n; i++)
		n += s->threads.hot.v[i]->seen == s->root->listing;
	return !s->root->relist && (s->options->n_tids > 0 || target_thread_count(s->root->target) == (int)n);
}

/* Until all have stopped, or those that have not are known to be without a CPU. */
static void await_freeze(struct sampler *s)
{
	uint64_t until = s->asked_ns + FREEZE_NS;
	for (;;) {
		harvest_events(s);
		if (s->due == 0 || s->running_out || now_ns(CLOCK_MONOTONIC) >= until)
			return;
		harvest_wait(s, until);
	}
}

/* Returns with runners held, and true if there was a moment. */
static bool hold_all(struct sampler *s, uint64_t deadline)
{
	for (size_t i = 0; i < s->threads.hot.n; i++) {
		struct entry *entry = s->threads.hot.v[i];
		if (!entry->asleep && !entry->gone)
			ask(s, entry);
	}
	for (;;) {
		await_freeze(s);
		if (s->running_out || s->target_gone)
			return false;
		bool calm = all_sleep_on(s);
		bool listed = all_are_listed(s);
		if (calm && listed)
			return true;
		if (now_ns(CLOCK_MONOTONIC) >= deadline)
			return false;
		/* Which allocates, while threads are held: new threads are few. */
		if (!listed)
			census_list_threads(s, s->root);
	}
}

/* ---- afterwards ---- */

/* We have used a CPU, for which a thread of the target may wait now. It is to be seen as it is without us. */
static void step_back(struct sampler *s)
{
	harvest_wait(s, now_ns(CLOCK_MONOTONIC) + STEP_BACK_NS);
	harvest_events(s);
}

static void attempt(struct sampler *s, struct moment *moment)
{
	step_back(s);
	s->tick++;
	s->last_tick_ns = s->tick_ns;
	s->tick_ns = now_ns(CLOCK_MONOTONIC);
	s->own_at_tick_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
	s->holding = true;
	priority_raise(&s->priority);
	moment->whole = hold_all(s, s->tick_ns + HOLD_NS);
	harvest_release(s);
	moment->width_ns = now_ns(CLOCK_MONOTONIC) - s->tick_ns;
	moment->attempts++;
}

/* A thread in an uninterruptible wait does not stop before that is over, but its stack can be read: it has not
 * changed since the moment. */
static bool read_uninterruptible(struct sampler *s, struct entry *entry)
{
	struct sight *sight = &entry->sight;
	return thread_state(entry->member->target, &entry->thread, &sight->letter) == 0 &&
	       sight->letter == 'D' &&
	       thread_schedstat(entry->member->target, &entry->thread, &entry->last) == 0 &&
	       thread_blocked(entry->member->target, &entry->thread, &sight->blocked) > 0 &&
	       watch_begin_sleep(s, entry, &sight->blocked);
}

/* Threads that have not stopped, and cannot be read otherwise. */
static size_t still_due(struct sampler *s)
{
	size_t n = 0;
	for (size_t i = 0; i < s->threads.hot.n; i++) {
		struct entry *entry = s->threads.hot.v[i];
		if (!entry->due || entry->asleep)
			continue;
		entry->asleep = read_uninterruptible(s, entry);
		n += !entry->asleep;
	}
	return n;
}

/* All others go on meanwhile. */
static void await_last_stops(struct sampler *s)
{
	uint64_t deadline = now_ns(CLOCK_MONOTONIC) + LAST_STOPS_NS;
	harvest_events(s);
	while (s->due > 0 && still_due(s) > 0 && !s->running_out && now_ns(CLOCK_MONOTONIC) < deadline) {
		harvest_wait(s, now_ns(CLOCK_MONOTONIC) + LOOK_AGAIN_NS);
		harvest_events(s);
	}
	for (size_t i = 0; i < s->threads.hot.n; i++)
		s->threads.hot.v[i]->due = false;
	s->due = 0;
	priority_lower(&s->priority);
}

static void write_sleeper(struct entry *entry, struct moment_thread *out)
{
	if (!entry->asleep || entry->sleep.state == NULL)
		return;
	out->how = MOMENT_ASLEEP;
	out->state = entry->sleep.state;
	out->in_call = entry->sight.blocked.nr >= 0;
	out->call = entry->sight.blocked;
	out->stack = entry->sleep.stack;
	entry->sleep.stack = (struct stack){0};
}

static void write_thread(struct entry *entry, struct moment_thread *out)
{
	*out = (struct moment_thread){.tid = entry->thread.tid,
		.how = MOMENT_MISSED,
		.state = "running",
		.run_ns = entry->last.run_ns,
		.cpu = entry->sight.cpu};
	if (thread_read_name(entry->member->target, &entry->thread) != 0 && entry->gone)
		out->tid = 0;
	memcpy(out->name, entry->thread.name, sizeof out->name);
	if (entry->sight.letter == 'D')
		out->state = "disk";
	if (!entry->gone)
		write_sleeper(entry, out);
	/* Whoever ended meanwhile is left out, but not the leader, which stays in the list of threads. */
	char letter;
	if (entry->gone && thread_state(entry->member->target, &entry->thread, &letter) == 0 && letter == 'Z')
		out->how = MOMENT_ENDED;
	else if (entry->gone)
		out->tid = 0;
}

static void write_call(const struct user_regs_struct *regs, struct moment_thread *out)
{
	out->in_call = strcmp(out->state, "sleeping") == 0;
	out->call = (struct blocked){.nr = (int)regs->orig_rax,
		.argument = {regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9},
		.sp = regs->rsp,
		.pc = regs->rip};
}

/* -1 when memory is out. */
static int write_taken(struct sampler *s, const struct taken *taken, struct moment_thread *out, bool *deeper)
{
	struct entry *entry = taken->entry;
	struct stack stack;
	size_t wanted = entry->hint.want_bytes;
	ledger_walk(s, entry, &taken->snapshot, &stack);
	*deeper |= entry->hint.want_bytes != wanted;
	out->how = taken->asleep ? MOMENT_ASLEEP : MOMENT_STOPPED;
	out->state = taken->asleep ? watch_state_word(entry->sight.letter) : taken->state;
	out->in_call = taken->asleep && entry->sight.blocked.nr >= 0;
	out->call = entry->sight.blocked;
	if (!taken->asleep)
		write_call(&taken->regs, out);
	if (taken->cut_short && eintr_was_cut_short(entry->member->target, entry->thread.tid, &taken->regs))
		s->result->short_counts++;
	return stack_keep(&out->stack, &stack) ? 0 : -1;
}

static int compare_tids(const void *a, const void *b)
{
	const struct moment_thread *x = a, *y = b;
	return (x->tid > y->tid) - (x->tid < y->tid);
}

/* And in order. */
static void leave_out_the_gone(struct moment *moment)
{
	size_t n = 0;
	moment->stopped = 0;
	for (size_t i = 0; i < moment->n; i++) {
		if (moment->v[i].tid == 0) {
			free(moment->v[i].stack.v);
			continue;
		}
		moment->whole &= moment->v[i].how != MOMENT_MISSED;
		moment->stopped += moment->v[i].how == MOMENT_STOPPED;
		moment->v[n++] = moment->v[i];
	}
	moment->n = n;
	if (n > 0)
		qsort(moment->v, n, sizeof *moment->v, compare_tids);
}

/* Walks what was taken. Nothing is held then. -1 when memory is out; 1 when some stack goes on beyond its copy.
 */
static int write_down(struct sampler *s, struct moment *moment)
{
	struct entry_list *all = &s->threads.hot;
	bool deeper = false;
	moment_free(moment);
	if (s->root->maps_stale)
		ledger_read_maps(s, s->root);
	moment->v = calloc(all->n + 1, sizeof *moment->v);
	if (moment->v == NULL)
		return -1;
	moment->n = all->n;
	for (size_t i = 0; i < all->n; i++)
		write_thread(all->v[i], &moment->v[i]);
	/* A thread that was taken twice stands where it was the second time. */
	for (size_t i = 0; i < s->n_taken; i++)
		if (write_taken(s, &s->taken[i], &moment->v[s->taken[i].entry->place], &deeper) != 0)
			return -1;
	leave_out_the_gone(moment);
	return deeper;
}

int moment_take(struct sampler *s, struct moment *moment)
{
	unsigned failures = 0, deeper = 0;
	*moment = (struct moment){0};
	for (;;) {
		if (prepare(s) != 0)
			return -1;
		attempt(s, moment);
		await_last_stops(s);
		bool over = s->running_out || s->target_gone;
		if (!moment->whole && ++failures < ATTEMPTS && !over)
			continue;
		int outcome = write_down(s, moment);
		if (outcome < 0)
			return -1;
		if (outcome == 0 || !moment->whole || over || ++deeper > DEEPER)
			return 0;
	}
}

void moment_free(struct moment *moment)
{
	for (size_t i = 0; i < moment->n; i++)
		free(moment->v[i].stack.v);
	free(moment->v);
	moment->v = NULL;
	moment->n = 0;
}
