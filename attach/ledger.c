/* Walks stacks, and charges time to them: CPU time up to each stop as the kernel has accounted it, wall time up
 * to each tick. */
#include "attach/eintr.h"
#include "attach/sampling.h"

#include <stdlib.h>

enum {
	PREPARE_NS = 500000000, /* for compiling unwind tables beforehand */
	MAPS_SHARE = 100, /* reading maps may take one part in so many of the time */
	MAPS_CREDIT_NS = 50000000, /* and this at once: a program that begins loads many libraries */
	BACK_OFF_NS = 50000000, /* after a first short count; doubled with each further one */
	BACK_OFF_DOUBLINGS = 7,
};

/* What readings have cost beyond their share of the time so far: below 0, there is some left. */
static int64_t maps_debt(const struct sampler *s)
{
	int64_t earned = (int64_t)(now_ns(CLOCK_MONOTONIC) - s->maps_earned_ns) / MAPS_SHARE;
	return s->maps_debt_ns - earned > -MAPS_CREDIT_NS ? s->maps_debt_ns - earned : -MAPS_CREDIT_NS;
}

bool ledger_may_read_maps(const struct sampler *s)
{
	return maps_debt(s) < 0;
}

static void prepare_tables(struct sampler *s, struct member *member)
{
	unwinder_turn_to(s->unwinder, member->space);
	unwinder_prepare(s->unwinder, PREPARE_NS);
	member->is_go = unwinder_go_tls(s->unwinder, &member->go_tls);
}

void ledger_read_maps(struct sampler *s, struct member *member)
{
	size_t len;
	if (member->awaits_exec)
		return;
	uint64_t before = now_ns(CLOCK_THREAD_CPUTIME_ID);
	char *text = target_maps(member->target, member->target->live_tid, &len);
	member->maps_ns = now_ns(CLOCK_MONOTONIC);
	member->maps_stale = member->walked = false;
	if (text == NULL)
		return;
	int changed = space_update(member->space, text, len);
	if (changed < 0)
		s->result->out_of_memory = true;
	if (changed > 0)
		prepare_tables(s, member);
	free(text);
	s->maps_debt_ns = maps_debt(s) + (int64_t)(now_ns(CLOCK_THREAD_CPUTIME_ID) - before);
	s->maps_earned_ns = now_ns(CLOCK_MONOTONIC);
}

static void process_labels(const struct sampler *s, const struct member *member, struct labels *labels)
{
	*labels = (struct labels){.process = s->family->follows ? member->name : NULL,
		.pid = member->unlabelled ? 0 : member->pid};
}

static void fill_labels(const struct sampler *s, const struct entry *entry, struct labels *labels)
{
	process_labels(s, entry->member, labels);
	labels->thread = entry->thread.name;
	labels->tid = entry->unnamed ? 0 : entry->thread.tid;
}

static void add(struct sampler *s, const struct entry *entry, const struct stack *stack,
	const struct labels *labels, int64_t count, int64_t ns)
{
	if (profile_add(s->profile, stack, labels, count, ns) != 0)
		s->result->out_of_memory = true;
	else if (!wants_state(s))
		entry->member->charged_ns += (uint64_t)ns;
}

static void count_walk(struct sampler *s, const struct stack *stack, uint64_t samples)
{
	s->result->stacks[stack->why] += samples;
	if (stack->guessed && stack->why == STOP_ROOT)
		s->result->guessed += samples;
	s->result->samples += samples;
	atomic_fetch_add_explicit(&s->progress->samples, samples, memory_order_relaxed);
}

/* A library may have come since the maps were read, to where there was none or to another's place. */
static bool is_walked_by_old_maps(
	const struct sampler *s, const struct member *member, const struct stack *stack)
{
	for (size_t i = 0; i < stack->n; i++)
		if (!space_still_has(member->space, stack->v[i].mapping, s->tick + 1))
			return true;
	return stack->why == STOP_NO_MAPPING;
}

