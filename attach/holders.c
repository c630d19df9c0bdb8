#include "attach/holders.h"

#include "attach/clock.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	STACK_BYTES = 64 << 10,
	KEEP_TIMES = 32, /* for which a CPU stays wanted */
	ARRIVE_NS = 60000, /* a holder that comes later than this does without */
	READY_NS = 60000, /* so long it waits for the sampling thread to come */
	HOLD_NS = 300000, /* and so long in any case */
	EARLY_NS = 500000, /* the sampling thread waits for its time so long, at most */
};

/* A time is a name as well: no two are the same. */
struct holder {
	struct holders *all;
	pthread_t thread;
	int cpu;
	unsigned wanted_until; /* number of times */
	atomic_bool armed; /* wanted now */
	atomic_bool idle; /* it sleeps without a time */
	_Atomic uint32_t bell; /* a futex */
	_Atomic uint64_t came, on; /* the last time for which it had its CPU, and for which it has it now */
	_Atomic uint64_t since_ns, until_ns;
};

struct holders {
	bool realtime;
	_Atomic uint64_t
		next_ns; /* the time that holders sleep for, if they are not awake for the one before */
	_Atomic uint64_t ready; /* the sampling thread has come for this time */
	_Atomic uint64_t over; /* this time is over, even if it has not come yet */
	_Atomic int own_cpu; /* the sampling thread's */
	atomic_bool end;
	uint64_t now_ns; /* the time that is to be taken */
	unsigned times;
	cpu_set_t refused; /* CPUs that we may not use */
	struct holder v[HOLDERS_MOST];
	size_t n;
};

/* ---- a holder ---- */

static void hold(struct holder *holder, uint64_t at_ns)
{
	const struct holders *all = holder->all;
	uint64_t since = now_ns(CLOCK_MONOTONIC), now = since;
	if (since > at_ns + ARRIVE_NS || atomic_load(&all->over) == at_ns ||
		atomic_load(&all->own_cpu) == holder->cpu)
		return;
	atomic_store(&holder->since_ns, since);
	atomic_store(&holder->on, at_ns);
	atomic_store(&holder->came, at_ns);
	while (atomic_load(&all->over) != at_ns &&
		now < since + (atomic_load(&all->ready) == at_ns ? HOLD_NS : READY_NS)) {
		__builtin_ia32_pause();
		now = now_ns(CLOCK_MONOTONIC);
	}
	atomic_store(&holder->until_ns, now);
	atomic_store(&holder->on, 0);
}

static bool has_time(struct holder *holder, uint64_t done)
{
	return atomic_load(&holder->armed) && atomic_load(&holder->all->next_ns) != done;
}

/* Sleeps until `at_ns` (0: without end), or until the bell rings. */
static void sleep_until(struct holder *holder, uint32_t bell, uint64_t at_ns)
{
	struct timespec until = {(time_t)(at_ns / 1000000000u), (long)(at_ns % 1000000000u)};
	syscall(SYS_futex, &holder->bell, FUTEX_WAIT_BITSET_PRIVATE, bell, at_ns != 0 ? &until : NULL, NULL,
		FUTEX_BITSET_MATCH_ANY);
}

static void *run(void *context)
{
	struct holder *holder = context;
	const struct holders *all = holder->all;
	struct sched_param lowest = {.sched_priority = 1};
	uint64_t done = 0;
	prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
	if (all->realtime)
		sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest);
	while (!atomic_load(&all->end)) {
		uint32_t bell = atomic_load(&holder->bell);
		bool due = has_time(holder, done);
		uint64_t at = due ? atomic_load(&all->next_ns) : 0;
		atomic_store(&holder->idle, !due);
		/* Seen after `idle` is: whoever sets a time later rings. */
		if (!due && has_time(holder, done))
			continue;
		sleep_until(holder, bell, at);
		if (due && now_ns(CLOCK_MONOTONIC) >= at) {
			hold(holder, at);
			done = at;
		}
	}
	return NULL;
}

