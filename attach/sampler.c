#include "attach/sampler.h"
#include "attach/capture.h"
#include "attach/eintr.h"
#include "attach/syscalls.h"
#include "attach/threads.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
	BATCH = 64, /* threads interrupted together */
	HARVEST_NS = 5000000, /* a thread that does not stop within this is left pending */
	MAPS_EVERY_NS = 1000000000, /* maps are compared this often even if nothing seems new */
	MAPS_AT_MOST_EVERY_NS = 50000000, /* and re-read no more often than this */
	RESTART_SYSCALL = 219,
};

/* A copied stack that waits to be walked. */
struct taken {
	struct entry *entry;
	struct snapshot snapshot;
	int64_t run_ns, wall_ns;
	const char *state, *syscall;
};

struct sampler {
	struct target *target;
	struct space *space;
	struct unwinder *unwinder;
	struct profile *profile;
	const struct sampler_options *options;
	struct sampler_progress *progress;
	struct sampler_result *result;

	struct threads threads;
	unsigned listing; /* number of the last listing of the threads */
	bool relist; /* a thread came or went */
	bool running_out; /* the end was asked for */
	bool target_gone;
	struct copies copies;
	struct taken taken[BATCH * 2];
	size_t n_taken;
	struct entry *batch[BATCH];
	size_t n_batch, due; /* interrupted together; of them not stopped yet */
	uint64_t tick_ns,
		last_tick_ns; /* this tick's time, to which wall time is charged, and the one's before */
	uint64_t maps_ns; /* when maps were last read */
	bool maps_stale;
	uint64_t start_cpu_ns, last_cpu_ns; /* the process's CPU clock */
	uint64_t charged_ns; /* CPU time charged to stacks so far */
	uint64_t random;
	int refusal; /* errno: threads that may not even be looked at */
	sigset_t signals;
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool wants_state(const struct sampler *s)
{
	return s->options->kind == PROFILE_STATE;
}

/* ---- the address space ---- */

static void read_maps(struct sampler *s)
{
	size_t len;
	char *text = target_maps(s->target, s->target->live_tid, &len);
	s->maps_ns = now_ns(CLOCK_MONOTONIC);
	s->maps_stale = false;
	if (text == NULL)
		return;
	if (space_update(s->space, text, len) < 0)
		s->result->out_of_memory = true;
	free(text);
}

static void refresh_maps(struct sampler *s, uint64_t now)
{
	uint64_t age = now - s->maps_ns;
	if (age >= MAPS_EVERY_NS || (s->maps_stale && age >= MAPS_AT_MOST_EVERY_NS))
		read_maps(s);
}

/* ---- walking and charging ---- */

static void fill_labels(const struct sampler *s, const struct entry *entry, struct labels *labels)
{
	*labels =
		(struct labels){.thread = entry->thread.name, .tid = entry->thread.tid, .pid = s->target->pid};
}

static void count_walk(struct sampler *s, const struct stack *stack, uint64_t samples)
{
	s->result->stacks[stack->why] += samples;
	if (stack->guessed && stack->why == STOP_ROOT)
		s->result->guessed += samples;
	s->result->samples += samples;
	atomic_fetch_add_explicit(&s->progress->samples, samples, memory_order_relaxed);
}

/* Walks a copy. A pc in no known mapping may belong to a library loaded since: the maps are read anew, and the
 * same copy is walked again. */
static void walk(struct sampler *s, struct entry *entry, const struct snapshot *snapshot, struct stack *stack)
{
	unwinder_walk(s->unwinder, snapshot, stack);
	if (stack->why == STOP_NO_MAPPING && now_ns(CLOCK_MONOTONIC) - s->maps_ns >= MAPS_AT_MOST_EVERY_NS) {
		read_maps(s);
		unwinder_walk(s->unwinder, snapshot, stack);
	}
	if (stack->why == STOP_COPY_END)
		entry->hint.want_bytes = capture_want_more(entry->hint.want_bytes);
}

static void charge_taken(struct sampler *s, struct taken *taken)
{
	struct stack stack;
	struct labels labels;
	walk(s, taken->entry, &taken->snapshot, &stack);
	fill_labels(s, taken->entry, &labels);
	labels.state = taken->state;
	labels.syscall = taken->syscall;
	int64_t ns = wants_state(s) ? taken->wall_ns : taken->run_ns;
	if (profile_add(s->profile, &stack, &labels, 1, ns) != 0)
		s->result->out_of_memory = true;
	else if (!wants_state(s))
		s->charged_ns += (uint64_t)ns;
	count_walk(s, &stack, 1);
}

/* After every batch: no thread of it is stopped any more. */
static void charge_all_taken(struct sampler *s)
{
	for (size_t i = 0; i < s->n_taken; i++)
		charge_taken(s, &s->taken[i]);
	s->n_taken = 0;
	s->copies.used = 0;
}

/* ---- sleeps ---- */

/* Charges what a sleep has gathered. */
static void end_sleep(struct sampler *s, struct entry *entry)
{
	struct sleep *sleep = &entry->sleep;
	if (sleep->state == NULL)
		return;
	struct labels labels;
	fill_labels(s, entry, &labels);
	labels.state = sleep->state;
	labels.syscall = sleep->syscall;
	if (sleep->ns > 0 || sleep->count > 0) {
		if (profile_add(s->profile, &sleep->stack, &labels, sleep->count, sleep->ns) != 0)
			s->result->out_of_memory = true;
	}
	sleep->state = sleep->syscall = NULL;
	sleep->count = sleep->ns = 0;
}

/* The walked stack lives in the unwinder only until the next walk: the sleep keeps its own. */
static bool keep_stack(struct sleep *sleep, const struct stack *stack)
{
	if (stack->n > sleep->stack.cap) {
		struct frame *v = realloc(sleep->stack.v, stack->n * sizeof *v);
		if (v == NULL)
			return false;
		sleep->stack.v = v;
		sleep->stack.cap = stack->n;
	}
	struct frame *v = sleep->stack.v;
	size_t cap = sleep->stack.cap;
	if (stack->n > 0)
		memcpy(v, stack->v, stack->n * sizeof *v);
	sleep->stack = *stack;
	sleep->stack.v = v;
	sleep->stack.cap = cap;
	return true;
}

static const char *state_word(char letter)
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

/* Copies a sleeper's stack without stopping it. The copy counts only if the thread got no turn on a CPU
 * meanwhile. */
static bool copy_sleeper(
	struct sampler *s, struct entry *entry, const struct blocked *blocked, struct snapshot *snapshot)
{
	*snapshot = (struct snapshot){.tid = entry->thread.tid};
	snapshot->regs.r[AMD64_RIP] = blocked->pc;
	snapshot->regs.r[AMD64_RSP] = blocked->sp;
	snapshot->regs.known = 1u << AMD64_RIP | 1u << AMD64_RSP;
	s->copies.used = 0;
	capture_stack(s->space, &entry->hint, &s->copies, snapshot);
	struct schedstat after;
	return thread_schedstat(&entry->thread, &after) == 0 && after.count == entry->last.count;
}

/* A deep sleeper's first copy may have been too short: it still sleeps, so copy again, larger. */
static bool walk_sleeper(
	struct sampler *s, struct entry *entry, const struct blocked *blocked, struct stack *stack)
{
	for (;;) {
		struct snapshot snapshot;
		size_t wanted = entry->hint.want_bytes;
		if (!copy_sleeper(s, entry, blocked, &snapshot))
			return false;
		walk(s, entry, &snapshot, stack);
		if (stack->why != STOP_COPY_END || entry->hint.want_bytes == wanted)
			return true;
	}
}

/* Begins a new sleep; false when the thread woke up meanwhile. */
static bool begin_sleep(struct sampler *s, struct entry *entry, const struct blocked *blocked)
{
	char letter;
	struct stack stack;
	end_sleep(s, entry);
	if (thread_state(&entry->thread, &letter) != 0 || !walk_sleeper(s, entry, blocked, &stack))
		return false;
	if (!keep_stack(&entry->sleep, &stack)) {
		s->result->out_of_memory = true;
		return false;
	}
	entry->sleep.state = entry->thread.listening ? "stopped" : state_word(letter);
	entry->sleep.syscall = blocked_name(entry, blocked->nr);
	return true;
}

/* One more tick of the sleep that is held. */
static void charge_sleep(struct sampler *s, struct entry *entry)
{
	entry->sleep.count++;
	entry->sleep.ns += (int64_t)(s->tick_ns - entry->charged_wall_ns);
	entry->charged_wall_ns = s->tick_ns;
	count_walk(s, &entry->sleep.stack, 1);
}

/* ---- stops ---- */

/* The kernel's restart codes at a stop: the thread sat in a system call until our interrupt woke it
 * (include/linux/errno.h). */
static bool was_blocked(const struct user_regs_struct *regs)
{
	long long code = -(long long)regs->rax;
	return (long long)regs->orig_rax >= 0 && (code == 512 || code == 513 || code == 514 || code == 516);
}

static void copy_regs(const struct user_regs_struct *from, struct regs *to)
{
	*to = (struct regs){.r = {from->rax, from->rdx, from->rcx, from->rbx, from->rsi, from->rdi, from->rbp,
				    from->rsp, from->r8, from->r9, from->r10, from->r11, from->r12, from->r13,
				    from->r14, from->r15, from->rip},
		.known = REGS_ALL};
}

/* Was the thread waiting for a CPU at the tick? If it had to wait longer for one than has passed since we woke
 * up for the tick, it waited before: otherwise only our own waking took its CPU away. */
static bool waited_for_cpu(const struct sampler *s, const struct entry *entry, const struct schedstat *stopped)
{
	uint64_t waited = stopped->wait_ns - entry->last.wait_ns;
	bool had_turn = stopped->count != entry->last.count;
	return had_turn && waited > now_ns(CLOCK_MONOTONIC) - s->tick_ns;
}

/* The thread is stopped: registers, one copy, and the CPU time up to this stop. Nothing is allocated or walked
 * here. */
static void take_sample(struct sampler *s, struct entry *entry, struct user_regs_struct *regs)
{
	struct schedstat stopped;
	if (s->n_taken == BATCH * 2 || copies_are_full(&s->copies) ||
		thread_schedstat(&entry->thread, &stopped) != 0) {
		s->result->missed++;
		return;
	}
	struct taken *taken = &s->taken[s->n_taken];
	*taken = (struct taken){.entry = entry, .snapshot = {.tid = entry->thread.tid}};
	copy_regs(regs, &taken->snapshot.regs);
	if (entry->thread.tid != s->target->pid)
		entry->hint.home = regs->fs_base;
	capture_stack(s->space, &entry->hint, &s->copies, &taken->snapshot);
	entry->waited = waited_for_cpu(s, entry, &stopped);
	if (wants_state(s)) {
		bool blocked = was_blocked(regs);
		taken->state = blocked ? "sleeping" : entry->waited ? "runnable" : "running";
		taken->syscall = blocked ? syscall_name((long)regs->orig_rax) : NULL;
		taken->wall_ns = (int64_t)(s->tick_ns - entry->charged_wall_ns);
		entry->charged_wall_ns = s->tick_ns;
	}
	/* After an exec by another thread than the leader, the leader's TID has that thread's account. */
	if (stopped.run_ns < entry->charged_run_ns)
		entry->charged_run_ns = stopped.run_ns;
	taken->run_ns = (int64_t)(stopped.run_ns - entry->charged_run_ns);
	entry->last = stopped;
	entry->taken = true;
	/* A thread that waited for a CPU all the time has used none: nothing happened that a CPU profile could
	 * show. */
	if (taken->run_ns == 0 && !wants_state(s))
		return;
	entry->charged_run_ns = stopped.run_ns;
	s->n_taken++;
}

static void stop_is_over(struct sampler *s, struct entry *entry)
{
	if (!entry->thread.interrupted)
		return;
	entry->thread.interrupted = false;
	s->due -= entry->due;
	entry->due = false;
}

/* A thread that we interrupted has stopped. */
static void on_stop(struct sampler *s, struct entry *entry, const struct wait_event *event)
{
	struct user_regs_struct regs;
	bool ours = entry->thread.interrupted;
	if (ours && thread_get_regs(&entry->thread, &regs) == 0) {
		if (!entry->taken)
			take_sample(s, entry, &regs);
		if (event->kind == TARGET_STOPPED && eintr_repair(&regs) &&
			thread_set_regs(&entry->thread, &regs) == 0)
			s->result->eintr_repaired++;
	}
	if (event->kind == TARGET_GROUP)
		thread_listen(&entry->thread);
	else
		thread_continue(&entry->thread, event->signal);
	if (!ours)
		return;
	s->result->stops++;
	/* A thread without a CPU loses none while it waits for one: only those that ran were made to pause. */
	if (!entry->waited)
		histogram_add(&s->result->pauses, now_ns(CLOCK_MONOTONIC) - entry->interrupted_at_ns);
	/* After a signal the stop that we asked for is still to come; its sample is there already. */
	if (event->kind != TARGET_SIGNAL)
		stop_is_over(s, entry);
}

/* A thread that was taken for gone, or has changed its identity, and lives: its files are opened anew, and
 * nothing that was known of it holds. */
static void revive(struct sampler *s, struct entry *entry)
{
	struct thread fresh;
	if (thread_open(s->target, entry->thread.tid, &fresh) != 0)
		return;
	fresh.seized = entry->thread.seized;
	thread_close(&entry->thread);
	entry->thread = fresh;
	entry->gone = entry->asleep = entry->taken = false;
	entry->hint = (struct capture_hint){0};
}

/* exec: the thread that called it now has the leader's TID, and all others are gone (ptrace(2), "execve(2)
 * under ptrace"). */
static void on_exec(struct sampler *s, struct entry *entry)
{
	stop_is_over(s, entry);
	entry->thread.seized = true;
	revive(s, entry);
	s->maps_ns = 0;
	s->maps_stale = s->relist = true;
	thread_continue(&entry->thread, 0);
}

static void on_event(struct sampler *s, const struct wait_event *event)
{
	struct entry *entry = threads_find(&s->threads, event->tid);
	if (entry == NULL)
		return;
	switch (event->kind) {
	case TARGET_GONE:
		stop_is_over(s, entry);
		entry->thread.seized = false;
		entry->gone = s->relist = true;
		break;
	case TARGET_EXEC:
		on_exec(s, entry);
		break;
	case TARGET_STOPPED:
	case TARGET_SIGNAL:
	case TARGET_GROUP:
		on_stop(s, entry, event);
		break;
	}
}

static void drain_events(struct sampler *s)
{
	struct wait_event event;
	while (target_wait(&event) > 0)
		on_event(s, &event);
}

/* Waits for a child's change, a signal to end, or `deadline`, whichever is first. */
static void wait_signal(struct sampler *s, uint64_t deadline)
{
	uint64_t now = now_ns(CLOCK_MONOTONIC);
	uint64_t left = deadline > now ? deadline - now : 0;
	struct timespec timeout = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
	int signal = sigtimedwait(&s->signals, NULL, &timeout);
	if (signal > 0 && signal != SIGCHLD)
		s->running_out = true;
}

/* ---- a tick ---- */

static bool is_chosen(const struct sampler *s, pid_t tid)
{
	for (size_t i = 0; i < s->options->n_tids; i++)
		if (s->options->tids[i] == tid)
			return true;
	return s->options->n_tids == 0;
}

static void refuse(struct sampler *s, struct entry *entry)
{
	if (!entry->refused)
		s->result->threads_refused++;
	entry->refused = true;
}

/* Seizes on first use. ESRCH of a seized thread: exec gave its TID to another thread, which has no tracer yet.
 */
static bool ask_to_stop(struct sampler *s, struct entry *entry)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		if (!entry->thread.seized && thread_seize(&entry->thread) != 0)
			break;
		entry->interrupted_at_ns = now_ns(CLOCK_MONOTONIC);
		if (thread_interrupt(&entry->thread) == 0)
			return true;
		entry->thread.seized = false;
	}
	char letter;
	if (errno == ESRCH || thread_state(&entry->thread, &letter) != 0 || letter == 'Z' || letter == 'X')
		entry->gone = s->relist = true;
	else
		refuse(s, entry);
	return false;
}

