/* The EINTR canary: one thread for each way to block (eintr_calls.c), which makes that call again and again,
 * with a little work in between, and judges what each returns. A feeder lets those calls end that have no
 * timeout, and sends signals with handlers, with SA_RESTART and without, while it is asked to.
 *
 * Commands on stdin, a line each: `signals` (with handlers, to each thread), `ignored` (to the process, with
 * the default action to ignore them), `quiet` (neither), `report`. A report has a line for each case: what
 * happened since the last one. Ends with its stdin.
 *
 *   case NAME calls N eintr N spurious N lost N wrong N short N early N late N latest_us N stuck N
 *        (one line; `result R` follows where a result was wrong)
 *   signals sent N handled N ignored N
 *
 * What the kernel gives without a tracer is known exactly, call by call:
 * - In a call in which no handler ran, no EINTR is right.
 * - A handler finds in the interrupted registers where it came. rax = -EINTR behind the `syscall` instruction:
 * the call returns EINTR, which is right by the call's kind and SA_RESTART, or `spurious`. Before the
 * instruction, with rcx, which it overwrites, not yet written: the call has not begun. The same with rcx
 * written: it was begun and is made again, which again is right by the call's kind, or the EINTR is `lost`.
 * But restart_syscall(2), by which a stop lets a sleep go on, returns EINTR after a handler, as the sleep
 * would.
 * - An ignored signal changes nothing.
 * - A signal that is blocked but within the call (ppoll and its kin) ends exactly one call; if it does not, the
 * case is stuck.
 *
 * A timeout is early if the call was shorter than it, late if it was more than 2 ms longer. The time for which
 * the thread was ready and had no CPU (schedstat) is the machine's load and does not count.
 */
#include "eintr_canary.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum {
	ROUND_US = 300, /* of the feeder */
	DELAY_NS = 2000000, /* a feed comes up to this long after the call began */
	LATE_NS = 2000000,
	JIFFY_NS = 10000000, /* the longest there are */
	STUCK_NS = 3000000000,
	BUFFER = 1 << 18,
};

/* The call, so that a handler can tell where it came: rcx is 0 until the instruction overwrites it. */
long canary_call(long number, long a, long b, long c, long d, long e, long f);
extern const char canary_instruction[], canary_behind[];
__asm__(".text\n"
	".globl canary_call, canary_instruction, canary_behind\n"
	".type canary_call, @function\n"
	"canary_call:\n"
	".cfi_startproc\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %rdi\n"
	"	mov %rdx, %rsi\n"
	"	mov %rcx, %rdx\n"
	"	mov %r8, %r10\n"
	"	mov %r9, %r8\n"
	"	mov 8(%rsp), %r9\n"
	"	xor %ecx, %ecx\n"
	"canary_instruction:\n"
	"	syscall\n"
	"canary_behind:\n"
	"	ret\n"
	".cfi_endproc\n"
	".size canary_call, . - canary_call\n");

static struct cell *cells;
static size_t n_cells;
static _Thread_local struct cell *mine;
static _Atomic bool signals_on, ignored_on;
static _Atomic unsigned long signals_sent, signals_handled, ignored_sent;

/* ---- the judgement ---- */

static void on_signal(int sig, siginfo_t *info, void *context)
{
	const greg_t *regs = ((const ucontext_t *)context)->uc_mcontext.gregs;
	struct cell *cell = mine;
	uintptr_t at = (uintptr_t)regs[REG_RIP];
	bool restarts = sig == SIGRTMIN + SIGNAL_RESTART;
	enum restart kind = cell->kind->restart;
	(void)info;
	cell->handler_ran = 1;
	if (at == (uintptr_t)canary_behind && regs[REG_RAX] == -EINTR) {
		cell->gave_eintr = 1;
		if (kind == GOES_ON || (kind == RESTARTS && restarts))
			cell->spurious++;
	} else if (at == (uintptr_t)canary_instruction && regs[REG_RAX] == SYS_restart_syscall) {
		cell->gave_eintr = 1;
	} else if (at == (uintptr_t)canary_instruction && regs[REG_RCX] != 0) {
		if (kind == ENDS || (kind == RESTARTS && !restarts))
			cell->lost++;
	}
	cell->handlers++;
	signals_handled++;
}

static bool is_good(const struct cell *cell, long result)
{
	switch (cell->kind->want) {
	case ANY_FD:
		return result >= 0;
	case ANY_COUNT:
		return result > 0;
	default:
		return result == cell->kind->want;
	}
}

static bool is_timed(const struct cell *cell)
{
	return cell->kind->feed == NULL && cell->kind->timeout_us > 0;
}