/* Where the maps have changed they are read anew, and the same copy is walked again. */
void ledger_walk(struct sampler *s, struct entry *entry, const struct snapshot *snapshot, struct stack *stack)
{
	struct member *member = entry->member;
	if (member != s->root && member->maps_stale && ledger_may_read_maps(s)) {
		/* To compile the tables of a program that is new takes milliseconds: nobody is to wait for it.
		 */
		harvest_settle(s);
		ledger_read_maps(s, member);
	}
	unwinder_turn_to(s->unwinder, member->space);
	unwinder_walk(s->unwinder, snapshot, stack);
	if (is_walked_by_old_maps(s, member, stack) && ledger_may_read_maps(s)) {
		ledger_read_maps(s, member);
		unwinder_walk(s->unwinder, snapshot, stack);
	}
	member->walked = true;
	if (s->family->follows)
		space_unify(member->space, stack->v, stack->n);
	if (stack->why == STOP_COPY_END)
		capture_want_more(&entry->hint);
}

/* ---- threads that were stopped ---- */

/* A short count cannot be taken back: finishing the call on the thread's behalf would corrupt its stream if we
 * were killed half-way. It is counted, and the thread is left alone for a while. */
static void back_off(struct sampler *s, struct entry *entry, const struct stack *stack)
{
	struct back_off *b = &entry->back_off;
	s->result->short_counts++;
	if (!stack_keep(&b->stack, stack)) {
		s->result->out_of_memory = true;
		return;
	}
	b->until_ns = s->tick_ns + ((uint64_t)BACK_OFF_NS << b->times);
	b->times += b->times < BACK_OFF_DOUBLINGS;
	b->clean = 0;
}

/* CPU time of the process that belongs to none of its threads that live: others have used it, and were gone
 * before they were met. */
static int64_t orphaned_ns(const struct sampler *s, const struct member *member)
{
	int64_t ns = (int64_t)(member->last_cpu_ns - member->start_cpu_ns - member->charged_ns);
	for (size_t i = 0; i < s->threads.hot.n; i++) {
		const struct entry *entry = s->threads.hot.v[i];
		if (entry->member == member && !entry->gone && entry->now.run_ns > entry->charged_run_ns)
			ns -= (int64_t)(entry->now.run_ns - entry->charged_run_ns);
	}
	return ns;
}

/* Threads that live for less than a tick are met by chance, each for as long as it runs. Those that are stand
 * for the others, as in a profile of perf: under their stack, but not in their account. */
static void charge_orphans(
	struct sampler *s, struct entry *entry, const struct stack *stack, struct labels *labels)
{
	struct member *member = entry->member;
	if (s->options->n_tids > 0 || !s->clock_is_fresh || member->orphans_tick == s->tick ||
		(double)entry->charged_run_ns * s->options->rate_hz > 1e9)
		return;
	member->orphans_tick = s->tick;
	int64_t ns = orphaned_ns(s, member);
	if (ns <= 0)
		return;
	labels->tid = 0;
	add(s, entry, stack, labels, 0, ns);
	s->result->orphaned_cpu_ns += (uint64_t)ns;
}

static void charge_stack(struct sampler *s, const struct taken *taken, const struct stack *stack)
{
	struct labels labels;
	struct entry *entry = taken->entry;
	/* After an exec by another thread than the leader, the leader's TID has that thread's account. */
	if (taken->run_ns < entry->charged_run_ns)
		entry->charged_run_ns = taken->run_ns;
	bool is_first = entry->charged_run_ns == 0;
	int64_t run_ns = (int64_t)(taken->run_ns - entry->charged_run_ns);
	entry->charged_run_ns = taken->run_ns;
	if (run_ns == 0 && !wants_state(s))
		return;
	fill_labels(s, entry, &labels);
	labels.state = taken->state;
	labels.syscall = taken->syscall;
	add(s, entry, stack, &labels, 1, wants_state(s) ? taken->wall_ns : run_ns);
	count_walk(s, stack, 1);
	if (taken->late_ns > 0) {
		labels.state = "runnable";
		add(s, entry, stack, &labels, taken->late_ticks, taken->late_ns);
		count_walk(s, stack, (uint64_t)taken->late_ticks);
	}
	if (is_first && !wants_state(s))
		charge_orphans(s, entry, stack, &labels);
}