/* Interrupts the batch, takes what stops, walks what was taken. None is waited for alone. */
static void harvest(struct sampler *s)
{
	for (size_t i = 0; i < s->n_batch; i++) {
		s->batch[i]->due = ask_to_stop(s, s->batch[i]);
		s->due += s->batch[i]->due;
	}
	uint64_t deadline = now_ns(CLOCK_MONOTONIC) + HARVEST_NS;
	for (;;) {
		drain_events(s);
		if (s->due == 0 || now_ns(CLOCK_MONOTONIC) >= deadline)
			break;
		wait_signal(s, deadline);
	}
	/* Ready but without a CPU, or waiting uninterruptibly: they stop when they can, and are sampled then.
	 */
	s->result->missed += s->due;
	for (size_t i = 0; i < s->n_batch; i++)
		s->batch[i]->due = false;
	s->due = s->n_batch = 0;
	charge_all_taken(s);
}

/* Asleep or not, what does this tick owe the thread? */
static void look_at(struct sampler *s, struct entry *entry)
{
	struct schedstat stat;
	struct blocked blocked;
	if (entry->gone || entry->refused)
		return;
	if (thread_schedstat(&entry->thread, &stat) != 0) {
		entry->gone = s->relist = true;
		return;
	}
	bool same_sleep = entry->asleep && stat.count == entry->last.count;
	entry->last = stat;
	if (same_sleep) {
		if (wants_state(s))
			charge_sleep(s, entry);
		return;
	}
	int waits = thread_blocked(&entry->thread, &blocked);
	if (waits < 0) {
		entry->gone = s->relist = true;
		return;
	}
	entry->asleep = waits > 0 && (!wants_state(s) || begin_sleep(s, entry, &blocked));
	if (entry->asleep) {
		if (wants_state(s))
			charge_sleep(s, entry);
		return;
	}
	end_sleep(s, entry);
	if (entry->thread.interrupted || entry->thread.listening)
		return; /* still pending from an earlier tick */
	entry->taken = false;
	s->batch[s->n_batch++] = entry;
	if (s->n_batch == BATCH)
		harvest(s);
}

