/* Which threads run and which sleep is seen without stopping any: the kernel's count of a thread's turns on a
 * CPU tells whether it still sleeps the same sleep. A sleeper's stack is copied while it sleeps. */
#include "attach/sampling.h"
#include "attach/syscalls.h"

enum {
	CALM_TICKS = 16, /* a sleep as long as this is not looked at any more at every tick */
	CALM_WHEN_MET = 14, /* the sleep in which a thread was found counts as this old */
	RESTART_SYSCALL = 219,
	PLACE_TICKS = 4, /* after so many without a sample, the thread's CPU is looked up */
};

/* ---- sleeps ---- */

const char *watch_state_word(char letter)
{
	switch (letter) {
	case 'D':
		return "disk";
	case 'T':
	case 't':
		return "stopped";
	default:
		return "sleeping";
	}
}

/* The call's name. A sleep resumed by the kernel shows as restart_syscall: it is still the call that was seen
 * before. */
static const char *blocked_name(struct entry *entry, int nr)
{
	if (nr >= 0 && nr != RESTART_SYSCALL)
		entry->blocked_nr = nr;
	return nr < 0 ? NULL : syscall_name(entry->blocked_nr);
}

bool watch_copy_sleeper(
	struct sampler *s, struct entry *entry, const struct blocked *blocked, struct snapshot *snapshot)
{
	*snapshot = (struct snapshot){.tid = entry->thread.tid};
	snapshot->regs.r[AMD64_RIP] = blocked->pc;
	snapshot->regs.r[AMD64_RSP] = blocked->sp;
	snapshot->regs.known = 1u << AMD64_RIP | 1u << AMD64_RSP;
	entry->hint.is_go = entry->member->is_go;
	capture_stack(entry->member->space, &entry->hint, &s->copies, snapshot);
	struct schedstat after;
	return thread_schedstat(entry->member->target, &entry->thread, &after) == 0 &&
	       after.count == entry->last.count;
}

/* A deep sleeper's first copy may have been too short: it still sleeps, so copy again, larger. */
static bool walk_sleeper(
	struct sampler *s, struct entry *entry, const struct blocked *blocked, struct stack *stack)
{
	for (;;) {
		struct snapshot snapshot;
		size_t wanted = entry->hint.want_bytes;
		s->copies.used = 0;
		if (!watch_copy_sleeper(s, entry, blocked, &snapshot))
			return false;
		ledger_walk(s, entry, &snapshot, stack);
		if (stack->why != STOP_COPY_END || entry->hint.want_bytes == wanted)
			return true;
	}
}

static bool keep_sleep(struct sampler *s, struct entry *entry, const struct blocked *blocked,
	const struct stack *stack, char letter)
{
	if (!stack_keep(&entry->sleep.stack, stack)) {
		s->result->out_of_memory = true;
		return false;
	}
	entry->sleep.state = entry->thread.listening ? "stopped" : watch_state_word(letter);
	entry->sleep.syscall = blocked_name(entry, blocked->nr);
	return true;
}

bool watch_begin_sleep(struct sampler *s, struct entry *entry, const struct blocked *blocked)
{
	char letter;
	struct stack stack;
	return thread_state(entry->member->target, &entry->thread, &letter) == 0 &&
	       walk_sleeper(s, entry, blocked, &stack) && keep_sleep(s, entry, blocked, &stack, letter);
}

void watch_begin_sleeps(struct sampler *s)
{
	for (size_t i = 0; i < s->n_sleepers; i++) {
		struct sleeper *sleeper = &s->sleepers[i];
		struct entry *entry = sleeper->entry;
		struct stack stack;
		/* A sleep that ended lasted at least until the tick before. */
		ledger_charge_sleep(s, entry, s->tick - 1, s->last_tick_ns);
		ledger_end_sleep(s, entry);
		ledger_walk(s, entry, &sleeper->snapshot, &stack);
		entry->calm = entry->met ? 0 : CALM_WHEN_MET;
		entry->met = true;
		entry->asleep = keep_sleep(s, entry, &sleeper->blocked, &stack, sleeper->letter);
	}
	s->n_sleepers = 0;
}

/* ---- one thread ---- */

static void is_gone(struct entry *entry)
{
	entry->gone = entry->member->relist = true;
}

/* Reads the thread's account. */
static bool read_account(struct sampler *s, struct entry *entry)
{
	struct schedstat now;
	if (entry->gone || entry->refused || entry->looked == s->tick)
		return false;
	entry->looked = s->tick;
	if (thread_schedstat(entry->member->target, &entry->thread, &now) != 0) {
		is_gone(entry);
		return false;
	}
	s->seen_run_ns += (int64_t)(now.run_ns - entry->now.run_ns);
	entry->now = now;
	return true;
}

static bool sleeps_on(const struct entry *entry)
{
	return entry->asleep && entry->now.count == entry->last.count;
}

static void go_on_sleeping(struct sampler *s, struct entry *entry)
{
	entry->last = entry->now;
	if (wants_state(s))
		ledger_charge_sleep(s, entry, s->tick, s->tick_ns);
	if (++entry->calm >= CALM_TICKS)
		threads_cool(&s->threads, entry);
}

