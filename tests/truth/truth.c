/* The unwinder against the truth: truth STOPS EVERY SEED UNWINDER PROGRAM [ARGUMENT]...
 *
 * Runs a program one instruction at a time from its entry. A shadow stack, kept from its call instructions, its
 * stack pointer and its return addresses alone, knows the callers at each of them. From the program's mark
 * (write(-1)) on, every EVERY instructions on average, the same stop is walked and compared, STOPS times; and
 * behind each system call once more as a thread asleep, of which only rip and rsp are known.
 *
 * Prints a line for each stop that was not exact, then one with the counts. UNWINDER: rows, libunwind or both.
 * TRUTH_SHOW=1 prints those stacks, too. Exit status: 0, or 1 when the program could not be followed. */
#include "unwind/unwinder.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	SHADOW_MAX = 4096,
	COPY_MAX = 1 << 18,
	MAPS_MAX = 1 << 16,
	RED_ZONE = 128,
	DEPTH_MAX = 1000,
	WINDOW = 768, /* instructions within which a jump to another frame restores its registers */
	PENDING_MAX = 1024,
	SHOWN_MAX = 20,
};

struct shadow {
	uint64_t slot, pc; /* `pc` is a caller's while rsp is at or below `slot` */
	bool is_return;
	bool changed; /* the program has put another address there: of a landing pad, or one to return to */
};

/* How the answers compare. */
struct score {
	size_t stops, exact, guessed; /* `guessed` are exact */
	/* The unwinder said that an exception was overwriting the stack, and soon the program was in another
	 * frame: there was no stack to be found. */
	size_t torn;
	size_t lies; /* wrong, yet neither marked as guessed nor as incomplete */
	size_t wrong_guesses; /* wrong and complete, but marked as guessed */
};

/* A stop that was not exact by the frames that the program was leaving: perhaps it is by those that it jumps
 * to. */
struct pending {
	struct stack stack;
	uint64_t instruction; /* when */
	uint64_t pc, vaddr;
	const char *path;
	bool is_asleep;
};

