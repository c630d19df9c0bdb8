#include "attach/sampler.h"
#include "attach/sampling.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	MAPS_EVERY_NS = 1000000000, /* maps are compared this often even if nothing seems new */
	REST_NS = 10000000, /* how often is asked whether the next window may begin */
	SOON_NS = 150000, /* for holders to hear of it */
	MOMENT_COPIES_BYTES = 1 << 30, /* of address space: no copy can be made smaller there */
};

/* Another thread than the leader reads the maps when that one has ended, so this comes after the listing. */
static void refresh_maps(struct sampler *s)
{
	for (size_t i = 0; i < s->family->n; i++) {
		struct member *member = s->family->v[i];
		bool old = s->tick_ns - member->maps_ns >= MAPS_EVERY_NS;
		/* Other members' are read when there is a stack to walk. */
		if (member == s->root ? old || (member->maps_stale && ledger_may_read_maps(s))
				      : old && member->walked && member_is_sampled(member))
			ledger_read_maps(s, member);
	}
}

/* The process's clock adds up all its threads: with ten thousand of them that takes as long as reading
 * hundreds. */
static bool read_clock(struct sampler *s)
{
	s->clock_is_fresh = s->clock_rest == 0;
	if (!s->clock_is_fresh) {
		s->clock_rest--;
		return true;
	}
	uint64_t before = now_ns(CLOCK_MONOTONIC);
	s->last_cpu_ns = s->ended_cpu_ns;
	for (size_t i = 0; i < s->family->n; i++) {
		struct member *member = s->family->v[i];
		if ((member->target == NULL && !member->unseen) || member->ended)
			continue;
		/* Of a traced one the end is an event. Others may just be gone. */
		if (!family_clock(member)) {
			if (!s->family->follows)
				return false;
			member->ended = s->strangers = true;
		}
		s->last_cpu_ns += member->unseen ? 0 : member->last_cpu_ns;
	}
	s->clock_rest = pace_rest(&s->pace, now_ns(CLOCK_MONOTONIC) - before);
	return true;
}

/* Sleeps until `deadline`, reaping at once what ends: a parent waits for its child until its tracer, too, has
 * seen the end. */
static void idle_until(struct sampler *s, uint64_t deadline)
{
	while (!s->running_out && now_ns(CLOCK_MONOTONIC) < deadline) {
		/* A tick that waits for a CPU has missed its instant. */
		priority_raise(&s->priority);
		harvest_wait(s, deadline);
		harvest_events(s);
		/* Rather than at the next tick. But what stops meanwhile would wait for us. */
		if ((s->n_taken > 0 && s->n_pending == 0) || copies_are_full(&s->copies) ||
			s->n_taken >= PACE_BATCH)
			ledger_charge_taken(s);
	}
}

/* Threads that run and were met after the instant get one of their own: most of those that live for less than a
 * tick are never met at another. */
static void sample_strangers(struct sampler *s, uint64_t next_ns)
{
	if (s->n_batch == 0)
		return;
	if (wants_state(s)) {
		harvest_batch(s);
		return;
	}
	uint64_t at = now_ns(CLOCK_MONOTONIC) + SOON_NS;
	for (size_t i = 0; i < s->n_batch; i++)
		standing_begins(s->batch[i]);
	holders_hurry(s->holders, at + s->lead_ns);
	idle_until(s, at);
	s->woke_ns = now_ns(CLOCK_MONOTONIC);
	holders_set(s->holders, next_ns + s->lead_ns);
	harvest_instant(s);
}

/* `next_ns`: the next one's time. */
static void tick(struct sampler *s, uint64_t next_ns)
{
	s->last_tick_ns = s->tick_ns;
	s->tick_ns = now_ns(CLOCK_MONOTONIC);
	s->own_at_tick_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
	s->tick++;
	harvest_instant(s);
	if (s->n_pending == 0)
		priority_lower(&s->priority);
	harvest_events(s);
	ledger_charge_taken(s);
	if (s->strangers)
		census_meet_strangers(s);
	census_list_all(s);
	refresh_maps(s);
	if (!read_clock(s) || s->target_gone || census_all_gone(s)) {
		s->target_gone = true;
		return;
	}
	watch_threads(s);
	if (census_list_where_changed(s))
		watch_threads(s);
	sample_strangers(s, next_ns);
	watch_plan_instant(s);
	s->result->ticks++;
}

/* ---- the run ---- */

static uint64_t own_cpu_ns(const struct sampler *s)
{
	return now_ns(CLOCK_THREAD_CPUTIME_ID) + holders_cpu_ns(s->holders);
}

/* Clocks that tell what sampling costs. */
struct costs {
	uint64_t time_ns, own_ns, stopped_ns, target_ns;
};

/* What has been used since the last call. */
static void settle_accounts(struct sampler *s, struct costs *before)
{
	if (!s->clock_is_fresh)
		return;
	struct costs now = {now_ns(CLOCK_MONOTONIC), own_cpu_ns(s), s->stopped_ns, s->last_cpu_ns};
	pace_spent(&s->pace, now.time_ns - before->time_ns, now.own_ns - before->own_ns,
		now.stopped_ns - before->stopped_ns, now.target_ns - before->target_ns);
	*before = now;
}