static void judge_time(struct cell *cell, int64_t elapsed_ns, int64_t waited_ns)
{
	int64_t over = elapsed_ns - cell->kind->timeout_us * 1000;
	int64_t jiffy = cell->kind->flags & JIFFIES ? JIFFY_NS : 0;
	if (over < -jiffy)
		cell->early++;
	over -= waited_ns + jiffy;
	if (over > LATE_NS)
		cell->late++;
	if (over / 1000 > cell->latest_us)
		cell->latest_us = over / 1000;
}

static void judge(struct cell *cell, long result)
{
	cell->calls++;
	if (result == -EINTR) {
		cell->eintr++;
		if (!cell->gave_eintr)
			cell->spurious++;
	}
	if (is_good(cell, result)) {
		cell->consumed++;
		if (cell->kind->want == ANY_COUNT && (size_t)result < cell->kind->bytes)
			cell->shorts++;
	} else if (result != -EINTR) {
		cell->wrong++;
		cell->wrong_result = result;
	}
}

/* ---- a case's thread ---- */

/* How long the thread has waited for a CPU so far (proc(5), schedstat). */
static int64_t waited_ns(const struct cell *cell)
{
	char text[96];
	unsigned long long ran, waited;
	ssize_t n = pread(cell->schedstat, text, sizeof text - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	return sscanf(text, "%llu %llu", &ran, &waited) == 2 ? (int64_t)waited : 0;
}

static long make_call(struct cell *cell)
{
	int64_t waited = is_timed(cell) ? waited_ns(cell) : 0;
	uint64_t begin = target_clock_ns(CLOCK_MONOTONIC);
	cell->handler_ran = cell->gave_eintr = 0;
	cell->kind->arm(cell);
	cell->begun_ns = begin;
	cell->turn++;
	const long *a = cell->arg;
	long result = canary_call(cell->kind->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	uint64_t end = target_clock_ns(CLOCK_MONOTONIC);
	cell->turn++;
	judge(cell, result);
	if (is_timed(cell) && !cell->handler_ran && is_good(cell, result))
		judge_time(cell, (int64_t)(end - begin), waited_ns(cell) - waited);
	return result;
}

static void mask_signals(int how)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + SIGNAL_PLAIN);
	sigaddset(&set, SIGRTMIN + SIGNAL_RESTART);
	pthread_sigmask(how, &set, NULL);
}

static void *run_case(void *argument)
{
	struct cell *cell = mine = argument;
	volatile uint64_t sink = 1;
	char path[64], name[16];
	snprintf(name, sizeof name, "%.15s", cell->kind->name);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	cell->tid = gettid();
	snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", cell->tid);
	cell->schedstat = open(path, O_RDONLY);
	if ((cell->kind->flags & SIGNAL_MASKED) == 0)
		mask_signals(SIG_UNBLOCK);
	for (;;) {
		long result = make_call(cell);
		if (cell->kind->after != NULL)
			cell->kind->after(cell, result);
		sink = target_mix(sink, 10000);
		if (cell->kind->feed == NULL && cell->kind->timeout_us == 0)
			usleep(3000);
	}
	return NULL;
}

/* ---- the feeder ---- */