static void charge_taken(struct sampler *s, struct taken *taken)
{
	struct stack stack;
	struct entry *entry = taken->entry;
	bool counts = standing_of(s, entry, taken);
	if (!counts && !taken->cut_short)
		return;
	ledger_walk(s, entry, &taken->snapshot, &stack);
	if (counts)
		charge_stack(s, taken, &stack);
	if (taken->cut_short && eintr_was_cut_short(entry->member->target, entry->thread.tid, &taken->regs))
		back_off(s, entry, &stack);
	else if (++entry->back_off.clean % 64 == 0)
		entry->back_off.times = 0;
}

void ledger_charge_taken(struct sampler *s)
{
	/* What stops meanwhile would wait for us as long as we wait for a CPU. */
	if (s->n_pending == 0)
		priority_lower(&s->priority);
	for (size_t i = 0; i < s->n_taken; i++) {
		charge_taken(s, &s->taken[i]);
		/* More may stop meanwhile: they join the end of the list. */
		if (s->n_pending > 0)
			harvest_events(s);
	}
	s->n_taken = 0;
	s->copies.used = 0;
}

void ledger_charge_backed_off(struct sampler *s, struct entry *entry)
{
	struct labels labels;
	fill_labels(s, entry, &labels);
	labels.backed_off = "short counts";
	int64_t ns = (int64_t)(s->tick_ns - entry->charged_wall_ns);
	if (wants_state(s)) {
		labels.state = "running";
		entry->charged_wall_ns = s->tick_ns;
		entry->charged_tick = s->tick;
	} else {
		ns = (int64_t)(entry->now.run_ns - entry->charged_run_ns);
		if (ns <= 0)
			return;
		entry->charged_run_ns = entry->now.run_ns;
	}
	s->result->backed_off++;
	add(s, entry, &entry->back_off.stack, &labels, 1, ns);
	count_walk(s, &entry->back_off.stack, 1);
}

/* ---- sleeps ---- */

void ledger_charge_sleep(struct sampler *s, struct entry *entry, uint64_t tick, uint64_t tick_ns)
{
	if (tick <= entry->charged_tick || entry->sleep.state == NULL)
		return;
	uint64_t ticks = tick - entry->charged_tick;
	entry->sleep.count += (int64_t)ticks;
	entry->sleep.ns += (int64_t)(tick_ns - entry->charged_wall_ns);
	entry->charged_tick = tick;
	entry->charged_wall_ns = tick_ns;
	count_walk(s, &entry->sleep.stack, ticks);
}

/* Into the profile with what was gathered. */
static void write_sleep(struct sampler *s, struct entry *entry)
{
	struct sleep *sleep = &entry->sleep;
	struct labels labels;
	fill_labels(s, entry, &labels);
	labels.state = sleep->state;
	labels.syscall = sleep->syscall;
	if (sleep->ns > 0 || sleep->count > 0)
		add(s, entry, &sleep->stack, &labels, sleep->count, sleep->ns);
	sleep->count = sleep->ns = 0;
}

void ledger_end_sleep(struct sampler *s, struct entry *entry)
{
	if (entry->sleep.state == NULL)
		return;
	write_sleep(s, entry);
	entry->sleep.state = entry->sleep.syscall = NULL;
}

void ledger_show_sleeps(struct sampler *s)
{
	for (size_t i = 0; i < THREAD_BUCKETS; i++)
		for (struct entry *entry = s->threads.bucket[i]; entry != NULL; entry = entry->next) {
			if (entry->sleep.state == NULL || entry->gone)
				continue;
			ledger_charge_sleep(s, entry, s->tick, s->tick_ns);
			write_sleep(s, entry);
		}
}

/* A cold thread has used nothing since it was last charged. */
static void charge_from_now(struct sampler *s, struct entry *entry)
{
	struct schedstat stat;
	entry->charged_wall_ns = s->tick_ns;
	entry->charged_tick = s->tick;
	if (!entry->cold && !entry->gone &&
		thread_schedstat(entry->member->target, &entry->thread, &stat) == 0 &&
		stat.run_ns > entry->charged_run_ns)
		entry->charged_run_ns = stat.run_ns;
}

