/* Which samples of CPU time stand for the time that their thread has used. */
#include "attach/sampling.h"
#include "attach/syscalls.h"

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

/* Is that what switching to another thread and back takes, with looks at the clock there (0)? Or less (-1), or
 * more (1)? It is learned from threads that were in their own code: these were preempted, and not woken up.
 * Programs that are hardly ever seen there have to do with what is known of all. */
static int compare_to_usual(struct delays *delays, int64_t ns, bool in_call)
{
	int64_t usual;
	/* Longer ones have waited for others, before or afterwards. */
	if (ns > -LONG_NS && ns < LONG_NS)
		usual_add(in_call ? &delays->in_call : &delays->in_code, ns);
	if (!usual_is(&delays->in_code, &usual) && !usual_is(&delays->in_call, &usual))
		return 0;
	return ns - usual >= UNUSUAL_NS ? 1 : ns - usual <= -UNUSUAL_NS ? -1 : 0;
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

enum at_instant { SLEPT, RAN, WAITED };

/* What was the thread doing at the instant that is sampled? If it was on a CPU it lost it then, and waited for
 * one as long as another ran in its place. Longer, if it had none before; shorter, if it was woken up since. */
static enum at_instant at_instant(
	struct sampler *s, const struct taken *taken, const struct switches *since, int64_t held_ns, bool own)
{
	int ratio = compare_to_usual(&s->delays[own], (int64_t)taken->waited_ns - held_ns, taken->in_call);
	if (ratio > 0)
		return WAITED;
	return ratio == 0 && since->lost > 0 ? RAN : SLEPT;
}

/* The same in a profile's words. */
static void label(struct taken *taken, enum at_instant what)
{
	if (taken->blocked)
		return; /* it still was in its system call at the stop */
	if (what == SLEPT && taken->in_call) {
		taken->state = "sleeping";
		taken->syscall = syscall_name((long)taken->regs.orig_rax);
	} else {
		taken->state = what == WAITED ? "runnable" : "running";
	}
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
bool standing_of(struct sampler *s, struct entry *entry, struct taken *taken)
{
	thread_keep_files(entry->member->target, &entry->thread);
	int cpu = entry->cpu = thread_cpu(entry->member->target, &entry->thread);
	holders_want(s->holders, cpu);
	struct switches since;
	bool own = holders_own(s->holders, cpu);
	int64_t held_ns = held_for(s, taken, cpu);
	if (!wants_state(s) || held_ns > 0)
		count_switches(entry, &since);
	if (wants_state(s)) {
		if (held_ns > 0)
			label(taken, at_instant(s, taken, &since, held_ns, own));
		return true;
	}
	bool had = held_ns > 0 ? at_instant(s, taken, &since, held_ns, own) == RAN
			       : ran_until_its_stop(taken, own);
	s->result->slid += held_ns == 0 && had && taken->in_call;
	return had || (since.left == 0 && had_its_cpu(taken, own));
}
