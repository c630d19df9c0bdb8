#include "attach/sampler.h"
#include "attach/sampling.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	/* Of threads that begin during the run, so many have samples with their own TID: a program that begins
	 * thousands a second would fill memory, and nobody reads so many. */
	NAMED_THREADS = 8192,
	MAPS_EVERY_NS = 1000000000, /* maps are compared this often even if nothing seems new */
	REST_NS = 10000000, /* how often is asked whether the next window may begin */
	ADOPT_PASSES = 8, /* looking for children while they begin others */
	MOMENT_COPIES_BYTES = 1 << 30, /* of address space: no copy can be made smaller there */
};

/* ---- the list of threads ---- */

static bool is_chosen(const struct sampler *s, pid_t tid)
{
	for (size_t i = 0; i < s->options->n_tids; i++)
		if (s->options->tids[i] == tid)
			return true;
	return s->options->n_tids == 0;
}

/* Whose threads are listed. */
struct listing {
	struct sampler *s;
	struct member *member;
};

/* As of its process's first listing, if that was there before. */
static bool was_there(const struct member *member)
{
	return member->listing == 1 && !member->born;
}

/* Whatever a thread of a family begins is to be seen, so it is seized at once, unless it was from its beginning
 * on. */
static void follow(struct sampler *s, struct entry *entry)
{
	if (thread_seize_family(&entry->thread) == 0)
		return;
	if (errno == EPERM && !was_there(entry->member))
		entry->thread.seized = true;
	else if (errno == EPERM)
		harvest_refuse(s, entry);
}

static void learn_thread(void *context, pid_t tid)
{
	struct sampler *s = ((struct listing *)context)->s;
	struct member *member = ((struct listing *)context)->member;
	struct entry *entry = threads_find(&s->threads, tid);
	if (entry != NULL) {
		/* A read that failed in the middle of an exec is no proof that the thread ended. */
		char letter;
		if (entry->gone && thread_state(member->target, &entry->thread, &letter) == 0 &&
			letter != 'Z' && letter != 'X')
			harvest_revive(s, entry);
		entry->seen = member->listing;
		return;
	}
	struct thread thread;
	if (!is_chosen(s, tid))
		return;
	if (thread_open(member->target, tid, &thread) != 0) {
		if (errno == EACCES || errno == EPERM)
			s->refusal = errno;
		return;
	}
	entry = threads_add(&s->threads, &thread);
	if (entry == NULL) {
		s->result->out_of_memory = true;
		return;
	}
	entry->member = member;
	member->listed++;
	s->result->threads++;
	s->named += was_there(member) ? 0 : 1;
	entry->unnamed = s->named > NAMED_THREADS;
	s->result->threads_unnamed += entry->unnamed;
	entry->seen = member->listing;
	/* Whoever is met at a tick stands for the time since the one before. A new thread has lived for only a
	 * part of it, but as much of the threads that end between two ticks is never met: together they have
	 * their time. */
	entry->charged_wall_ns = was_there(member) ? s->tick_ns : s->last_tick_ns;
	entry->charged_tick = s->tick > 0 ? s->tick - 1 : 0;
	if (tid == member->pid)
		entry->hint.home = target_stack_start(member->target);
	/* Threads of the first listing have run before; of later ones all their time belongs to the profile. */
	if (was_there(member) && thread_schedstat(member->target, &entry->thread, &entry->last) == 0)
		entry->charged_run_ns = entry->last.run_ns;
	if (s->family->follows)
		follow(s, entry);
}

static bool has_left(void *context, struct entry *entry)
{
	struct sampler *s = ((struct listing *)context)->s;
	struct member *member = ((struct listing *)context)->member;
	if (entry->member != member)
		return false;
	if (entry->seen == member->listing && !member->ended) {
		if (!entry->gone && member->target->live_tid == 0)
			member->target->live_tid = entry->thread.tid;
		return false;
	}
	member->listed--;
	harvest_stop_is_over(s, entry);
	ledger_charge_sleep(s, entry, s->tick - 1, s->last_tick_ns);
	ledger_end_sleep(s, entry);
	return true;
}

void sampler_list_threads(struct sampler *s, struct member *member)
{
	struct target *target = member->target;
	struct listing listing = {s, member};
	member->relist = false;
	member->listing++;
	if (target_each_thread(target, learn_thread, &listing) < 0)
		member->gone = true;
	const struct entry *leader = threads_find(&s->threads, member->pid);
	target->live_tid = leader != NULL && !leader->gone ? member->pid : 0;
	if (!s->holding)
		threads_sweep(&s->threads, has_left, &listing);
	if (target->live_tid == 0)
		target->live_tid = member->pid;
	s->target_gone |= member->gone && !s->family->follows;
	atomic_store_explicit(&s->progress->threads, s->threads.n, memory_order_relaxed);
}

/* Listing costs; the number of threads is cheap. One that ended is noticed at its own files. */
static void list_threads_if_changed(struct sampler *s, struct member *member)
{
	int n = target_thread_count(member->target);
	if (n < 0)
		member->gone = true;
	else if (member->relist || s->options->n_tids > 0 || (size_t)n != member->listed)
		sampler_list_threads(s, member);
}