static void ring(struct holder *holder)
{
	atomic_fetch_add(&holder->bell, 1);
	syscall(SYS_futex, &holder->bell, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* ---- all of them ---- */

struct holders *holders_new(bool realtime)
{
	struct holders *holders = calloc(1, sizeof *holders);
	if (holders != NULL) {
		holders->realtime = realtime;
		holders->own_cpu = -1;
	}
	return holders;
}

void holders_free(struct holders *holders)
{
	if (holders == NULL)
		return;
	holders_let_go(holders);
	atomic_store(&holders->end, true);
	for (size_t i = 0; i < holders->n; i++)
		ring(&holders->v[i]);
	for (size_t i = 0; i < holders->n; i++)
		pthread_join(holders->v[i].thread, NULL);
	free(holders);
}

/* Signals stay the sampling thread's. */
static bool start(struct holder *holder)
{
	pthread_attr_t attr;
	cpu_set_t one;
	sigset_t every, before;
	if (pthread_attr_init(&attr) != 0)
		return false;
	CPU_ZERO(&one);
	CPU_SET(holder->cpu, &one);
	sigfillset(&every);
	pthread_sigmask(SIG_BLOCK, &every, &before);
	bool done = pthread_attr_setstacksize(&attr, STACK_BYTES) == 0 &&
		    pthread_attr_setaffinity_np(&attr, sizeof one, &one) == 0 &&
		    pthread_create(&holder->thread, &attr, run, holder) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return done;
}

static const struct holder *find(const struct holders *holders, int cpu)
{
	for (size_t i = 0; i < holders->n; i++)
		if (holders->v[i].cpu == cpu)
			return &holders->v[i];
	return NULL;
}

void holders_want(struct holders *holders, int cpu)
{
	if (holders == NULL || cpu < 0 || cpu >= CPU_SETSIZE || CPU_ISSET(cpu, &holders->refused))
		return;
	struct holder *holder = (struct holder *)find(holders, cpu);
	if (holder == NULL && holders->n < HOLDERS_MOST) {
		holder = &holders->v[holders->n];
		*holder = (struct holder){.all = holders, .cpu = cpu};
		if (!start(holder)) {
			CPU_SET(cpu, &holders->refused);
			return;
		}
		holders->n++;
	}
	if (holder == NULL)
		return;
	holder->wanted_until = holders->times + KEEP_TIMES;
	if (!atomic_exchange(&holder->armed, true))
		ring(holder);
}

void holders_set(struct holders *holders, uint64_t next_ns)
{
	if (holders == NULL)
		return;
	holders->times++;
	holders->now_ns = atomic_load(&holders->next_ns);
	atomic_store(&holders->own_cpu, sched_getcpu());
	atomic_store(&holders->next_ns, next_ns);
	for (size_t i = 0; i < holders->n; i++) {
		struct holder *holder = &holders->v[i];
		if (holder->wanted_until < holders->times)
			atomic_store(&holder->armed, false);
		else if (atomic_load(&holder->idle))
			ring(holder);
	}
}

void holders_hurry(struct holders *holders, uint64_t at_ns)
{
	holders_set(holders, at_ns);
	for (size_t i = 0; holders != NULL && i < holders->n; i++)
		if (atomic_load(&holders->v[i].armed))
			ring(&holders->v[i]);
}

static bool all_came(const struct holders *holders)
{
	for (size_t i = 0; i < holders->n; i++) {
		const struct holder *holder = &holders->v[i];
		if (atomic_load(&holder->armed) && holder->cpu != atomic_load(&holders->own_cpu) &&
			atomic_load(&holder->came) != holders->now_ns)
			return false;
	}
	return true;
}

static uint64_t held_since(const struct holders *holders)
{
	uint64_t first = 0;
	for (size_t i = 0; i < holders->n; i++) {
		const struct holder *holder = &holders->v[i];
		uint64_t since = atomic_load(&holder->since_ns);
		if (atomic_load(&holder->on) == holders->now_ns && (first == 0 || since < first))
			first = since;
	}
	return first;
}

uint64_t holders_take(struct holders *holders)
{
	uint64_t now = now_ns(CLOCK_MONOTONIC);
	if (holders == NULL || holders->now_ns == 0 || now > holders->now_ns + ARRIVE_NS ||
		now + EARLY_NS < holders->now_ns)
		return 0;
	atomic_store(&holders->ready, holders->now_ns);
	while (!all_came(holders) && now_ns(CLOCK_MONOTONIC) < holders->now_ns + ARRIVE_NS)
		__builtin_ia32_pause();
	return held_since(holders);
}

void holders_let_go(struct holders *holders)
{
	if (holders != NULL)
		atomic_store(&holders->over, holders->now_ns);
}

void holders_cpus(const struct holders *holders, cpu_set_t *cpus)
{
	CPU_ZERO(cpus);
	for (size_t i = 0; holders != NULL && i < holders->n; i++)
		if (atomic_load(&holders->v[i].armed))
			CPU_SET(holders->v[i].cpu, cpus);
}

bool holders_have(const struct holders *holders, int cpu)
{
	const struct holder *holder = holders != NULL ? find(holders, cpu) : NULL;
	return holder != NULL && holders->now_ns != 0 && atomic_load(&holder->on) == holders->now_ns;
}

uint64_t holders_held_ns(const struct holders *holders, int cpu)
{
	const struct holder *holder = holders != NULL ? find(holders, cpu) : NULL;
	if (holder == NULL || holders->now_ns == 0 || atomic_load(&holder->came) != holders->now_ns)
		return 0;
	uint64_t until = atomic_load(&holder->until_ns), since = atomic_load(&holder->since_ns);
	return until > since ? until - since : 0;
}

bool holders_own(const struct holders *holders, int cpu)
{
	return holders != NULL && cpu >= 0 && cpu == atomic_load(&holders->own_cpu);
}

uint64_t holders_cpu_ns(const struct holders *holders)
{
	uint64_t total = 0;
	for (size_t i = 0; holders != NULL && i < holders->n; i++) {
		clockid_t clock;
		if (pthread_getcpuclockid(holders->v[i].thread, &clock) == 0)
			total += now_ns(clock);
	}
	return total;
}