struct observed {
	pid_t pid;
	struct shadow shadow[SHADOW_MAX];
	size_t depth;
	struct user_regs_struct regs, before;
	uint8_t code[16]; /* at before.rip */
	uint64_t instructions;
	bool started; /* the mark was passed */
	bool jumping; /* rsp has left frames behind without a return; the pc has not followed yet */
	struct pending pending[PENDING_MAX];
	size_t n_pending;
	struct score awake, asleep;
	size_t shown;
	struct space *space;
	struct unwinder *unwinder;
	uint8_t *copy;
	char *maps;
};

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void die(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static void must(bool fine, const char *what)
{
	if (!fine)
		die("truth: %s: %s", what, strerror(errno));
}

/* ---- a program under observation ---- */

static size_t read_target(void *context, uint64_t address, void *buffer, size_t len)
{
	const struct observed *o = context;
	struct iovec local = {buffer, len}, remote = {(void *)(uintptr_t)address, len};
	ssize_t n = process_vm_readv(o->pid, &local, 1, &remote, 1, 0);
	return n > 0 ? (size_t)n : 0;
}

static int open_target(void *context, const struct map *map)
{
	(void)context;
	return open(map->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

static size_t read_proc(const struct observed *o, const char *name, void *buffer, size_t size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)o->pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	must(fd >= 0, path);
	for (ssize_t n; len < size && (n = read(fd, (char *)buffer + len, size - len)) > 0;)
		len += (size_t)n;
	close(fd);
	return len;
}

static void update_space(struct observed *o)
{
	size_t len = read_proc(o, "maps", o->maps, MAPS_MAX);
	must(space_update(o->space, o->maps, len) >= 0, "maps");
}

static void resume_until_stop(struct observed *o, enum __ptrace_request how, int signal_number)
{
	int status;
	must(ptrace(how, o->pid, NULL, (void *)(intptr_t)signal_number) == 0, "ptrace");
	must(waitpid(o->pid, &status, 0) == o->pid, "waitpid");
	if (!WIFSTOPPED(status))
		die("truth: the program ended (status %#x)", (unsigned)status);
	must(ptrace(PTRACE_GETREGS, o->pid, NULL, &o->regs) == 0, "registers");
}

static uint64_t entry_of(const struct observed *o)
{
	Elf64_auxv_t auxv[64];
	size_t n = read_proc(o, "auxv", auxv, sizeof auxv) / sizeof *auxv;
	for (size_t i = 0; i < n; i++)
		if (auxv[i].a_type == AT_ENTRY)
			return auxv[i].a_un.a_val;
	die("truth: the program has no entry");
}

/* Past the dynamic linker at full speed: at the entry nothing has been called, and the shadow stack is empty.
 */
static void run_to_entry(struct observed *o)
{
	uint64_t entry = entry_of(o);
	if (o->regs.rip == entry)
		return;
	errno = 0;
	long word = ptrace(PTRACE_PEEKTEXT, o->pid, (void *)entry, NULL);
	must(errno == 0, "entry");
	must(ptrace(PTRACE_POKETEXT, o->pid, (void *)entry, (void *)((word & ~0xffL) | 0xcc)) == 0, "entry");
	resume_until_stop(o, PTRACE_CONT, 0);
	if (o->regs.rip != entry + 1)
		die("truth: stopped before the entry");
	must(ptrace(PTRACE_POKETEXT, o->pid, (void *)entry, (void *)word) == 0, "entry");
	o->regs.rip = entry;
	must(ptrace(PTRACE_SETREGS, o->pid, NULL, &o->regs) == 0, "entry");
}

/* Both on one CPU: each step is a switch between the two, which is faster there. */
static void stay_on_this_cpu(void)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET((size_t)sched_getcpu(), &set);
	sched_setaffinity(0, sizeof set, &set);
}

static void observed_begin(struct observed *o, char **command, enum unwinder_kind kind)
{
	*o = (struct observed){0};
	o->copy = malloc(2 * COPY_MAX);
	o->maps = malloc(MAPS_MAX);
	o->space = space_new(&(struct space_source){o, open_target, read_target, NULL}, command[0]);
	o->unwinder = unwinder_new(o->space, DEPTH_MAX);
	must(o->copy != NULL && o->maps != NULL && o->unwinder != NULL && unwinder_use(o->unwinder, kind) == 0,
		"memory");
	stay_on_this_cpu();
	o->pid = fork();
	if (o->pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execv(command[0], command);
		_exit(127);
	}
	int status;
	must(waitpid(o->pid, &status, 0) == o->pid && WIFSTOPPED(status), command[0]);
	must(ptrace(PTRACE_SETOPTIONS, o->pid, NULL, (void *)PTRACE_O_EXITKILL) == 0, "options");
	must(ptrace(PTRACE_GETREGS, o->pid, NULL, &o->regs) == 0, "registers");
	run_to_entry(o);
}

static void observed_end(struct observed *o)
{
	kill(o->pid, SIGKILL);
	waitpid(o->pid, NULL, 0);
	for (size_t i = 0; i < o->n_pending; i++)
		free(o->pending[i].stack.v);
	unwinder_free(o->unwinder);
	space_free(o->space);
	free(o->copy);
	free(o->maps);
}

/* ---- the shadow stack ---- */

static void push(struct observed *o, uint64_t slot, uint64_t pc, bool is_return)
{
	if (o->depth == SHADOW_MAX)
		die("truth: the program calls too deep");
	o->shadow[o->depth++] = (struct shadow){slot, pc, is_return, false};
}

static bool is_prefix(uint8_t byte)
{
	/* notrack, bnd, operand and address size (linkers pad relaxed calls with the latter), REX */
	return byte == 0x3e || byte == 0xf2 || byte == 0xf3 || byte == 0x66 || byte == 0x67 ||
	       (byte & 0xf0) == 0x40;
}

/* What the instruction that has just run was, by its opcode (Intel SDM, volume 2). */
enum instruction { OTHER, CALL, RETURN, JUMP, SYSTEM_CALL };

static enum instruction instruction_of(const struct observed *o)
{
	size_t at = 0;
	while (at < 4 && is_prefix(o->code[at]))
		at++;
	uint8_t op = o->code[at], group = o->code[at + 1] >> 3 & 7;
	if (op == 0xe8 || (op == 0xff && group == 2))
		return CALL;
	if (op == 0xc3 || op == 0xc2)
		return RETURN;
	if (op == 0xff && group == 4)
		return JUMP;
	return op == 0x0f && o->code[at + 1] == 0x05 ? SYSTEM_CALL : OTHER;
}

/* The program may have changed a return address in its place: then that is where it goes. */
static void refresh(struct observed *o)
{
	for (size_t i = 0; i < o->depth; i++) {
		struct shadow *s = &o->shadow[i];
		uint64_t word;
		if (!s->is_return || read_target(o, s->slot, &word, sizeof word) != sizeof word ||
			word == s->pc)
			continue;
		s->pc = word;
		s->changed = true;
	}
}

/* ---- comparing ---- */

static void copy_region(
	struct observed *o, uint64_t start, const struct map *map, uint8_t *bytes, struct region *out)
{
	uint64_t len = map != NULL && map->end > start ? map->end - start : 0;
	*out = (struct region){start, read_target(o, start, bytes, len < COPY_MAX ? len : COPY_MAX), bytes};
}

/* With the red zone, as the sampler does: leaves save registers there; and on an alternate stack with the
 * ordinary one from its lowest frame on. */
static void take_snapshot(struct observed *o, struct snapshot *out)
{
	const struct user_regs_struct *r = &o->regs;
	*out = (struct snapshot){.tid = o->pid,
		.regs = {{r->rax, r->rdx, r->rcx, r->rbx, r->rsi, r->rdi, r->rbp, r->rsp, r->r8, r->r9, r->r10,
				 r->r11, r->r12, r->r13, r->r14, r->r15, r->rip},
			REGS_ALL}};
	const struct map *map = space_map(o->space, r->rsp);
	copy_region(o, r->rsp - RED_ZONE, map, o->copy, &out->region[0]);
	for (size_t i = o->depth; i-- > 0;) {
		const struct map *other = space_map(o->space, o->shadow[i].slot);
		if (other == map || other == NULL)
			continue;
		copy_region(o, o->shadow[i].slot - 16 * RED_ZONE, other, o->copy + COPY_MAX, &out->region[1]);
		return;
	}
}

static bool is_true(const struct observed *o, const struct stack *stack, uint64_t pc)
{
	if (stack->why != STOP_ROOT || stack->n != o->depth + 1 || stack->v[0].pc != pc ||
		stack->v[0].is_return)
		return false;
	for (size_t i = 0; i < o->depth; i++) {
		const struct shadow *s = &o->shadow[o->depth - 1 - i];
		if (stack->v[i + 1].pc != s->pc || (!s->changed && stack->v[i + 1].is_return != s->is_return))
			return false;
	}
	return true;
}

static const char *place_of(const struct observed *o, uint64_t pc, uint64_t *vaddr)
{
	const struct mapping *mapping = space_mapping(o->space, space_find(o->space, pc));
	*vaddr = 0;
	if (mapping == NULL)
		return "?";
	mapping_vaddr(mapping, pc, vaddr);
	const char *slash = strrchr(mapping->path, '/');
	return slash != NULL ? slash + 1 : mapping->path;
}

static void show_frames(const struct observed *o, const struct stack *stack)
{
	if (getenv("TRUTH_SHOW") == NULL)
		return;
	for (size_t i = 0; i <= o->depth || i < stack->n; i++) {
		uint64_t truth = i == 0 ? o->regs.rip : i <= o->depth ? o->shadow[o->depth - i].pc : 0;
		uint64_t found = i < stack->n ? stack->v[i].pc : 0, vaddr, found_vaddr;
		const char *path = place_of(o, truth, &vaddr), *other = place_of(o, found, &found_vaddr);
		printf("    %c %s+%#" PRIx64 " %s+%#" PRIx64 "\n", truth == found ? ' ' : '!', path, vaddr,
			other, found_vaddr);
	}
}

static void count(struct observed *o, const struct pending *stop, bool right)
{
	struct score *score = stop->is_asleep ? &o->asleep : &o->awake;
	const struct stack *stack = &stop->stack;
	bool complete = stack->why == STOP_ROOT;
	score->stops++;
	score->exact += right;
	score->guessed += right && stack->guessed;
	score->lies += !right && complete && !stack->guessed;
	score->wrong_guesses += !right && complete && stack->guessed;
	if (!right && o->shown++ < SHOWN_MAX)
		printf("differs %s+%#" PRIx64 "%s: %s%s, %zu frames\n", stop->path, stop->vaddr,
			stop->is_asleep ? " asleep" : "", stop_name(stack->why),
			stack->guessed ? ", guessed" : "", stack->n);
}

static void drop_pending(struct observed *o, size_t i)
{
	free(o->pending[i].stack.v);
	memmove(o->pending + i, o->pending + i + 1, (--o->n_pending - i) * sizeof *o->pending);
}

/* The program has arrived where it jumped to: what the unwinder said on the way is compared with that. */
static void settle_jump(struct observed *o)
{
	refresh(o);
	push(o, o->regs.rsp, o->regs.rip, true); /* who will have been called by the jumping function */
	o->shadow[o->depth - 1].changed = true;
	for (size_t i = o->n_pending; i-- > 0;) {
		if (is_true(o, &o->pending[i].stack, o->pending[i].pc))
			count(o, &o->pending[i], true);
		else if (o->pending[i].stack.why == STOP_THROWN)
			(o->pending[i].is_asleep ? &o->asleep : &o->awake)->torn++;
		else
			continue;
		drop_pending(o, i);
	}
	o->depth--;
}

static void settle_old(struct observed *o, bool all)
{
	while (o->n_pending > 0 && (all || o->pending[0].instruction + WINDOW < o->instructions)) {
		count(o, &o->pending[0], false);
		drop_pending(o, 0);
	}
}

/* Like the sampler: a pc outside the maps that are known may lie in a library loaded since. */
static void walk(struct observed *o, const struct snapshot *snapshot, struct stack *stack)
{
	unwinder_walk(o->unwinder, snapshot, stack);
	if (stack->why != STOP_NO_MAPPING)
		return;
	update_space(o);
	unwinder_walk(o->unwinder, snapshot, stack);
}

static void keep_pending(struct observed *o, const struct pending *stop)
{
	struct pending kept = *stop;
	if (o->n_pending == PENDING_MAX)
		settle_old(o, true);
	kept.stack.v = calloc(stop->stack.n + 1, sizeof *kept.stack.v);
	must(kept.stack.v != NULL, "memory");
	memcpy(kept.stack.v, stop->stack.v, stop->stack.n * sizeof *kept.stack.v);
	o->pending[o->n_pending++] = kept;
}

static void compare(struct observed *o, bool is_asleep)
{
	struct snapshot snapshot;
	struct pending stop = {.instruction = o->instructions, .pc = o->regs.rip, .is_asleep = is_asleep};
	stop.path = place_of(o, o->regs.rip, &stop.vaddr);
	take_snapshot(o, &snapshot);
	if (is_asleep) {
		snapshot.regs.known = 1u << AMD64_RIP | 1u << AMD64_RSP;
		for (int i = 0; i < AMD64_RIP; i++)
			if (i != AMD64_RSP)
				snapshot.regs.r[i] = UINT64_C(0x5a5a5a5a5a5a5a58);
	}
	walk(o, &snapshot, &stop.stack);
	refresh(o);
	if (is_true(o, &stop.stack, o->regs.rip)) {
		count(o, &stop, true);
		return;
	}
	show_frames(o, &stop.stack);
	keep_pending(o, &stop);
}

/* ---- stepping ---- */

static void follow(struct observed *o)
{
	enum instruction what = OTHER;
	bool left = o->depth > 0 && o->shadow[o->depth - 1].slot < o->regs.rsp;
	uint64_t returned = left ? o->shadow[o->depth - 1].slot : 0;
	if (left || o->jumping || o->regs.rsp == o->before.rsp - 8) {
		memset(o->code, 0, sizeof o->code);
		read_target(o, o->before.rip, o->code, sizeof o->code - 1);
		what = instruction_of(o);
	}
	while (o->depth > 0 && o->shadow[o->depth - 1].slot < o->regs.rsp)
		o->depth--;
	if (what == CALL && o->regs.rsp == o->before.rsp - 8) {
		uint64_t pushed = 0;
		read_target(o, o->regs.rsp, &pushed, sizeof pushed);
		push(o, o->regs.rsp, pushed, true);
	}
	bool plain = (what == RETURN && returned + 8 == o->regs.rsp) || what == SYSTEM_CALL;
	o->jumping = o->jumping || (left && !plain);
	if (o->jumping && (what == JUMP || what == RETURN)) {
		o->jumping = false;
		settle_jump(o);
	}
}

/* The kernel has put a signal frame in front of the handler: its return address, and in it the interrupted pc.
 */
static void follow_signal(struct observed *o)
{
	uint64_t trampoline = 0;
	read_target(o, o->regs.rsp, &trampoline, sizeof trampoline);
	push(o, o->regs.rsp + 8, o->before.rip, false);
	push(o, o->regs.rsp, trampoline, false); /* nobody called it */
}

/* One instruction; returns the signal that came with it. */
static int step(struct observed *o, int signal_number)
{
	int status;
	o->before = o->regs;
	o->instructions++;
	must(ptrace(PTRACE_SINGLESTEP, o->pid, NULL, (void *)(intptr_t)signal_number) == 0, "step");
	must(waitpid(o->pid, &status, 0) == o->pid, "waitpid");
	if (!WIFSTOPPED(status))
		die("truth: the program ended (status %#x)", (unsigned)status);
	must(ptrace(PTRACE_GETREGS, o->pid, NULL, &o->regs) == 0, "registers");
	if (signal_number != 0)
		follow_signal(o);
	else
		follow(o);
	return WSTOPSIG(status) != SIGTRAP ? WSTOPSIG(status) : 0;
}

/* Was it a system call? The processor leaves the address behind it in rcx (Intel SDM, SYSCALL). */
static bool is_syscall(struct observed *o)
{
	static const uint8_t code[] = {0x0f, 0x05};
	return o->regs.rcx == o->regs.rip &&
	       read_target(o, o->before.rip, o->code, sizeof code) == sizeof code &&
	       memcmp(o->code, code, sizeof code) == 0;
}

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 16;
}

