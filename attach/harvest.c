/* Stops: running threads are interrupted together; each gives its registers and stack, and goes on at once. */
#include "attach/eintr.h"
#include "attach/sampling.h"
#include "attach/syscalls.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

enum {
	HARVEST_NS = 5000000, /* a thread that does not stop within this is left pending */
	SWITCH_NS = 50000, /* from our waking, which may take the thread's CPU, to the tick's time, at most */
	TURN_TICKS = 8, /* on one CPU, where the target runs on all */
	LEAD_STEP_NS = 1000, /* and four times that for the first times */
	LEAD_FIRST = 32,
	LEAD_MOST_NS = 200000,
	EARLY_RATHER = 8, /* than to have looked too late, so many times */
	MANY = 4, /* threads that have run lately */
	INSTANT_NS = 30000, /* of looking for threads that run, while CPUs are held */
	EVENTS_AT_ONCE = 64,
	LOOK_NS = 30000, /* looking for its stop without sleeping */
};

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
static void note_waiting(struct entry *entry, const struct schedstat *stopped)
{
	entry->waited_ns = stopped->wait_ns - entry->wait_before_ns;
	entry->waited = entry->waited_ns > now_ns(CLOCK_MONOTONIC) - entry->interrupted_tick_ns + SWITCH_NS;
}

static void label_state(
	struct sampler *s, struct entry *entry, const struct user_regs_struct *regs, struct taken *taken)
{
	bool blocked = was_blocked(regs);
	taken->state = blocked ? "sleeping" : entry->waited ? "runnable" : "running";
	taken->syscall = blocked ? syscall_name((long)regs->orig_rax) : NULL;
	taken->wall_ns = (int64_t)(s->tick_ns - entry->charged_wall_ns);
	if (!blocked && s->tick > entry->interrupted_tick) {
		taken->late_ticks = (int64_t)(s->tick - entry->interrupted_tick);
		taken->late_ns = (int64_t)(s->tick_ns - entry->interrupted_tick_ns);
		taken->wall_ns -= taken->late_ns;
	}
	entry->charged_wall_ns = s->tick_ns;
	entry->charged_tick = s->tick;
}

/* The thread is stopped: registers, one copy, and the CPU time up to this stop. Nothing is allocated or walked
 * here. */
static void take_sample(struct sampler *s, struct entry *entry, struct user_regs_struct *regs)
{
	struct schedstat stopped;
	if (s->n_taken == s->taken_cap || copies_are_full(&s->copies) ||
		thread_schedstat(entry->member->target, &entry->thread, &stopped) != 0) {
		s->result->no_room++;
		return;
	}
	struct taken *taken = &s->taken[s->n_taken];
	*taken = (struct taken){.entry = entry, .snapshot = {.tid = entry->thread.tid}};
	copy_regs(regs, &taken->snapshot.regs);
	if (entry->thread.tid != entry->member->pid)
		entry->hint.home = regs->fs_base;
	entry->hint.goroutine_at =
		entry->member->is_go ? regs->fs_base + (uint64_t)(int64_t)entry->member->go_tls : 0;
	capture_stack(entry->member->space, &entry->hint, &s->copies, &taken->snapshot);
	note_waiting(entry, &stopped);
	if (wants_state(s))
		label_state(s, entry, regs, taken);
	taken->cut_short = eintr_may_be_cut_short(regs);
	taken->regs = *regs;
	taken->stopped_at_ns = now_ns(CLOCK_MONOTONIC);
	taken->tick = entry->interrupted_tick;
	taken->woke_ns = entry->interrupted_woke_ns;
	taken->interrupted_at_ns = entry->interrupted_at_ns;
	taken->waited_ns = entry->waited_ns;
	taken->instant = entry->instant == entry->interrupted_tick;
	taken->in_call = (long long)regs->orig_rax >= 0;
	taken->blocked = was_blocked(regs);
	/* After an exec by another thread than the leader, the leader's TID has that thread's account. */
	if (stopped.run_ns < entry->charged_run_ns)
		entry->charged_run_ns = stopped.run_ns;
	taken->run_ns = stopped.run_ns;
	entry->last = stopped;
	entry->taken = true;
	s->n_taken++;
}

void harvest_stop_is_over(struct sampler *s, struct entry *entry)
{
	if (!entry->thread.interrupted)
		return;
	entry->thread.interrupted = false;
	s->n_pending--;
	s->due -= entry->due;
	entry->due = false;
}