/* A window is over: its profile is handed over, and whoever has it may fork, and take as long as names take to
 * look up. Meanwhile only what the target's signals ask for is done. False when the run is over. */
static bool turn_window(struct sampler *s, uint64_t window_start)
{
	const struct sampler_windows *windows = &s->options->windows;
	int64_t length_ns = (int64_t)(s->tick_ns - window_start);
	ledger_show_sleeps(s);
	for (;;) {
		struct profile *next = windows->turn(windows->context, s->profile, length_ns, s->result);
		if (next != NULL) {
			s->profile = next;
			/* Who has stopped meanwhile was asked to in the window before: its CPU time is charged
			 * up to that stop, and must not count again from there on. */
			ledger_charge_taken(s);
			ledger_open_window(s);
			return true;
		}
		s->target_gone = target_thread_count(s->root->target) < 0 || census_all_gone(s);
		if (s->running_out || s->target_gone)
			return false;
		harvest_wait(s, now_ns(CLOCK_MONOTONIC) + REST_NS);
		harvest_events(s);
		if (s->n_pending == 0)
			priority_lower(&s->priority);
	}
}

static void run_ticks(struct sampler *s)
{
	int64_t window_ns = s->options->windows.window_ns;
	uint64_t start = s->tick_ns, end = start + (uint64_t)s->options->duration_ns;
	struct pace_limits limits = {
		s->options->max_overhead, s->options->max_pause_ns, (unsigned)sysconf(_SC_NPROCESSORS_ONLN)};
	struct costs costs = {start, own_cpu_ns(s), 0, s->last_cpu_ns};
	uint64_t window_start = start;
	pace_start(&s->pace, s->options->rate_hz, &limits, start);
	uint64_t next = pace_next(&s->pace, start);
	for (;;) {
		uint64_t due = next, now = now_ns(CLOCK_MONOTONIC);
		atomic_store_explicit(&s->progress->elapsed_ns, (int64_t)(now - start), memory_order_relaxed);
		atomic_store_explicit(&s->progress->late_ticks, s->pace.late, memory_order_relaxed);
		idle_until(s, due < end ? due : end);
		s->woke_ns = now_ns(CLOCK_MONOTONIC);
		bool is_over = s->running_out || s->woke_ns >= end;
		/* The budget may have put the next tick far off: what was used since the last one would be
		 * charged to no stack. */
		if (is_over && now_ns(CLOCK_MONOTONIC) - s->tick_ns < 2 * s->pace.period_ns)
			break;
		/* Holders have to know the time after this one before they are let go. */
		next = pace_next(&s->pace, now_ns(CLOCK_MONOTONIC));
		holders_set(s->holders, next + s->lead_ns);
		tick(s, next);
		holders_let_go(s->holders);
		if (s->target_gone || is_over)
			break;
		settle_accounts(s, &costs);
		if (window_ns > 0 && s->tick_ns - window_start >= (uint64_t)window_ns) {
			if (!turn_window(s, window_start))
				break;
			window_start = s->tick_ns;
			next = pace_next(&s->pace, window_start);
		}
		if (s->tick == 1) {
			/* Meeting every thread is done once, and is no cost of sampling. */
			pace_start(&s->pace, s->options->rate_hz, &limits, s->tick_ns);
			next = pace_next(&s->pace, s->tick_ns);
		}
	}
	s->result->late_ticks = s->pace.late;
	s->result->lowered_ticks = s->pace.lowered;
	s->result->end = s->target_gone ? END_TARGET : s->running_out ? END_SIGNAL : END_DURATION;
}

/* The first seize tells whether we may. Any thread that has not ended will do; the leader is the usual one, and
 * sees exec. */
static int seize_first(struct sampler *s)
{
	int refusal = s->refusal != 0 ? s->refusal : ESRCH;
	struct entry *leader = threads_find(&s->threads, s->root->pid);
	if (leader != NULL && (leader->thread.seized || thread_seize(&leader->thread) == 0))
		return 0;
	for (size_t i = 0; i < THREAD_BUCKETS; i++)
		for (struct entry *entry = s->threads.bucket[i]; entry != NULL; entry = entry->next) {
			char letter;
			if (thread_state(s->root->target, &entry->thread, &letter) != 0 || letter == 'Z' ||
				letter == 'X') {
				entry->gone = s->root->relist = true;
				continue;
			}
			if (entry->thread.seized || thread_seize(&entry->thread) == 0)
				return 0;
			refusal = errno;
		}
	errno = refusal;
	return -1;
}