static void look_at_all(struct sampler *s)
{
	for (size_t i = 0; i < THREAD_BUCKETS; i++)
		for (struct entry *entry = s->threads.bucket[i]; entry != NULL; entry = entry->next)
			look_at(s, entry);
	if (s->n_batch > 0)
		harvest(s);
}

/* ---- the list of threads ---- */

static void learn_thread(void *context, pid_t tid)
{
	struct sampler *s = context;
	struct entry *entry = threads_find(&s->threads, tid);
	if (entry != NULL) {
		/* A read that failed in the middle of an exec is no proof that the thread ended. */
		char letter;
		if (entry->gone && thread_state(&entry->thread, &letter) == 0 && letter != 'Z' && letter != 'X')
			revive(s, entry);
		entry->seen = s->listing;
		return;
	}
	struct thread thread;
	if (!is_chosen(s, tid))
		return;
	if (thread_open(s->target, tid, &thread) != 0) {
		s->result->threads_refused += errno == EMFILE || errno == ENFILE;
		if (errno == EACCES || errno == EPERM)
			s->refusal = errno;
		return;
	}
	entry = threads_add(&s->threads, &thread);
	if (entry == NULL) {
		s->result->out_of_memory = true;
		return;
	}
	s->result->threads++;
	entry->seen = s->listing;
	/* Whoever is met at a tick stands for the time since the one before. A new thread has lived for only a
	 * part of it, but as much of the threads that end between two ticks is never met: together they have
	 * their time. */
	entry->charged_wall_ns = s->listing == 1 ? s->tick_ns : s->last_tick_ns;
	if (tid == s->target->pid)
		entry->hint.home = target_stack_start(s->target);
	/* Threads of the first listing have run before; of later ones all their time belongs to the profile. */
	if (s->listing == 1 && thread_schedstat(&entry->thread, &entry->last) == 0)
		entry->charged_run_ns = entry->last.run_ns;
}