void ledger_open_window(struct sampler *s)
{
	s->tick_ns = now_ns(CLOCK_MONOTONIC);
	for (size_t i = 0; i < THREAD_BUCKETS; i++)
		for (struct entry *entry = s->threads.bucket[i]; entry != NULL; entry = entry->next)
			charge_from_now(s, entry);
}

/* ---- the end ---- */

static void add_named(struct sampler *s, const char *frame, const struct labels *labels, uint64_t ns)
{
	if (ns > 0 && profile_add_named(s->profile, frame, labels, 0, (int64_t)ns) != 0)
		s->result->out_of_memory = true;
}

/* The thread's wall time from its last sample to the end: the sleep that it is in, or a tick's length of
 * running. */
static void charge_rest_of_wall(struct sampler *s, struct entry *entry)
{
	ledger_charge_sleep(s, entry, s->tick, s->last_tick_ns);
	uint64_t rest = s->tick_ns - entry->charged_wall_ns;
	entry->charged_wall_ns = s->tick_ns;
	if (entry->sleep.state != NULL) {
		entry->sleep.ns += (int64_t)rest;
		ledger_end_sleep(s, entry);
		return;
	}
	struct labels labels;
	fill_labels(s, entry, &labels);
	labels.state = "running";
	add_named(s, "[time after the last sample]", &labels, rest);
}

/* The CPU time that the thread used since its last sample. */
static uint64_t charge_rest_of_cpu(struct sampler *s, struct entry *entry)
{
	struct schedstat stat;
	if (thread_schedstat(entry->member->target, &entry->thread, &stat) != 0 ||
		stat.run_ns <= entry->charged_run_ns)
		return 0;
	struct labels labels;
	fill_labels(s, entry, &labels);
	add_named(s, "[cpu between samples]", &labels, stat.run_ns - entry->charged_run_ns);
	return stat.run_ns - entry->charged_run_ns;
}

static uint64_t charge_rest(struct sampler *s, struct entry *entry)
{
	if (entry->gone || entry->member->unseen)
		return 0;
	if (!wants_state(s))
		return charge_rest_of_cpu(s, entry);
	charge_rest_of_wall(s, entry);
	return 0;
}

/* What the process has used beyond `known`. */
static void charge_rest_of_process(struct sampler *s, struct member *member, uint64_t known)
{
	uint64_t total = member->last_cpu_ns - member->start_cpu_ns;
	struct labels labels;
	process_labels(s, member, &labels);
	if (s->options->n_tids > 0 || total < known)
		total = known;
	s->result->kernel_cpu_ns += total;
	s->result->between_cpu_ns += total - member->charged_ns;
	s->result->unseen_cpu_ns += member->unseen ? total - known : 0;
	if (!wants_state(s))
		add_named(s, member->unseen ? "[cpu of children not seen]" : "[cpu between samples]", &labels,
			total - known);
}

void ledger_balance_ended(struct sampler *s, struct member *member)
{
	charge_rest_of_process(s, member, member->charged_ns);
}

/* CPU time that the kernel charged and no sample carries: of live threads under their names, of ended ones
 * under the process. */
void ledger_balance(struct sampler *s)
{
	s->last_tick_ns = s->tick_ns;
	s->tick_ns = now_ns(CLOCK_MONOTONIC);
	for (size_t i = 0; i < s->family->n; i++)
		s->family->v[i]->rest_ns = 0;
	for (size_t i = 0; i < THREAD_BUCKETS; i++)
		for (struct entry *entry = s->threads.bucket[i]; entry != NULL; entry = entry->next)
			entry->member->rest_ns += charge_rest(s, entry);
	/* The window ends where the process's clock is read, and not before the threads' accounts. */
	if (!wants_state(s))
		s->tick_ns = now_ns(CLOCK_MONOTONIC);
	for (size_t i = 0; i < s->family->n; i++) {
		struct member *member = s->family->v[i];
		family_clock(member);
		charge_rest_of_process(s, member, member->charged_ns + member->rest_ns);
	}
}