static int begin(struct sampler *s)
{
	family_begin(s->family);
	s->root->awaits_exec = s->options->go_fd >= 0;
	sigemptyset(&s->signals);
	sigaddset(&s->signals, SIGCHLD);
	sigaddset(&s->signals, SIGINT);
	sigaddset(&s->signals, SIGTERM);
	sigaddset(&s->signals, SIGHUP);
	/* Before the first thread has us as its tracer: its signals would wait while tables are compiled. */
	ledger_read_maps(s, s->root);
	s->result->time_ns = (int64_t)now_ns(CLOCK_REALTIME);
	s->tick_ns = s->last_tick_ns = now_ns(CLOCK_MONOTONIC);
	family_clock(s->root);
	s->root->start_cpu_ns = s->last_cpu_ns = s->root->last_cpu_ns;
	census_list_threads(s, s->root);
	if (seize_first(s) != 0)
		return -1;
	census_list_threads(s, s->root);
	if (s->family->follows)
		census_adopt_all(s);
	ledger_read_maps(s, s->root);
	priority_begin(&s->priority, s->options->realtime);
	s->holders = holders_new(s->options->realtime);
	return 0;
}

/* Is the target stopped by job control? Then it stays stopped when we let go. */
static bool is_job_stopped(const struct sampler *s)
{
	for (size_t i = 0; i < THREAD_BUCKETS; i++)
		for (const struct entry *entry = s->threads.bucket[i]; entry != NULL; entry = entry->next) {
			char letter;
			if (entry->gone)
				continue;
			/* One that has us as its tracer from its first instruction on may have been stopped
			 * before it was listed. */
			if (entry->thread.listening ||
				(thread_state(entry->member->target, &entry->thread, &letter) == 0 &&
					(letter == 'T' || (s->family->follows && letter == 't'))))
				return true;
		}
	return false;
}

static void finish(struct sampler *s, uint64_t start)
{
	harvest_settle(s);
	/* The last window is not whole, and its profile may be in other hands. */
	if (s->options->windows.window_ns == 0) {
		ledger_charge_taken(s);
		/* Only of those that live the clocks can be read. */
		census_meet_strangers(s);
		ledger_balance(s);
	}
	s->result->duration_ns = (int64_t)(s->tick_ns - start);
}

static void close_sampler(struct sampler *s)
{
	holders_free(s->holders);
	threads_free(&s->threads);
	copies_free(&s->copies);
	free(s->taken);
	free(s);
}

/* NULL when memory is out. */
static struct sampler *open_sampler(size_t copies_bytes, size_t taken_cap)
{
	struct sampler *s = calloc(1, sizeof *s);
	if (s == NULL)
		return NULL;
	s->taken_cap = taken_cap;
	s->taken = calloc(taken_cap, sizeof *s->taken);
	if (s->taken != NULL && copies_new(&s->copies, copies_bytes) == 0)
		return s;
	close_sampler(s);
	errno = ENOMEM;
	return NULL;
}

static void close_books(struct sampler *s)
{
	s->result->job_stopped = is_job_stopped(s);
	s->result->realtime = s->priority.realtime;
	s->result->own_cpu_ns = own_cpu_ns(s);
}

int sampler_run(struct family *family, struct unwinder *unwinder, struct profile *profile,
	const struct sampler_options *options, struct sampler_progress *progress, struct sampler_result *result)
{
	*result = (struct sampler_result){.time_ns = (int64_t)now_ns(CLOCK_REALTIME)};
	struct sampler *s = open_sampler(COPIES_BYTES, (size_t)PACE_BATCH * 2);
	if (s == NULL)
		return -1;
	s->family = family;
	s->root = family->v[0];
	s->unwinder = unwinder;
	s->profile = profile;
	s->options = options;
	s->progress = progress;
	s->result = result;
	int outcome = begin(s), saved = errno;
	if (outcome == 0) {
		uint64_t start = s->tick_ns;
		if (s->options->go_fd >= 0 && write(s->options->go_fd, "", 1) != 1)
			s->running_out = true; /* it was killed meanwhile */
		run_ticks(s);
		finish(s, start);
		close_books(s);
	}
	close_sampler(s);
	errno = saved;
	return outcome;
}

int sampler_moment(struct family *family, struct unwinder *unwinder, const struct sampler_options *options,
	struct sampler_result *result, struct moment *moment)
{
	struct sampler_progress unseen = {0};
	*result = (struct sampler_result){.time_ns = (int64_t)now_ns(CLOCK_REALTIME)};
	*moment = (struct moment){0};
	struct sampler *s = open_sampler(MOMENT_COPIES_BYTES, PACE_BATCH);
	if (s == NULL)
		s = open_sampler(COPIES_BYTES, PACE_BATCH);
	if (s == NULL)
		return -1;
	s->family = family;
	s->root = family->v[0];
	s->unwinder = unwinder;
	s->options = options;
	s->progress = &unseen;
	s->result = result;
	int outcome = begin(s), saved = errno;
	if (outcome == 0) {
		outcome = moment_take(s, moment);
		saved = ENOMEM;
		harvest_settle(s);
		close_books(s);
		result->end = s->target_gone ? END_TARGET : s->running_out ? END_SIGNAL : END_DURATION;
	}
	close_sampler(s);
	errno = saved;
	return outcome;
}
