#include "attach/holders.h"

#include "attach/clock.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void sleep_until(uint64_t ns)
{
	struct timespec until = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* A CPU that is not ours. */
static int other_cpu(void)
{
	cpu_set_t all;
	if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) < 2)
		skip();
	for (int cpu = 0;; cpu++)
		if (CPU_ISSET(cpu, &all) && cpu != sched_getcpu()) {
			CPU_CLR(cpu, &all);
			sched_setaffinity(0, sizeof all, &all);
			return cpu;
		}
}

/* An idle CPU would take long to wake up. */
static pid_t keep_busy(int cpu)
{
	cpu_set_t one;
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof one, &one);
	for (;;)
		;
}

/* Either we or the holder may be late on a machine that has other work: not always. */
static void test_a_cpu_is_held_at_its_time_and_not_before(void **state)
{
	(void)state;
	cpu_set_t all;
	sched_getaffinity(0, sizeof all, &all);
	int cpu = other_cpu(), held = 0;
	pid_t busy = keep_busy(cpu);
	struct holders *holders = holders_new(true);
	holders_want(holders, cpu);
	uint64_t next = now_ns(CLOCK_MONOTONIC) + 5000000;
	holders_set(holders, next);
	assert_int_equal(holders_take(holders), 0);
	for (int i = 0; i < 5000 && held < 20; i++) {
		uint64_t at = next;
		sleep_until(at - 100000);
		next = at + 3000000;
		holders_set(holders, next);
		bool early = !holders_have(holders, cpu);
		assert_true(early || now_ns(CLOCK_MONOTONIC) >= at);
		uint64_t since = holders_take(holders);
		if (since != 0) {
			assert_true(since >= at);
			held++;
		}
		holders_let_go(holders);
	}
	assert_int_equal(held, 20);
	assert_true(holders_cpu_ns(holders) > 0);
	holders_free(holders);
	kill(busy, SIGKILL);
	waitpid(busy, NULL, 0);
	sched_setaffinity(0, sizeof all, &all);
}

static void test_a_cpu_that_is_not_wanted_any_more_is_left_alone(void **state)
{
	(void)state;
	cpu_set_t cpus, all;
	sched_getaffinity(0, sizeof all, &all);
	int cpu = other_cpu();
	struct holders *holders = holders_new(false);
	holders_want(holders, cpu);
	holders_cpus(holders, &cpus);
	assert_true(CPU_ISSET(cpu, &cpus));
	for (int i = 0; i < 100; i++) {
		holders_set(holders, now_ns(CLOCK_MONOTONIC) + 1000000);
		holders_let_go(holders);
	}
	holders_cpus(holders, &cpus);
	assert_int_equal(CPU_COUNT(&cpus), 0);
	holders_free(holders);
	sched_setaffinity(0, sizeof all, &all);
}

static void test_without_holders_nothing_is_held(void **state)
{
	(void)state;
	holders_want(NULL, 0);
	holders_set(NULL, 1);
	assert_int_equal(holders_take(NULL), 0);
	holders_let_go(NULL);
	assert_false(holders_have(NULL, 0));
	assert_false(holders_own(NULL, 0));
	assert_int_equal(holders_held_ns(NULL, 0), 0);
	assert_int_equal(holders_cpu_ns(NULL), 0);
	holders_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_cpu_is_held_at_its_time_and_not_before),
		cmocka_unit_test(test_a_cpu_that_is_not_wanted_any_more_is_left_alone),
		cmocka_unit_test(test_without_holders_nothing_is_held),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