static void count_pause(struct sampler *s, const struct entry *entry, uint64_t stopped_at_ns)
{
	uint64_t now = now_ns(CLOCK_MONOTONIC), pause = now - entry->interrupted_at_ns;
	s->result->stops++;
	pace_served(&s->pace, now - stopped_at_ns);
	/* A thread without a CPU loses none while it waits for one: only those that ran were made to pause, and
	 * not by us while something else than we ran in their place. */
	if (entry->waited)
		return;
	uint64_t own = entry->due ? now_ns(CLOCK_THREAD_CPUTIME_ID) - s->own_at_tick_ns : 0;
	uint64_t others = entry->waited_ns > own ? entry->waited_ns - own : 0;
	pause -= others < pause ? others : pause;
	histogram_add(&s->result->pauses, pause);
	s->stopped_ns += pause;
	s->result->stopped_ns = s->stopped_ns;
	s->result->long_pauses += pause > s->options->max_pause_ns;
}

/* Would the thread have stayed in its call if it were not traced? Ignored signals, SIGCHLD by default among
 * them, wake traced threads only (kernel/signal.c, sig_ignored), and SIGCONT makes all of them stop once
 * (prepare_signal). Where a handler runs, the kernel itself makes EINTR of the repaired call. But job control
 * ends these calls without a tracer, too. test_eintr.py holds this. */
static bool only_tracing_stops(const struct wait_event *event)
{
	switch (event->signal) {
	case SIGSTOP:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
		return false;
	default:
		return event->kind != TARGET_GROUP;
	}
}

static void go_on(struct entry *entry, const struct wait_event *event)
{
	if (event->kind == TARGET_GROUP)
		thread_listen(&entry->thread);
	else
		thread_continue(&entry->thread, event->signal);
}

/* The thread stays stopped. */
static void hold(struct sampler *s, struct entry *entry, const struct wait_event *event, uint64_t stopped_at_ns)
{
	entry->held = true;
	entry->held_by = *event;
	entry->held_at_ns = stopped_at_ns;
	s->due -= entry->due;
	entry->due = false;
}

/* A thread has stopped. */
static void on_stop(struct sampler *s, struct entry *entry, const struct wait_event *event)
{
	struct user_regs_struct regs;
	bool ours = entry->thread.interrupted;
	uint64_t stopped_at_ns = now_ns(CLOCK_MONOTONIC);
	entry->stops++;
	if (thread_get_regs(&entry->thread, &regs) == 0) {
		if ((ours || s->holding) && !entry->taken)
			take_sample(s, entry, &regs);
		if (only_tracing_stops(event) && eintr_repair(&regs) &&
			thread_set_regs(&entry->thread, &regs) == 0)
			s->result->eintr_repaired++;
	}
	if (s->holding) {
		hold(s, entry, event, stopped_at_ns);
		return;
	}
	go_on(entry, event);
	if (!ours)
		return;
	count_pause(s, entry, stopped_at_ns);
	/* After a signal the stop that we asked for is still to come; its sample is there already. */
	if (event->kind != TARGET_SIGNAL)
		harvest_stop_is_over(s, entry);
}

/* From the interrupt on, but for a thread that had no CPU then: from its stop on. */
static void count_hold(struct sampler *s, const struct entry *entry)
{
	bool asked = entry->thread.interrupted && !entry->waited;
	uint64_t since = asked ? entry->interrupted_at_ns : entry->held_at_ns;
	s->result->stops++;
	histogram_add(&s->result->pauses, now_ns(CLOCK_MONOTONIC) - since);
}

void harvest_release(struct sampler *s)
{
	s->holding = false;
	/* First all go on; then it is written down. */
	for (size_t i = 0; i < s->threads.hot.n; i++)
		if (s->threads.hot.v[i]->held)
			go_on(s->threads.hot.v[i], &s->threads.hot.v[i]->held_by);
	for (size_t i = 0; i < s->threads.hot.n; i++) {
		struct entry *entry = s->threads.hot.v[i];
		if (!entry->held)
			continue;
		entry->held = false;
		count_hold(s, entry);
		if (entry->held_by.kind != TARGET_SIGNAL)
			harvest_stop_is_over(s, entry);
	}
	priority_lower(&s->priority);
}

void harvest_revive(struct sampler *s, struct entry *entry)
{
	struct thread fresh;
	harvest_stop_is_over(s, entry);
	if (thread_open(entry->member->target, entry->thread.tid, &fresh) != 0)
		return;
	fresh.seized = entry->thread.seized;
	thread_close(&entry->thread);
	entry->thread = fresh;
	entry->gone = entry->asleep = entry->taken = entry->held = false;
	entry->hint = (struct capture_hint){0};
	threads_heat(&s->threads, entry);
}