static bool has_left(void *context, struct entry *entry)
{
	struct sampler *s = context;
	if (entry->seen == s->listing) {
		if (!entry->gone)
			s->target->live_tid =
				s->target->live_tid != 0 ? s->target->live_tid : entry->thread.tid;
		return false;
	}
	end_sleep(s, entry);
	return true;
}

static void list_threads(struct sampler *s)
{
	s->relist = false;
	s->listing++;
	if (target_each_thread(s->target, learn_thread, s) < 0)
		s->target_gone = true;
	const struct entry *leader = threads_find(&s->threads, s->target->pid);
	s->target->live_tid = leader != NULL && !leader->gone ? s->target->pid : 0;
	threads_sweep(&s->threads, has_left, s);
	if (s->target->live_tid == 0)
		s->target->live_tid = s->target->pid;
	atomic_store_explicit(&s->progress->threads, s->threads.n, memory_order_relaxed);
}

/* Listing costs; the number of threads is cheap. One that ended is noticed at its own files. */
static void list_threads_if_changed(struct sampler *s)
{
	int n = target_thread_count(s->target);
	if (n < 0)
		s->target_gone = true;
	else if (s->relist || s->options->n_tids > 0 || (size_t)n != s->threads.n)
		list_threads(s);
}

static bool all_gone(const struct sampler *s)
{
	for (size_t i = 0; i < THREAD_BUCKETS; i++)
		for (const struct entry *entry = s->threads.bucket[i]; entry != NULL; entry = entry->next)
			if (!entry->gone)
				return false;
	return true;
}

