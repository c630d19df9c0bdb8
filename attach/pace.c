#include "attach/pace.h"

enum { FORGIVEN_S = 5 };

/* Lately: about the last sixteen. */
static const double weight_of_new = 1.0 / 16;

void pace_start(struct pace *pace, double rate_hz, const struct pace_limits *limits, uint64_t now_ns)
{
	*pace = (struct pace){
		.limits = *limits, .period_ns = (uint64_t)(1e9 / rate_hz), .due_ns = now_ns, .random = now_ns};
	pace->own_debt_ns = -1e9 * FORGIVEN_S * limits->overhead * limits->cpus;
	pace->stop_debt_ns = -1e9 * FORGIVEN_S * limits->overhead;
	pace->target_share = 1;
}

/* splitmix64 (Steele, Lea, Flood 2014): the jitter must be cheap and even, not secret. */
static uint64_t next_random(struct pace *pace)
{
	uint64_t z = pace->random += 0x9e3779b97f4a7c15;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* How long until both debts are paid back. */
static double wait_for_budget(const struct pace *pace)
{
	double share = pace->limits.overhead, longest = 1e9 * PACE_LONGEST_WAIT_S, wait = 0;
	if (share >= 1)
		return 0;
	if (pace->own_debt_ns > 0)
		wait = pace->own_debt_ns / (share * pace->limits.cpus);
	double used = pace->target_share > 0.01 ? pace->target_share : 0.01;
	if (pace->stop_debt_ns > 0 && pace->stop_debt_ns / (share * used) > wait)
		wait = pace->stop_debt_ns / (share * used);
	return wait < longest ? wait : longest;
}

uint64_t pace_next(struct pace *pace, uint64_t now_ns)
{
	/* From half a period to one and a half, each drawn anew: work that repeats at the same rate is met at
	 * every point alike, and no point comes with longer intervals, and so with more time charged, than
	 * another. Points at random in fixed periods would have the second fault, small jitter around a grid
	 * the first. */
	pace->due_ns += pace->period_ns / 2 + next_random(pace) % pace->period_ns;
	uint64_t wait = (uint64_t)wait_for_budget(pace);
	if (now_ns + wait > pace->due_ns) {
		if (wait > 0) {
			pace->due_ns = now_ns + wait;
			pace->lowered++;
		} else if (now_ns - pace->due_ns > pace->period_ns) {
			uint64_t skipped = (now_ns - pace->due_ns) / pace->period_ns;
			pace->due_ns += skipped * pace->period_ns;
			pace->late += skipped;
		}
	}
	return pace->due_ns;
}

static void pour(double *debt_ns, double spent_ns, double allowed_ns, double forgiven_ns)
{
	*debt_ns += spent_ns - allowed_ns;
	double most_ns = forgiven_ns / FORGIVEN_S * PACE_LONGEST_WAIT_S;
	if (*debt_ns < -forgiven_ns)
		*debt_ns = -forgiven_ns;
	if (*debt_ns > most_ns)
		*debt_ns = most_ns;
}

void pace_spent(
	struct pace *pace, uint64_t elapsed_ns, uint64_t own_ns, uint64_t stopped_ns, uint64_t target_ns)
{
	double share = pace->limits.overhead, forgiven = 1e9 * FORGIVEN_S * share;
	pour(&pace->own_debt_ns, (double)own_ns, share * pace->limits.cpus * (double)elapsed_ns,
		forgiven * pace->limits.cpus);
	/* Never less than one CPU's worth is forgiven: few stops of a thread that hardly runs harm nobody. */
	pour(&pace->stop_debt_ns, (double)stopped_ns, share * (double)target_ns, forgiven);
	if (elapsed_ns > 0)
		pace->target_share +=
			weight_of_new * ((double)target_ns / (double)elapsed_ns - pace->target_share);
}

void pace_served(struct pace *pace, uint64_t ns)
{
	pace->service_ns += weight_of_new * ((double)ns - pace->service_ns);
}

size_t pace_batch(const struct pace *pace)
{
	double fit = (double)pace->limits.max_pause_ns / (pace->service_ns > 1 ? pace->service_ns : 1);
	return fit < 1 ? 1 : fit < PACE_BATCH ? (size_t)fit : PACE_BATCH;
}

/* Our share of a tick's time, of all CPUs. */
static double own_share_ns(const struct pace *pace)
{
	return pace->limits.overhead * pace->limits.cpus * (double)pace->period_ns;
}

unsigned pace_rest(const struct pace *pace, uint64_t cost_ns)
{
	double ticks = (double)cost_ns / (own_share_ns(pace) / 4);
	return ticks < PACE_LONGEST_REST ? (unsigned)ticks : PACE_LONGEST_REST;
}

size_t pace_afford(const struct pace *pace, double cost_ns)
{
	double n = own_share_ns(pace) / 2 / (cost_ns > 1 ? cost_ns : 1);
	return n < PACE_AFFORD_LEAST ? PACE_AFFORD_LEAST : n < 1e6 ? (size_t)n : 1000000;
}
