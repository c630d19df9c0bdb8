/* Who is there: lists threads, and, where a family is followed, its processes. */
#include "attach/sampling.h"

#include <errno.h>

enum {
	/* Of threads that begin during the run, so many have samples with their own TID: a program that begins
	 * thousands a second would fill memory, and nobody reads so many. */
	NAMED_THREADS = 8192,
	ADOPT_PASSES = 8, /* looking for children while they begin others */
};

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
	char letter;
	if (thread_seize_family(&entry->thread) == 0 || errno != EPERM)
		return;
	/* What has ended is refused, too. */
	if (thread_state(entry->member->target, &entry->thread, &letter) != 0 || letter == 'Z' || letter == 'X')
		entry->gone = entry->member->relist = true;
	else
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

static void drop_from_batch(struct sampler *s, const struct entry *entry)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n_batch; i++)
		if (s->batch[i] != entry)
			s->batch[n++] = s->batch[i];
	s->n_batch = n;
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
	drop_from_batch(s, entry);
	harvest_stop_is_over(s, entry);
	ledger_charge_sleep(s, entry, s->tick - 1, s->last_tick_ns);
	ledger_end_sleep(s, entry);
	return true;
}

void census_list_threads(struct sampler *s, struct member *member)
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
		census_list_threads(s, member);
}

void census_list_all(struct sampler *s)
{
	for (size_t i = 0; i < s->family->n; i++)
		if (member_is_sampled(s->family->v[i]))
			list_threads_if_changed(s, s->family->v[i]);
}

/* As many have come as have gone. */
bool census_list_where_changed(struct sampler *s)
{
	bool any = false;
	for (size_t i = 0; i < s->family->n; i++) {
		struct member *member = s->family->v[i];
		if (!member_is_sampled(member) || !member->relist)
			continue;
		census_list_threads(s, member);
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

void census_meet_strangers(struct sampler *s)
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
			census_list_threads(s, member);
	}
}

/* Somebody's child, or a child's child, that was there when we came; or began since, and its parent's word of
 * it is still to come. */
static void adopt(void *context, pid_t pid)
{
	struct sampler *s = context;
	struct member *member = family_add(s->family, pid);
	if (member == NULL || !family_look_at(s->family, member))
		return;
	member->born = target_is_traced_by_us(pid);
	if (!member->born && family_clock(member))
		member->start_cpu_ns = member->last_cpu_ns;
	census_list_threads(s, member);
	const struct entry *leader = threads_find(&s->threads, pid);
	if (leader == NULL || leader->refused)
		family_lose(s->family, member, EPERM);
	else if (leader->gone && target_thread_count(member->target) <= 1)
		member->ended = s->strangers = true; /* its parent has not reaped it yet */
}

/* Children may begin children while we look. Once all are seized none escapes. */
void census_adopt_all(struct sampler *s)
{
	for (size_t pass = 0, before = 0; pass < ADOPT_PASSES && before != s->family->n; pass++) {
		before = s->family->n;
		harvest_events(s);
		census_meet_strangers(s);
		family_each_stranger(s->family, adopt, s);
	}
}

bool census_all_gone(const struct sampler *s)
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