static void observe(struct observed *o, size_t stops, uint32_t every, uint32_t seed)
{
	uint32_t wait = 1 + next_random(&seed) % every;
	int signal_number = 0;
	while (o->awake.stops + o->awake.torn + o->n_pending < stops) {
		signal_number = step(o, signal_number);
		settle_old(o, false);
		bool called = is_syscall(o);
		if (called && !o->started && o->before.rax == SYS_write && (int32_t)o->before.rdi == -1) {
			o->started = true;
			update_space(o);
		}
		if (!o->started)
			continue;
		if (called && signal_number == 0)
			compare(o, true);
		if (--wait > 0)
			continue;
		wait = 1 + next_random(&seed) % (2 * every - 1);
		compare(o, false);
	}
	/* What is still on its way may yet arrive. */
	for (int i = 0; i < WINDOW && o->n_pending > 0; i++)
		signal_number = step(o, signal_number);
	settle_old(o, true);
}

static void print_score(const char *name, const struct score *score)
{
	printf("%s compared %zu exact %zu guessed %zu torn %zu lies %zu wrong_guesses %zu\n", name,
		score->stops, score->exact, score->guessed, score->torn, score->lies, score->wrong_guesses);
}

static enum unwinder_kind kind_of(const char *name)
{
	return strcmp(name, "libunwind") == 0 ? UNWINDER_LIBUNWIND
	       : strcmp(name, "both") == 0    ? UNWINDER_BOTH
					      : UNWINDER_ROWS;
}

int main(int argc, char **argv)
{
	static struct observed o;
	if (argc < 6)
		die("usage: truth STOPS EVERY SEED rows|libunwind|both PROGRAM [ARGUMENT]...");
	observed_begin(&o, argv + 5, kind_of(argv[4]));
	observe(&o, strtoul(argv[1], NULL, 10), (uint32_t)strtoul(argv[2], NULL, 10),
		(uint32_t)strtoul(argv[3], NULL, 10));
	print_score("awake", &o.awake);
	print_score("asleep", &o.asleep);
	struct unwinder_comparison c = unwinder_comparison(o.unwinder);
	if (c.walks > 0)
		printf("both walks %" PRIu64 " contradict %" PRIu64 " rows_only %" PRIu64
		       " library_only %" PRIu64 " ends %" PRIu64 "\n",
			c.walks, c.contradict, c.rows_only, c.library_only, c.ends);
	observed_end(&o);
	return 0;
}
