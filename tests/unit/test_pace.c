/* When the next tick is: the rate that was asked for, the jitter, and the budget. */
#include "attach/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct pace_limits no_limit = {1, 1000000, 2}, one_percent = {0.01, 1000000, 2};

enum { MS = 1000000 };
static const uint64_t second = 1000 * MS;

/* `seconds` of ticks that each cost us `own` and stop a busy thread for `stopped`. Returns how many there were.
 */
static unsigned run(struct pace *pace, unsigned seconds, uint64_t own, uint64_t stopped)
{
	unsigned ticks = 0;
	uint64_t now = pace->due_ns, end = now + seconds * second;
	for (;;) {
		uint64_t due = pace_next(pace, now), before = now;
		now = due > now ? due : now;
		if (now >= end)
			return ticks;
		ticks++;
		pace_spent(pace, now - before, own, stopped, now - before);
	}
}

static void the_rate_is_kept_and_every_phase_is_met(void **state)
{
	(void)state;
	struct pace pace;
	unsigned phase[10] = {0}, n = 0;
	pace_start(&pace, 100, &no_limit, second);
	for (uint64_t now = second; now < 101 * second; n++) {
		now = pace_next(&pace, now);
		phase[now / MS % 10]++;
	}
	assert_in_range(n, 9900, 10100);
	for (size_t i = 0; i < 10; i++)
		assert_in_range(phase[i], n / 10 * 85 / 100, n / 10 * 115 / 100);
	assert_int_equal(pace.late, 0);
}

static void missed_ticks_are_counted_and_not_made_up_for(void **state)
{
	(void)state;
	struct pace pace;
	pace_start(&pace, 100, &no_limit, second);
	uint64_t due = pace_next(&pace, second + 500 * MS);
	assert_in_range(pace.late, 47, 50);
	assert_in_range(due, second + 480 * MS, second + 510 * MS);
}

static void cheap_ticks_are_not_slowed_down(void **state)
{
	(void)state;
	struct pace pace;
	pace_start(&pace, 100, &one_percent, second);
	/* 100 x 150 us own time are 1.5 % of one CPU, 0.75 % of two; 100 x 80 us of stops are 0.8 % of the
	 * thread. */
	assert_in_range(run(&pace, 60, 150000, 80000), 5900, 6100);
	assert_int_equal(pace.lowered, 0);
}

static void our_own_time_stays_within_the_budget(void **state)
{
	(void)state;
	struct pace pace;
	pace_start(&pace, 100, &one_percent, second);
	/* 1 ms of our own at a tick: 2 % of one CPU are 20 of them a second, and five seconds' worth at the
	 * start. */
	assert_in_range(run(&pace, 60, MS, 0), 60 * 20, 60 * 20 + 150);
	assert_true(pace.lowered > 0);
}

static void stops_stay_within_the_budget(void **state)
{
	(void)state;
	struct pace pace;
	pace_start(&pace, 1000, &one_percent, second);
	/* 100 us of a thread's time at a tick: 100 a second. */
	assert_in_range(run(&pace, 60, 0, 100000), 60 * 100, 60 * 100 + 550);
}

static void a_first_dear_tick_is_forgiven_and_no_wait_is_endless(void **state)
{
	(void)state;
	struct pace pace;
	pace_start(&pace, 100, &one_percent, second);
	pace_spent(&pace, 10 * MS, 60 * MS, 0, 10 * MS);
	assert_in_range(pace_next(&pace, second + 10 * MS), second + 5 * MS, second + 30 * MS);
	pace_spent(&pace, 10 * MS, 100 * second, 0, 10 * MS);
	uint64_t wait = pace_next(&pace, 2 * second) - 2 * second;
	assert_in_range(wait, PACE_LONGEST_WAIT_S * second - 10 * MS, PACE_LONGEST_WAIT_S * second + 10 * MS);
	pace_spent(&pace, wait, 0, 0, wait);
	assert_true(pace_next(&pace, 2 * second + wait) < 2 * second + wait + 20 * MS);
}

static void batches_shrink_when_each_thread_takes_long(void **state)
{
	(void)state;
	struct pace pace;
	pace_start(&pace, 100, &one_percent, second);
	assert_int_equal(pace_batch(&pace), PACE_BATCH);
	for (int i = 0; i < 200; i++)
		pace_served(&pace, 100000);
	assert_in_range(pace_batch(&pace), 9, 11);
	for (int i = 0; i < 200; i++)
		pace_served(&pace, 10 * MS);
	assert_int_equal(pace_batch(&pace), 1);
}

static void what_costs_much_is_done_seldom(void **state)
{
	(void)state;
	struct pace pace;
	pace_start(&pace, 100, &one_percent, second);
	assert_int_equal(
		pace_rest(&pace, 10000), 0); /* of 50 us that a quarter of the share allows in a tick */
	assert_int_equal(pace_rest(&pace, 425000), 8);
	assert_int_equal(pace_afford(&pace, 500), 200);
	assert_int_equal(pace_afford(&pace, 1e9), PACE_AFFORD_LEAST);
	assert_int_equal(pace_rest(&pace, second), PACE_LONGEST_REST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rate_is_kept_and_every_phase_is_met),
		cmocka_unit_test(missed_ticks_are_counted_and_not_made_up_for),
		cmocka_unit_test(cheap_ticks_are_not_slowed_down),
		cmocka_unit_test(our_own_time_stays_within_the_budget),
		cmocka_unit_test(stops_stay_within_the_budget),
		cmocka_unit_test(a_first_dear_tick_is_forgiven_and_no_wait_is_endless),
		cmocka_unit_test(batches_shrink_when_each_thread_takes_long),
		cmocka_unit_test(what_costs_much_is_done_seldom),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