/* exec: the thread that called it now has the leader's TID, and all others are gone (ptrace(2), "execve(2)
 * under ptrace"). */
static void on_exec(struct sampler *s, struct entry *entry)
{
	struct member *member = entry->member;
	entry->thread.seized = true;
	harvest_revive(s, entry);
	member->maps_ns = 0;
	member->awaits_exec = false;
	member->maps_stale = member->relist = true;
	s->nobodys_ns = INT64_MIN / 2; /* accounts have changed hands: look at everything once */
	thread_continue(&entry->thread, 0);
	if (!s->family->follows)
		return;
	/* What it becomes may be no program for us. */
	if (target_read_program(member->target) != 0) {
		family_lose(s->family, member, errno);
		entry->refused = true;
	}
	memcpy(member->name, member->target->name, sizeof member->name);
}

/* A thread that nothing is known of yet: one that a member has begun. If it is a process, that is a member from
 * now on. */
static void on_unknown(struct sampler *s, const struct wait_event *event)
{
	target_pass_on(event);
	if (!s->family->follows || family_find(s->family, event->tid) != NULL)
		return;
	/* One that was killed before its first stop has used no CPU time worth a name, and is counted. */
	if (event->kind == TARGET_GONE ? !event->has_cpu : !target_is_leader(event->tid))
		return;
	struct member *member = family_add(s->family, event->tid);
	if (member == NULL) {
		s->result->out_of_memory = true;
		return;
	}
	member->born = s->strangers = true;
}

/* Of a whole process. Its books are closed when none of its stacks waits to be charged any more. */
static void on_end(struct sampler *s, const struct wait_event *event)
{
	struct member *member = family_find(s->family, event->tid);
	if (member == NULL)
		return;
	if (event->has_cpu)
		member->last_cpu_ns = event->cpu_ns;
	if (event->name[0] != '\0')
		memcpy(member->name, event->name, sizeof member->name);
	if (member == s->root) {
		s->result->exited = true;
		s->result->status = event->status;
	}
	member->ended = s->strangers = s->family->follows;
}

static void on_event(struct sampler *s, const struct wait_event *event)
{
	struct entry *entry = threads_find(&s->threads, event->tid);
	if (entry == NULL)
		on_unknown(s, event);
	if (event->kind == TARGET_GONE && (event->has_cpu || event->tid == s->root->pid))
		on_end(s, event);
	if (entry == NULL)
		return;
	switch (event->kind) {
	case TARGET_GONE:
		harvest_stop_is_over(s, entry);
		entry->thread.seized = entry->held = false;
		entry->gone = entry->member->relist = true;
		break;
	case TARGET_EXEC:
		on_exec(s, entry);
		break;
	case TARGET_BRANCH:
		/* Any stop takes back a request to stop that came before it (ptrace_stop() in kernel/signal.c).
		 */
		if (entry->thread.interrupted)
			thread_interrupt(&entry->thread);
		thread_continue(&entry->thread, 0);
		break;
	case TARGET_STOPPED:
	case TARGET_SIGNAL:
	case TARGET_GROUP:
		on_stop(s, entry, event);
		break;
	}
}

/* Of several threads that have stopped the kernel names the one that was begun last: where many begin, the old
 * ones would wait without end. So each of those has its turn, too. */
static pid_t next_in_turn(struct sampler *s)
{
	size_t hot = s->threads.hot.n, n = hot + s->threads.cold.n;
	if (n == 0)
		return 0;
	s->turn = (s->turn + 1) % n;
	const struct entry *entry =
		s->turn < hot ? s->threads.hot.v[s->turn] : s->threads.cold.v[s->turn - hot];
	return entry->thread.seized && !entry->gone ? entry->thread.tid : 0;
}

static void family_events(struct sampler *s)
{
	struct wait_event event;
	s->more_events = true;
	for (size_t n = 0; n < EVENTS_AT_ONCE; n++) {
		if (target_wait_family(0, &event) <= 0) {
			s->more_events = false;
			return;
		}
		on_event(s, &event);
		pid_t tid = next_in_turn(s);
		if (tid != 0 && target_wait_family(tid, &event) > 0)
			on_event(s, &event);
	}
}

void harvest_events(struct sampler *s)
{
	struct wait_event event;
	if (s->family->follows)
		family_events(s);
	else
		while (target_wait(s->root->target, &event) > 0)
			on_event(s, &event);
}

