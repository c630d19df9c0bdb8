/* Which samples of CPU time stand for the time that their thread has used. */
#include "attach/sampling.h"

enum {
	LONG_NS = 50000, /* to wait for a CPU, for a thread that had one */
	UNUSUAL_NS = 5000, /* away from the median */
	AWAY_NS = 20000, /* to be switched from, at most */
};

/* How often the thread has lost its CPU to another since its last sample, and left it of its own will, other
 * than for our stops. */
static void count_switches(struct entry *entry, struct switches *since)
{
	struct switches now;
	*since = (struct switches){.lost = 1, .left = 1};
	if (thread_switches(entry->member->target, &entry->thread, &now) != 0)
		return;
	since->lost = now.lost - entry->switches.lost;
	since->left = now.left - entry->switches.left - entry->stops;
	entry->switches = now;
	entry->stops = 0;
}

void standing_begins(struct entry *entry)
{
	struct switches since;
	count_switches(entry, &since);
}

/* Is that what switching to another thread and back takes, with looks at the clock there? It is learned from
 * threads that were in their own code: these were preempted, and not woken up. Programs that are hardly ever
 * seen there have to do with what is known of all. */
static bool is_usual(struct delays *delays, int64_t ns, bool in_call)
{
	int64_t usual;
	/* Longer ones have waited for others, before or afterwards. */
	if (ns > -LONG_NS && ns < LONG_NS)
		usual_add(in_call ? &delays->in_call : &delays->in_code, ns);
	if (!usual_is(&delays->in_code, &usual) && !usual_is(&delays->in_call, &usual))
		return true;
	return ns - usual > -UNUSUAL_NS && ns - usual < UNUSUAL_NS;
}

/* For how long did another run in the place of what ran on the CPU at the instant: the holder, or we, where we
 * run ourselves? 0: none did, or the sample is of no instant. */
static int64_t held_for(const struct sampler *s, const struct taken *taken, int cpu)
{
	if (!taken->instant || taken->tick != s->tick)
		return 0;
	return holders_own(s->holders, cpu) ? (int64_t)(taken->stopped_at_ns - taken->woke_ns)
					    : (int64_t)holders_held_ns(s->holders, cpu);
}

/* Was the thread on a CPU at the instant that is sampled? It then lost it, and waited for one as long as
 * another ran in its place. Longer, if it had none before; shorter, if it was woken up since. */
static bool was_preempted(
	struct sampler *s, const struct taken *taken, const struct switches *since, int64_t held_ns, bool own)
{
	bool usual = is_usual(&s->delays[own], (int64_t)taken->waited_ns - held_ns, taken->in_call);
	return usual && since->lost > 0;
}

/* Without an instant: did it run when it was interrupted? What slept by the time of the stop may have slept
 * before, and what stopped at the end of a system call may have come from work before it. */
static bool ran_until_its_stop(const struct taken *taken, bool own)
{
	uint64_t ours = own ? taken->stopped_at_ns - taken->woke_ns : 0;
	return !taken->blocked && taken->waited_ns < ours + LONG_NS;
}

/* Did it have a CPU when it was interrupted, or had it lost it before to somebody else? */
static bool had_its_cpu(const struct taken *taken, bool own)
{
	uint64_t since = own ? taken->woke_ns : taken->interrupted_at_ns;
	return taken->waited_ns <= taken->stopped_at_ns - since + AWAY_NS;
}

/* Where it was on a CPU at an instant that has nothing to do with it, and where we made it stop, if it has done
 * nothing but run since. Not where it slept, was woken up, or was waiting for a CPU that another took: that is
 * at the end of a system call more often than not (PREEMPT_LAZY; test_cpu.py holds it). */
bool standing_of(struct sampler *s, struct entry *entry, const struct taken *taken)
{
	thread_keep_files(entry->member->target, &entry->thread);
	int cpu = entry->cpu = thread_cpu(entry->member->target, &entry->thread);
	holders_want(s->holders, cpu);
	if (wants_state(s))
		return true;
	struct switches since;
	bool own = holders_own(s->holders, cpu);
	int64_t held_ns = held_for(s, taken, cpu);
	count_switches(entry, &since);
	bool had = held_ns > 0 ? was_preempted(s, taken, &since, held_ns, own) : ran_until_its_stop(taken, own);
	s->result->slid += held_ns == 0 && had && taken->in_call;
	return had || (since.left == 0 && had_its_cpu(taken, own));
}