static bool is_sampled(const struct member *member)
{
	return member->target != NULL && !member->ended && !member->gone;
}

static void list_all_threads(struct sampler *s)
{
	for (size_t i = 0; i < s->family->n; i++)
		if (is_sampled(s->family->v[i]))
			list_threads_if_changed(s, s->family->v[i]);
}

/* As many have come as have gone. */
static bool list_where_changed(struct sampler *s)
{
	bool any = false;
	for (size_t i = 0; i < s->family->n; i++) {
		struct member *member = s->family->v[i];
		if (!is_sampled(member) || !member->relist)
			continue;
		sampler_list_threads(s, member);
		any = true;
	}
	return any;
}

/* ---- members ---- */

/* The threads of a process that has ended are none any more, and its books are closed. No stack of it waits to
 * be charged. */
static void bury(struct sampler *s, size_t at)
{
	struct member *member = s->family->v[at];
	struct listing listing = {s, member};
	if (member->listed > 0)
		threads_sweep(&s->threads, has_left, &listing);
	if (member == s->root)
		return; /* its books are closed at the end */
	ledger_balance_ended(s, member);
	s->ended_cpu_ns += member->target != NULL && !member->unseen ? member->last_cpu_ns : 0;
	/* The unwinder may be turned to its space. */
	unwinder_turn_to(s->unwinder, s->root->space);
	family_remove(s->family, at);
}

/* Looks at members that are new, and takes leave of those that have ended. */
static void meet_strangers(struct sampler *s)
{
	s->strangers = false;
	for (size_t i = s->family->n; i-- > 0;)
		if (s->family->v[i]->ended)
			bury(s, i);
	for (size_t i = 0; i < s->family->n; i++) {
		struct member *member = s->family->v[i];
		if (member->target != NULL || member->unseen || member->ended)
			continue;
		if (family_look_at(s->family, member))
			sampler_list_threads(s, member);
	}
}

/* Somebody's child, or a child's child, that was there when we came. */
static void adopt(void *context, pid_t pid)
{
	struct sampler *s = context;
	struct member *member = family_add(s->family, pid);
	if (member == NULL || !family_look_at(s->family, member))
		return;
	family_clock(member);
	member->start_cpu_ns = member->last_cpu_ns;
	sampler_list_threads(s, member);
	const struct entry *leader = threads_find(&s->threads, pid);
	if (leader != NULL && leader->refused)
		family_lose(s->family, member, EPERM);
}

/* Children may begin children while we look. Once all are seized none escapes. */
static void adopt_all(struct sampler *s)
{
	for (size_t pass = 0, before = 0; pass < ADOPT_PASSES && before != s->family->n; pass++) {
		before = s->family->n;
		harvest_events(s);
		meet_strangers(s);
		family_each_stranger(s->family, adopt, s);
	}
}

static bool all_gone(const struct sampler *s)
{
	if (s->root->gone || (s->root->ended && s->root->target->is_ours))
		return true;
	for (size_t i = 1; i < s->family->n; i++)
		if (!s->family->v[i]->ended && !s->family->v[i]->gone)
			return false;
	for (size_t i = 0; i < THREAD_BUCKETS; i++)
		for (const struct entry *entry = s->threads.bucket[i]; entry != NULL; entry = entry->next)
			if (!entry->gone)
				return false;
	return true;
}

/* Another thread than the leader reads the maps when that one has ended, so this comes after the listing. */
static void refresh_maps(struct sampler *s)
{
	for (size_t i = 0; i < s->family->n; i++) {
		struct member *member = s->family->v[i];
		bool old = s->tick_ns - member->maps_ns >= MAPS_EVERY_NS;
		/* Other members' are read when there is a stack to walk. */
		if (member == s->root ? old || (member->maps_stale && ledger_may_read_maps(s))
				      : old && member->walked && is_sampled(member))
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

static void tick(struct sampler *s)
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
		meet_strangers(s);
	list_all_threads(s);
	refresh_maps(s);
	if (!read_clock(s) || s->target_gone || all_gone(s)) {
		s->target_gone = true;
		return;
	}
	watch_threads(s);
	if (list_where_changed(s))
		watch_threads(s);
	watch_plan_instant(s);
	s->result->ticks++;
}

/* ---- the run ---- */

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
		s->target_gone = target_thread_count(s->root->target) < 0 || all_gone(s);
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
		s->due_ns = due;
		holders_set(s->holders, next + s->lead_ns);
		tick(s);
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
	s->tick_ns = s->last_tick_ns = now_ns(CLOCK_MONOTONIC);
	family_clock(s->root);
	s->root->start_cpu_ns = s->last_cpu_ns = s->root->last_cpu_ns;
	sampler_list_threads(s, s->root);
	if (seize_first(s) != 0)
		return -1;
	sampler_list_threads(s, s->root);
	if (s->family->follows)
		adopt_all(s);
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
			if (entry->thread.listening ||
				(!entry->thread.seized &&
					thread_state(entry->member->target, &entry->thread, &letter) == 0 &&
					letter == 'T'))
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
		meet_strangers(s);
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