static void tick(struct sampler *s)
{
	s->last_tick_ns = s->tick_ns;
	s->tick_ns = now_ns(CLOCK_MONOTONIC);
	drain_events(s);
	charge_all_taken(s);
	list_threads_if_changed(s);
	refresh_maps(s, s->tick_ns);
	if (s->target_gone || all_gone(s)) {
		s->target_gone = true;
		return;
	}
	look_at_all(s);
	if (target_cpu_ns(s->target, &s->last_cpu_ns) != 0)
		s->target_gone = true;
	s->result->ticks++;
}

/* ---- the run ---- */

/* xorshift64 (Marsaglia 2003): the jitter must be cheap, not secret. */
static uint64_t next_random(struct sampler *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random;
}

/* Sleeps until `deadline`, reaping at once what ends: a parent waits for its child until its tracer, too, has
 * seen the end. */
static void idle_until(struct sampler *s, uint64_t deadline)
{
	while (!s->running_out && now_ns(CLOCK_MONOTONIC) < deadline) {
		wait_signal(s, deadline);
		drain_events(s);
		if (copies_are_full(&s->copies) || s->n_taken >= BATCH)
			charge_all_taken(s);
	}
}

static void run_ticks(struct sampler *s)
{
	uint64_t start = s->tick_ns, period = (uint64_t)(1e9 / s->options->rate_hz);
	uint64_t end = start + (uint64_t)s->options->duration_ns, due = start;
	for (;;) {
		uint64_t now = now_ns(CLOCK_MONOTONIC);
		atomic_store_explicit(&s->progress->elapsed_ns, (int64_t)(now - start), memory_order_relaxed);
		/* From half a period to one and a half, each drawn anew: work that repeats at the same rate is
		 * met at every point alike, and no point comes with longer intervals, and so with more time
		 * charged, than another. Points at random in fixed periods would have the second fault, small
		 * jitter around a grid the first. */
		due += period / 2 + next_random(s) % period;
		if (now > due + period) {
			uint64_t skip = (now - due) / period;
			due += skip * period;
			s->result->late_ticks += skip;
			atomic_store_explicit(
				&s->progress->late_ticks, s->result->late_ticks, memory_order_relaxed);
		}
		idle_until(s, due < end ? due : end);
		if (s->running_out || now_ns(CLOCK_MONOTONIC) >= end)
			break;
		tick(s);
		if (s->target_gone)
			break;
	}
	s->result->end = s->target_gone ? END_TARGET : s->running_out ? END_SIGNAL : END_DURATION;
}