/* Asleep now? Then it is charged as such, if that is wanted. */
static bool fell_asleep(struct sampler *s, struct entry *entry)
{
	struct blocked blocked;
	if (thread_blocked(entry->member->target, &entry->thread, &blocked) <= 0)
		return false;
	if (wants_state(s)) {
		if (!watch_begin_sleep(s, entry, &blocked))
			return false;
		ledger_charge_sleep(s, entry, s->tick, s->tick_ns);
	}
	entry->asleep = true;
	if (!entry->met)
		entry->calm = CALM_WHEN_MET;
	entry->met = true;
	return true;
}

/* Was it seen at this tick's instant? A profile of CPU time wants to know no more, and whoever was not come to
 * then has its turn at another. */
static bool was_at_instant(const struct sampler *s, const struct entry *entry)
{
	if (wants_state(s))
		return entry->instant == s->tick && entry->interrupted_tick == s->tick;
	return entry->instant == s->tick || entry->passed_over == s->tick;
}

static void look_at(struct sampler *s, struct entry *entry)
{
	if (sleeps_on(entry)) {
		go_on_sleeping(s, entry);
		return;
	}
	threads_heat(&s->threads, entry);
	if (entry->slept == s->tick) {
		ledger_charge_sleep(s, entry, s->tick, s->tick_ns);
		return;
	}
	if (was_at_instant(s, entry)) {
		/* Whose CPU is not held does not seem to run. */
		if (entry->interrupted_tick + PLACE_TICKS < s->tick && entry->placed + PLACE_TICKS < s->tick) {
			entry->placed = s->tick;
			entry->cpu = thread_cpu(entry->member->target, &entry->thread);
			holders_want(s->holders, entry->cpu);
		}
		entry->asleep = false;
		return;
	}
	entry->last = entry->now;
	/* A sleep that ended lasted at least until the tick before. */
	ledger_charge_sleep(s, entry, s->tick - 1, s->last_tick_ns);
	ledger_end_sleep(s, entry);
	entry->asleep = false;
	if (fell_asleep(s, entry))
		return;
	if (entry->thread.interrupted || entry->thread.listening) {
		s->result->pending += entry->thread.interrupted;
		return;
	}
	if (entry->back_off.until_ns > s->tick_ns) {
		ledger_charge_backed_off(s, entry);
		return;
	}
	entry->taken = false;
	s->batch[s->n_batch++] = entry;
	if (s->n_batch >= pace_batch(&s->pace))
		harvest_batch(s);
}

/* ---- all threads ---- */

/* All accounts are read before any thread is stopped: stops bring accounts up to date that the process's clock,
 * read just before, does not have yet. */
static void watch_hot(struct sampler *s)
{
	struct entry_list *hot = &s->threads.hot;
	for (size_t i = 0; i < hot->n; i++)
		hot->v[i]->fresh = read_account(s, hot->v[i]);
	for (size_t i = hot->n; i-- > 0;) {
		struct entry *entry = hot->v[i];
		if (!entry->fresh)
			continue;
		entry->fresh = false;
		look_at(s, entry);
	}
}

void watch_plan_instant(struct sampler *s)
{
	const struct entry_list *hot = &s->threads.hot;
	size_t most = pace_batch(&s->pace), n = hot->n < most ? hot->n : most;
	/* Where they are too many, each in its turn. */
	for (s->n_batch = 0; s->n_batch < n; s->n_batch++)
		s->batch[s->n_batch] = hot->v[(s->tick * (n < hot->n ? n : 1) + s->n_batch) % hot->n];
}

/* A thread that slept on has used no CPU time: while the process's clock shows no more than the hot threads
 * have used, all cold ones sleep the same sleep, and none needs to be read. */
static bool cold_have_run(const struct sampler *s)
{
	return (int64_t)s->last_cpu_ns - s->seen_run_ns - s->nobodys_ns > 0;
}

static void watch_cold(struct sampler *s)
{
	struct entry_list *cold = &s->threads.cold;
	if (s->unswept == 0) {
		if (!s->clock_is_fresh || !cold_have_run(s))
			return;
		s->unswept = cold->n;
	}
	if (s->unswept > cold->n)
		s->unswept = cold->n;
	size_t left = pace_afford(&s->pace, s->look_ns), n = left < s->unswept ? left : s->unswept;
	uint64_t before = now_ns(CLOCK_THREAD_CPUTIME_ID);
	for (size_t i = 0; i < n; i++) {
		struct entry *entry = cold->v[--s->unswept];
		if (read_account(s, entry))
			look_at(s, entry);
	}
	if (n > 0)
		s->look_ns = (double)(now_ns(CLOCK_THREAD_CPUTIME_ID) - before) / (double)n;
	/* What no live thread has used, ended ones have. */
	if (s->unswept == 0 && s->clock_is_fresh)
		s->nobodys_ns = (int64_t)s->last_cpu_ns - s->seen_run_ns;
}

void watch_threads(struct sampler *s)
{
	watch_hot(s);
	watch_cold(s);
}