void harvest_wait(struct sampler *s, uint64_t deadline_ns)
{
	uint64_t now = now_ns(CLOCK_MONOTONIC);
	uint64_t left = deadline_ns > now && !s->more_events ? deadline_ns - now : 0;
	struct timespec timeout = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
	if (s->n_pending > 0)
		priority_raise(&s->priority);
	int signal = sigtimedwait(&s->signals, NULL, &timeout);
	if (signal > 0 && signal != SIGCHLD)
		s->running_out = true;
}

void harvest_refuse(struct sampler *s, struct entry *entry)
{
	if (!entry->refused)
		s->result->threads_refused++;
	entry->refused = true;
}

static int seize(const struct sampler *s, struct thread *thread)
{
	return s->family->follows ? thread_seize_family(thread) : thread_seize(thread);
}

/* Seizes on first use. ESRCH of a seized thread: exec gave its TID to another thread, which has no tracer yet.
 */
static bool ask_to_stop(struct sampler *s, struct entry *entry)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		if (!entry->thread.seized && seize(s, &entry->thread) != 0)
			break;
		entry->interrupted_at_ns = s->held_ns != 0 ? s->held_ns : now_ns(CLOCK_MONOTONIC);
		entry->interrupted_tick = s->tick;
		entry->interrupted_tick_ns = s->tick_ns;
		entry->interrupted_woke_ns = s->woke_ns;
		entry->wait_before_ns = entry->now.wait_ns;
		if (thread_interrupt(&entry->thread) == 0) {
			s->n_pending++;
			return true;
		}
		entry->thread.seized = false;
	}
	char letter;
	if (errno == ESRCH || thread_state(entry->member->target, &entry->thread, &letter) != 0 ||
		letter == 'Z' || letter == 'X')
		entry->gone = entry->member->relist = true;
	else
		harvest_refuse(s, entry);
	return false;
}

void harvest_ask(struct sampler *s, struct entry *entry)
{
	entry->due = ask_to_stop(s, entry);
	s->due += entry->due;
}

/* Where we run, nobody else does: what its threads do there at the instant that is sampled is not to be known.
 * We stay away from the CPUs that the target runs on, or, where there is no other, are on each of them for some
 * time. */
static void choose_cpu(struct sampler *s)
{
	cpu_set_t theirs;
	holders_cpus(s->holders, &theirs);
	s->apart = priority_avoid(&s->priority, &theirs, s->tick / TURN_TICKS);
}

/* A thread on another CPU stops within microseconds, and to wake up would take us longer. */
static bool is_worth_looking(const struct sampler *s, uint64_t asked_ns)
{
	return s->apart && now_ns(CLOCK_MONOTONIC) < asked_ns + LOOK_NS;
}

/* Ready but without a CPU, or waiting uninterruptibly (a vfork does, too): they stop when they can, and are
 * sampled then. */
static void leave_pending(struct sampler *s, struct entry *entry)
{
	char letter;
	if (!entry->due)
		return;
	entry->due = false;
	if (thread_state(entry->member->target, &entry->thread, &letter) == 0 && letter == 'D')
		s->result->uninterruptible++;
	else
		s->result->late_stops++;
}

static void await_batch(struct sampler *s)
{
	uint64_t asked = now_ns(CLOCK_MONOTONIC), deadline = asked + HARVEST_NS;
	for (;;) {
		harvest_events(s);
		if (s->due == 0 || now_ns(CLOCK_MONOTONIC) >= deadline)
			break;
		if (!is_worth_looking(s, asked))
			harvest_wait(s, deadline);
	}
}

static void end_batch(struct sampler *s)
{
	await_batch(s);
	for (size_t i = 0; i < s->n_batch; i++)
		leave_pending(s, s->batch[i]);
	s->due = s->n_batch = 0;
	watch_begin_sleeps(s);
	ledger_charge_taken(s);
}

void harvest_batch(struct sampler *s)
{
	priority_raise(&s->priority);
	for (size_t i = 0; i < s->n_batch; i++)
		harvest_ask(s, s->batch[i]);
	end_batch(s);
}

static bool may_be_stopped(const struct sampler *s, const struct entry *entry)
{
	return !entry->gone && !entry->refused && !entry->thread.interrupted && !entry->thread.listening &&
	       entry->back_off.until_ns <= s->tick_ns && !(wants_state(s) && entry->asleep);
}

/* Of many threads most may wait for a CPU. To interrupt these would be work for nothing. */
static void look_before(struct sampler *s)
{
	struct schedstat before;
	for (size_t i = 0; i < s->n_batch; i++) {
		struct entry *entry = s->batch[i];
		if (!entry->gone && thread_schedstat(entry->member->target, &entry->thread, &before) == 0) {
			entry->before_ns = before.run_ns;
			entry->before = s->tick;
		}
	}
}