/* Before we let go: what was interrupted must have stopped and gone on, or the kernel would end a stop that we
 * did not look at. */
static void settle(struct sampler *s)
{
	uint64_t deadline = now_ns(CLOCK_MONOTONIC) + 4 * (uint64_t)HARVEST_NS;
	for (;;) {
		bool pending = false;
		drain_events(s);
		for (size_t i = 0; i < THREAD_BUCKETS; i++)
			for (const struct entry *entry = s->threads.bucket[i]; entry != NULL;
				entry = entry->next)
				pending = pending ||
					  (entry->thread.interrupted && !entry->gone && !entry->asleep);
		if (!pending || now_ns(CLOCK_MONOTONIC) >= deadline)
			break;
		wait_signal(s, deadline);
	}
	charge_all_taken(s);
}

static void add_named(struct sampler *s, const char *frame, const struct labels *labels, uint64_t ns)
{
	if (ns > 0 && profile_add_named(s->profile, frame, labels, 0, (int64_t)ns) != 0)
		s->result->out_of_memory = true;
}

/* The thread's wall time from its last sample to the end: the sleep that it is in, or a tick's length of
 * running. */
static void charge_rest_of_wall(struct sampler *s, struct entry *entry)
{
	uint64_t rest = s->tick_ns - entry->charged_wall_ns;
	entry->charged_wall_ns = s->tick_ns;
	if (entry->sleep.state != NULL) {
		entry->sleep.ns += (int64_t)rest;
		end_sleep(s, entry);
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
	if (thread_schedstat(&entry->thread, &stat) != 0 || stat.run_ns <= entry->charged_run_ns)
		return 0;
	struct labels labels;
	fill_labels(s, entry, &labels);
	add_named(s, "[cpu between samples]", &labels, stat.run_ns - entry->charged_run_ns);
	return stat.run_ns - entry->charged_run_ns;
}

static uint64_t charge_rest(struct sampler *s, struct entry *entry)
{
	if (entry->gone)
		return 0;
	if (!wants_state(s))
		return charge_rest_of_cpu(s, entry);
	charge_rest_of_wall(s, entry);
	return 0;
}

/* CPU time that the kernel charged and no sample carries: of live threads under their names, of ended ones
 * under the process. */
static void balance(struct sampler *s)
{
	uint64_t live = 0;
	s->tick_ns = now_ns(CLOCK_MONOTONIC);
	for (size_t i = 0; i < THREAD_BUCKETS; i++)
		for (struct entry *entry = s->threads.bucket[i]; entry != NULL; entry = entry->next)
			live += charge_rest(s, entry);
	target_cpu_ns(s->target, &s->last_cpu_ns);
	uint64_t total = s->last_cpu_ns - s->start_cpu_ns;
	uint64_t known = s->charged_ns + live;
	if (s->options->n_tids > 0 || total < known)
		total = known;
	s->result->kernel_cpu_ns = total;
	s->result->between_cpu_ns = total - s->charged_ns;
	struct labels labels = {.pid = s->target->pid};
	if (!wants_state(s))
		add_named(s, "[cpu between samples]", &labels, total - known);
}

/* The first seize tells whether we may. Any thread that has not ended will do; the leader is the usual one, and
 * sees exec. */
static int seize_first(struct sampler *s)
{
	int refusal = s->refusal != 0 ? s->refusal : ESRCH;
	struct entry *leader = threads_find(&s->threads, s->target->pid);
	if (leader != NULL && thread_seize(&leader->thread) == 0)
		return 0;
	for (size_t i = 0; i < THREAD_BUCKETS; i++)
		for (struct entry *entry = s->threads.bucket[i]; entry != NULL; entry = entry->next) {
			char letter;
			if (thread_state(&entry->thread, &letter) != 0 || letter == 'Z' || letter == 'X') {
				entry->gone = s->relist = true;
				continue;
			}
			if (thread_seize(&entry->thread) == 0)
				return 0;
			refusal = errno;
		}
	errno = refusal;
	return -1;
}

/* A waking tracer must get a CPU at once, or the target waits for it: the highest ordinary priority if we may
 * have it, and timers that are not rounded. Both end with this thread. */
static void be_prompt(void)
{
	setpriority(PRIO_PROCESS, (id_t)gettid(), -20);
	prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
}

static int begin(struct sampler *s)
{
	sigemptyset(&s->signals);
	sigaddset(&s->signals, SIGCHLD);
	sigaddset(&s->signals, SIGINT);
	sigaddset(&s->signals, SIGTERM);
	sigaddset(&s->signals, SIGHUP);
	s->random = now_ns(CLOCK_MONOTONIC) | 1;
	s->tick_ns = s->last_tick_ns = now_ns(CLOCK_MONOTONIC);
	target_cpu_ns(s->target, &s->start_cpu_ns);
	s->last_cpu_ns = s->start_cpu_ns;
	list_threads(s);
	if (seize_first(s) != 0)
		return -1;
	list_threads(s);
	read_maps(s);
	be_prompt();
	return 0;
}

static void finish(struct sampler *s, uint64_t start)
{
	settle(s);
	balance(s);
	s->result->duration_ns = (int64_t)(s->tick_ns - start);
	s->result->own_cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
}

int sampler_run(struct target *target, struct space *space, struct unwinder *unwinder, struct profile *profile,
	const struct sampler_options *options, struct sampler_progress *progress, struct sampler_result *result)
{
	*result = (struct sampler_result){.time_ns = (int64_t)now_ns(CLOCK_REALTIME)};
	struct sampler *s = calloc(1, sizeof *s);
	if (s == NULL || copies_new(&s->copies) != 0) {
		free(s);
		errno = ENOMEM;
		return -1;
	}
	s->target = target;
	s->space = space;
	s->unwinder = unwinder;
	s->profile = profile;
	s->options = options;
	s->progress = progress;
	s->result = result;
	int outcome = begin(s), saved = errno;
	if (outcome == 0) {
		uint64_t start = s->tick_ns;
		run_ticks(s);
		finish(s, start);
	}
	threads_free(&s->threads);
	copies_free(&s->copies);
	free(s);
	errno = saved;
	return outcome;
}