static uint64_t next_random(void)
{
	static uint64_t x = 88172645463325252u;
	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

/* At most one for each call, so that what it does to the call can be told. */
static void send_signal(struct cell *cell, unsigned long turn)
{
	cell->signalled_turn = turn;
	cell->signals++;
	signals_sent++;
	syscall(SYS_tgkill, getpid(), cell->tid,
		SIGRTMIN + (next_random() % 2 ? SIGNAL_PLAIN : SIGNAL_RESTART));
}

static void feed(struct cell *cell, unsigned long turn)
{
	cell->feeds++;
	cell->fed_turn = cell->kind->feed(cell) ? turn : 0;
	if (cell->fed_turn == 0)
		cell->feeds--;
	if (cell->kind->flags & BY_SIGNAL)
		signals_sent++;
}

static bool wants_feed(const struct cell *cell, unsigned long turn, uint64_t now)
{
	if (cell->kind->feed == NULL || now < cell->due_ns)
		return false;
	if (cell->kind->flags & SHORT_COUNTS)
		return true;
	if (cell->kind->flags & FED_EACH)
		return cell->fed_turn != turn;
	/* Its handler may have run before pause(2) began. */
	if (cell->kind->flags & BY_SIGNAL && !(cell->kind->flags & SIGNAL_MASKED))
		return cell->handlers == cell->feeds;
	return cell->feeds <= cell->consumed;
}

static void look_after(struct cell *cell)
{
	unsigned long turn = cell->turn;
	uint64_t now = target_clock_ns(CLOCK_MONOTONIC);
	if (turn % 2 == 0)
		return;
	if (turn != cell->seen_turn) {
		cell->seen_turn = turn;
		cell->due_ns = now + next_random() % DELAY_NS;
	}
	if (signals_on && !(cell->kind->flags & BY_SIGNAL) && cell->signalled_turn != turn &&
		next_random() % 8 == 0)
		send_signal(cell, turn);
	if (wants_feed(cell, turn, now))
		feed(cell, turn);
}

/* Some 200 a second. */
static void send_ignored(void)
{
	static const int ignored[] = {SIGCHLD, SIGWINCH, SIGURG, SIGCONT};
	if (next_random() % 16 != 0)
		return;
	kill(getpid(), ignored[next_random() % 4]);
	ignored_sent++;
}

static void *run_feeder(void *argument)
{
	(void)argument;
	prctl(PR_SET_NAME, "feeder", 0, 0, 0);
	eintr_feeder = gettid();
	for (;;) {
		for (size_t i = 0; i < n_cells; i++)
			look_after(&cells[i]);
		if (ignored_on)
			send_ignored();
		usleep(ROUND_US);
	}
	return NULL;
}

/* ---- main ---- */

static void report(void)
{
	uint64_t now = target_clock_ns(CLOCK_MONOTONIC);
	for (size_t i = 0; i < n_cells; i++) {
		struct cell *c = &cells[i];
		bool stuck = c->turn % 2 == 1 && now - c->begun_ns > STUCK_NS && now > c->begun_ns;
		unsigned long wrong = atomic_exchange(&c->wrong, 0);
		printf("case %s calls %lu eintr %lu spurious %lu lost %lu wrong %lu short %lu early %lu late "
		       "%lu latest_us %ld stuck %d",
			c->kind->name, atomic_exchange(&c->calls, 0), atomic_exchange(&c->eintr, 0),
			atomic_exchange(&c->spurious, 0), atomic_exchange(&c->lost, 0), wrong,
			atomic_exchange(&c->shorts, 0), atomic_exchange(&c->early, 0),
			atomic_exchange(&c->late, 0), atomic_exchange(&c->latest_us, 0), stuck);
		if (wrong > 0)
			printf(" result %ld", atomic_load(&c->wrong_result));
		puts("");
	}
	printf("signals sent %lu handled %lu ignored %lu\n", atomic_load(&signals_sent),
		atomic_load(&signals_handled), atomic_exchange(&ignored_sent, 0));
	puts("end");
	fflush(stdout);
}

/* Before the threads: some cases fork. */
static void open_cases(void)
{
	cells = calloc(eintr_n_kinds, sizeof *cells);
	for (size_t i = 0; i < eintr_n_kinds; i++) {
		struct cell *cell = &cells[n_cells];
		*cell = (struct cell){.kind = &eintr_kinds[i], .buffer = calloc(1, BUFFER)};
		if (cell->kind->open(cell) == 0)
			n_cells++;
		else
			printf("skip %s %s\n", cell->kind->name, strerror(errno));
	}
}

/* A process that waits for our end, however it comes, and then removes what is left. */
static void leave_a_janitor(void)
{
	int fds[2];
	char byte;
	if (pipe(fds) != 0 || fork() != 0) {
		close(fds[0]);
		return;
	}
	close(fds[1]);
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	while (read(fds[0], &byte, 1) != 0)
		;
	for (size_t i = 0; i < n_cells; i++)
		eintr_remove(&cells[i]);
	_exit(0);
}

static void handle_signals(void)
{
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
	/* Children that stop and go on are waited for, and send no SIGCHLD. */
	static const struct sigaction no_stops = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP};
	sigset_t taken;
	sigaction(SIGCHLD, &no_stops, NULL);
	sigfillset(&action.sa_mask);
	sigaction(SIGRTMIN + SIGNAL_PLAIN, &action, NULL);
	action.sa_flags |= SA_RESTART;
	sigaction(SIGRTMIN + SIGNAL_RESTART, &action, NULL);
	sigemptyset(&taken);
	sigaddset(&taken, SIGRTMIN + SIGNAL_TAKEN);
	pthread_sigmask(SIG_BLOCK, &taken, NULL);
	mask_signals(SIG_BLOCK);
}

int main(void)
{
	char line[32];
	pthread_t thread;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	handle_signals();
	open_cases();
	leave_a_janitor();
	pthread_create(&thread, NULL, run_feeder, NULL);
	while (eintr_feeder == 0)
		usleep(1000);
	for (size_t i = 0; i < n_cells; i++)
		if (pthread_create(&thread, NULL, run_case, &cells[i]) != 0)
			return 1;
	target_ready();
	while (fgets(line, sizeof line, stdin) != NULL) {
		if (strcmp(line, "report\n") == 0) {
			report();
			continue;
		}
		signals_on = strcmp(line, "signals\n") == 0;
		ignored_on = strcmp(line, "ignored\n") == 0;
	}
	return 0;
}