/* Does it run, or wait for a CPU? With CPUs held: who ran until then has been charged for it, for the kernel
 * brings accounts up to date when it preempts (update_curr() in kernel/sched/fair.c). Whom we preempted
 * ourselves, it was before we could look. */
static bool may_run(struct sampler *s, struct entry *entry)
{
	struct blocked unused;
	struct schedstat held;
	bool looked = entry->before == s->tick && !holders_own(s->holders, entry->cpu);
	uint64_t known_ns = looked ? entry->before_ns : entry->now.run_ns;
	if (thread_schedstat(entry->member->target, &entry->thread, &held) != 0 ||
		(entry->asleep && held.count == entry->last.count) ||
		(!wants_state(s) && held.run_ns == known_ns))
		return false;
	bool blocked = thread_blocked(entry->member->target, &entry->thread, &unused) != 0;
	entry->asleep = blocked && !wants_state(s);
	entry->last = held;
	entry->now.wait_ns = held.wait_ns;
	return !blocked;
}

/* For a profile of states: does it sleep? It may be awake as soon as CPUs are let go, so the stack is copied
 * now. */
static bool sleeps_now(struct sampler *s, struct entry *entry)
{
	struct schedstat held;
	struct target *target = entry->member->target;
	struct sleeper *sleeper = &s->sleepers[s->n_sleepers];
	if (thread_schedstat(target, &entry->thread, &held) != 0)
		return false;
	if (!entry->asleep || held.count != entry->last.count) {
		if (s->n_sleepers + 1 == SLEEPERS_MOST || copies_are_full(&s->copies) ||
			thread_blocked(target, &entry->thread, &sleeper->blocked) <= 0 ||
			thread_state(target, &entry->thread, &sleeper->letter) != 0)
			return false;
		entry->asleep = false;
		entry->last = held;
		sleeper->entry = entry;
		if (!watch_copy_sleeper(s, entry, &sleeper->blocked, &sleeper->snapshot))
			return false;
		s->n_sleepers++;
	}
	entry->slept = s->tick;
	return true;
}

/* We and the holders are to be there at the same time: who is first waits for the other. We should be, where
 * there is something to look at before. */
static void learn_lead(struct sampler *s, uint64_t ready_ns, bool looked)
{
	uint64_t step = s->instants_held < LEAD_FIRST ? 4 * LEAD_STEP_NS : LEAD_STEP_NS;
	if (s->held_ns == 0)
		return;
	s->instants_held++;
	if (s->held_ns < ready_ns && s->lead_ns < LEAD_MOST_NS)
		s->lead_ns += looked ? EARLY_RATHER * step : step;
	else if (s->held_ns >= ready_ns)
		s->lead_ns -= s->lead_ns > step ? step : s->lead_ns;
}

void harvest_instant(struct sampler *s)
{
	choose_cpu(s);
	if (s->n_batch == 0)
		return;
	priority_raise(&s->priority);
	bool many = s->n_batch > MANY && !wants_state(s);
	if (many)
		look_before(s);
	uint64_t ready = now_ns(CLOCK_MONOTONIC);
	s->held_ns = holders_take(s->holders);
	learn_lead(s, ready, many);
	size_t n = 0;
	uint64_t until = now_ns(CLOCK_MONOTONIC) + INSTANT_NS;
	for (size_t i = 0; i < s->n_batch; i++) {
		struct entry *entry = s->batch[i];
		if (!wants_state(s) && entry->thread.interrupted) {
			s->result->pending++;
			entry->passed_over = s->tick;
		}
		if (!may_be_stopped(s, entry))
			continue;
		if (i > 0 && now_ns(CLOCK_MONOTONIC) >= until) {
			entry->passed_over = s->tick;
			continue;
		}
		entry->instant = s->tick;
		if ((wants_state(s) && sleeps_now(s, entry)) || !may_run(s, entry))
			continue;
		entry->met = true;
		entry->taken = false;
		harvest_ask(s, entry);
		s->batch[n++] = entry;
	}
	holders_let_go(s->holders);
	s->held_ns = 0;
	s->n_batch = n;
	end_batch(s);
}

void harvest_settle(struct sampler *s)
{
	uint64_t deadline = now_ns(CLOCK_MONOTONIC) + 4 * (uint64_t)HARVEST_NS;
	harvest_events(s);
	while (s->n_pending > 0 && now_ns(CLOCK_MONOTONIC) < deadline) {
		harvest_wait(s, deadline);
		harvest_events(s);
	}
}
