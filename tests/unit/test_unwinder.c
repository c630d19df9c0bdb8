/* The unwinder against the truth. Small programs are compiled in every way that changes their unwind
 * information, and run one instruction at a time; a shadow stack, kept from their call instructions and the
 * stack pointer alone, knows the callers at each of them. Every few instructions the same stop is walked and
 * compared. */
#include "unwind/unwinder.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHADOW_MAX = 4096, COPY_MAX = 1 << 18, MAPS_MAX = 1 << 16, RED_ZONE = 128 };

/* ---- what is run ---- */

#define HEAD                                                                                                   \
	"#include <setjmp.h>\n#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include "         \
	"<string.h>\n"                                                                                         \
	"#include <time.h>\n#include <unistd.h>\n#define APART __attribute__((noinline, noclone))\n"           \
	"#ifdef __clang__\n#undef APART\n#define APART __attribute__((noinline))\n#endif\n"                    \
	"static volatile int sink;\n"

/* write(-1) tells where to begin comparing: not in the dynamic linker's first thousand relocations. */
static const char source_c[] =
	HEAD "#include <alloca.h>\n"
	     "int bare(int n);\n"
	     "__asm__(\".text\\n.type bare,@function\\nbare: lea 1(%rdi),%eax\\nimul %eax,%eax\\nadd "
	     "%edi,%eax\\nret\\n\");\n"
	     "APART static int leaf(int n) { sink += n; return sink ^ n; }\n"
	     "APART static int deep(int n) { return n == 0 ? leaf(1) : deep(n - 1) + leaf(n); }\n"
	     "APART static int variable(int n) { char a[n * 16 + 1]; memset(a, n, sizeof a); return a[n] + "
	     "leaf(n); }\n"
	     "APART static int realigned(int n) {\n"
	     "  _Alignas(64) char a[128]; memset(a, n, sizeof a); char *b = alloca(n * 8 + 8); b[0] = 1; sink "
	     "+= b[0];\n"
	     "  return a[n & 63] + deep(n & 3) + b[0]; }\n"
	     "static int compare(const void *a, const void *b) { return leaf(1) * 0 + *(const int *)a - "
	     "*(const int *)b; }\n"
	     "APART static int sorted(void) { int v[9] = {4, 2, 9, 1, 7, 3, 8, 5, 6}; qsort(v, 9, sizeof *v, "
	     "compare); return v[sink & 7]; }\n"
	     "APART static int formatted(void) { char s[99]; return snprintf(s, sizeof s, \"%d %s %f\", sink, "
	     "\"x\", 1.5 * sink); }\n"
	     "static jmp_buf there;\n"
	     "APART static int jumps(int n) { if (n == 0) longjmp(there, 1); return jumps(n - 1) + leaf(n); }\n"
	     "APART static int jumped(void) { return setjmp(there) == 0 ? jumps(3) : leaf(2); }\n"
	     "static void handler(int number) { sink += deep(number & 1); }\n"
	     "APART static int signalled(void) { return raise(SIGUSR1) + leaf(1); }\n"
	     "APART static int timed(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return "
	     "t.tv_nsec & 1; }\n"
	     "APART static int written(int n) { return n > 0 ? written(n - 1) + leaf(1) : (int)write(1, \"\", "
	     "0); }\n"
	     "int main(void) {\n"
	     "  signal(SIGUSR1, handler);\n"
	     "  write(-1, \"\", 0);\n"
	     "  for (int i = 1; i < 4; i++)\n"
	     "    sink += deep(i) + variable(i) + realigned(i) + bare(i) + sorted() + formatted() + jumped() + "
	     "signalled() + timed() + written(i);\n"
	     "  return 0; }\n";

static const char source_cpp[] =
	HEAD "#include <stdexcept>\n#include <string>\n#include <vector>\n#include <algorithm>\n"
	     "struct guard { ~guard() { sink = sink + 1; } };\n"
	     "APART static int thrower(int n) { guard g; if (n == 0) throw std::runtime_error(\"x\"); return "
	     "thrower(n - 1) + sink; }\n"
	     "APART static int caught(int n) { try { return thrower(n); } catch (const std::exception &e) { "
	     "return (int)e.what()[0]; } }\n"
	     "APART static int sorted(int n) { std::vector<std::string> v; for (int i = 0; i < 9; i++) "
	     "v.push_back(std::to_string(i * n % 7));\n"
	     "  std::sort(v.begin(), v.end()); return (int)v[3].size(); }\n"
	     "int main() { if (write(-1, \"\", 0) == 0) return 1; for (int i = 1; i < 2; i++) sink = sink + "
	     "caught(i) + sorted(i); _exit(0); return 0; }\n";

/* ---- a program under observation ---- */

struct shadow {
	uint64_t slot, pc; /* `pc` is a caller's while rsp is at or below `slot` */
	bool is_return;
};

struct observed {
	pid_t pid;
	struct shadow shadow[SHADOW_MAX];
	size_t depth;
	struct user_regs_struct regs, before;
	uint8_t code[15]; /* at before.rip */
	bool started;
	struct space *space;
	struct unwinder *unwinder;
	uint8_t *copy;
	char *maps;
};

struct score {
	size_t stops, exact, guessed;
	size_t lies; /* wrong, yet neither marked as guessed nor as incomplete */
	size_t sleeps, sleeps_exact, sleeps_guessed, sleeps_lies;
};

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

static void update_space(struct observed *o)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/maps", (int)o->pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	for (ssize_t n; fd >= 0 && len < MAPS_MAX && (n = read(fd, o->maps + len, MAPS_MAX - len)) > 0;)
		len += (size_t)n;
	close(fd);
	assert_true(space_update(o->space, o->maps, len) >= 0);
}

static void observed_begin(struct observed *o, const char *program)
{
	*o = (struct observed){0};
	o->copy = malloc(COPY_MAX);
	o->maps = malloc(MAPS_MAX);
	o->space = space_new(&(struct space_source){o, open_target, read_target}, program);
	o->unwinder = unwinder_new(o->space, 1000);
	assert_true(o->copy != NULL && o->maps != NULL && o->unwinder != NULL);
	o->pid = fork();
	if (o->pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execl(program, program, (char *)NULL);
		_exit(127);
	}
	int status;
	assert_int_equal(waitpid(o->pid, &status, 0), o->pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(ptrace(PTRACE_GETREGS, o->pid, NULL, &o->regs), 0);
}

static void observed_end(struct observed *o)
{
	unwinder_free(o->unwinder);
	space_free(o->space);
	free(o->copy);
	free(o->maps);
}

/* ---- the shadow stack ---- */

static void push(struct observed *o, uint64_t slot, uint64_t pc, bool is_return)
{
	assert_true(o->depth < SHADOW_MAX);
	o->shadow[o->depth++] = (struct shadow){slot, pc, is_return};
}

static bool is_prefix(uint8_t byte)
{
	/* notrack, bnd, operand and address size (linkers pad relaxed calls with the latter), REX */
	return byte == 0x3e || byte == 0xf2 || byte == 0x66 || byte == 0x67 || (byte & 0xf0) == 0x40;
}

/* Was the instruction that has just run a call? Its opcode says so. */
static bool was_call(const struct observed *o)
{
	size_t at = 0;
	while (at < 4 && is_prefix(o->code[at]))
		at++;
	return o->code[at] == 0xe8 || (o->code[at] == 0xff && (o->code[at + 1] >> 3 & 7) == 2);
}

static void follow(struct observed *o)
{
	while (o->depth > 0 && o->shadow[o->depth - 1].slot < o->regs.rsp)
		o->depth--;
	if (o->regs.rsp != o->before.rsp - 8)
		return;
	memset(o->code, 0, sizeof o->code);
	read_target(o, o->before.rip, o->code, sizeof o->code);
	if (!was_call(o))
		return;
	uint64_t pushed = 0;
	read_target(o, o->regs.rsp, &pushed, sizeof pushed);
	push(o, o->regs.rsp, pushed, true);
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

/* ---- comparing ---- */

static void take_snapshot(struct observed *o, struct snapshot *out)
{
	const struct user_regs_struct *r = &o->regs;
	*out = (struct snapshot){.tid = o->pid,
		.regs = {{r->rax, r->rdx, r->rcx, r->rbx, r->rsi, r->rdi, r->rbp, r->rsp, r->r8, r->r9, r->r10,
				 r->r11, r->r12, r->r13, r->r14, r->r15, r->rip},
			REGS_ALL}};
	/* With the red zone, as the sampler does: leaves save registers there. */
	uint64_t start = r->rsp - RED_ZONE;
	const struct map *map = space_map(o->space, r->rsp);
	uint64_t len = map != NULL ? map->end - start : 0;
	out->region[0] = (struct region){
		start, read_target(o, start, o->copy, len < COPY_MAX ? len : COPY_MAX), o->copy};
}

static bool is_true(const struct observed *o, const struct stack *stack)
{
	if (stack->why != STOP_ROOT || stack->n != o->depth + 1 || stack->v[0].pc != o->regs.rip ||
		stack->v[0].is_return)
		return false;
	for (size_t i = 0; i < o->depth; i++) {
		const struct shadow *s = &o->shadow[o->depth - 1 - i];
		if (stack->v[i + 1].pc != s->pc || stack->v[i + 1].is_return != s->is_return)
			return false;
	}
	return true;
}

/* For whoever works on it: TRUTH_SHOW=1 shows what was wrong. */
static void show(const struct observed *o, const struct stack *stack, const char *what)
{
	if (getenv("TRUTH_SHOW") == NULL)
		return;
	print_message("  %s: %s%s, %zu frames for %zu\n", what, stop_name(stack->why),
		stack->guessed ? ", guessed" : "", stack->n, o->depth + 1);
	for (size_t i = 0; i <= o->depth || i < stack->n; i++) {
		uint64_t truth = i == 0 ? o->regs.rip : i <= o->depth ? o->shadow[o->depth - i].pc : 0;
		uint64_t found = i < stack->n ? stack->v[i].pc : 0, vaddr = 0;
		const struct mapping *mapping = space_mapping(o->space, space_find(o->space, truth));
		if (mapping != NULL)
			mapping_vaddr(mapping, truth, &vaddr);
		print_message("    %c %#12lx %#12lx %s+%#lx\n", truth == found ? ' ' : '!',
			(unsigned long)truth, (unsigned long)found, mapping != NULL ? mapping->path : "?",
			(unsigned long)vaddr);
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

static void compare(struct observed *o, struct score *score)
{
	struct snapshot snapshot;
	struct stack stack;
	take_snapshot(o, &snapshot);
	walk(o, &snapshot, &stack);
	bool right = is_true(o, &stack);
	score->stops++;
	score->exact += right;
	score->guessed += right && stack.guessed;
	score->lies += !right && stack.why == STOP_ROOT && !stack.guessed;
	if (!right)
		show(o, &stack, "stop");
}

/* Behind a system call a thread may sleep, and then only rip and rsp can be read. */
static void compare_asleep(struct observed *o, struct score *score)
{
	struct snapshot snapshot;
	struct stack stack;
	take_snapshot(o, &snapshot);
	snapshot.regs.known = 1u << AMD64_RIP | 1u << AMD64_RSP;
	for (int i = 0; i < AMD64_RIP; i++)
		if (i != AMD64_RSP)
			snapshot.regs.r[i] = UINT64_C(0x5a5a5a5a5a5a5a58);
	walk(o, &snapshot, &stack);
	bool right = is_true(o, &stack);
	score->sleeps++;
	score->sleeps_exact += right;
	score->sleeps_guessed += right && stack.guessed;
	score->sleeps_lies += !right && stack.why == STOP_ROOT && !stack.guessed;
	if (!right)
		show(o, &stack, "asleep");
}

/* One instruction; false when the program has ended. */
static bool step(struct observed *o, int *signal_number)
{
	int status, sent = *signal_number;
	*signal_number = 0;
	o->before = o->regs;
	assert_int_equal(ptrace(PTRACE_SINGLESTEP, o->pid, NULL, (void *)(intptr_t)sent), 0);
	assert_int_equal(waitpid(o->pid, &status, 0), o->pid);
	if (!WIFSTOPPED(status)) {
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
		return false;
	}
	assert_int_equal(ptrace(PTRACE_GETREGS, o->pid, NULL, &o->regs), 0);
	if (WSTOPSIG(status) != SIGTRAP)
		*signal_number = WSTOPSIG(status);
	if (sent != 0)
		follow_signal(o);
	else
		follow(o);
	return true;
}

/* Was it a system call? The processor leaves the address behind it in rcx (Intel SDM, SYSCALL). */
static bool is_syscall(struct observed *o)
{
	static const uint8_t code[] = {0x0f, 0x05};
	return o->regs.rcx == o->regs.rip &&
	       read_target(o, o->before.rip, o->code, sizeof code) == sizeof code &&
	       memcmp(o->code, code, sizeof code) == 0;
}

/* To the mark at full speed. What is outside main is then believed from one walk, which must reach the root;
 * main's callees are not. */
static void run_to_mark(struct observed *o)
{
	struct snapshot snapshot;
	struct stack stack;
	int status;
	do {
		assert_int_equal(ptrace(PTRACE_SYSCALL, o->pid, NULL, NULL), 0);
		assert_int_equal(waitpid(o->pid, &status, 0), o->pid);
		assert_true(WIFSTOPPED(status));
		assert_int_equal(ptrace(PTRACE_GETREGS, o->pid, NULL, &o->regs), 0);
	} while (o->regs.orig_rax != SYS_write || (int32_t)o->regs.rdi != -1 || (int64_t)o->regs.rax != -EBADF);
	o->started = true;
	update_space(o);
	take_snapshot(o, &snapshot);
	walk(o, &snapshot, &stack);
	assert_int_equal(stack.why, STOP_ROOT);
	assert_true(stack.n >= 4 && !stack.guessed);
	for (size_t i = stack.n - 1; i > 1; i--)
		push(o, UINT64_MAX, stack.v[i].pc, true);
	push(o, o->regs.rsp, stack.v[1].pc, true); /* write() itself has pushed nothing */
}

/* Runs the program and compares, on average, every `every` instructions. */
static void observe(const char *program, bool from_main, unsigned every, struct score *score)
{
	static struct observed o;
	uint32_t random = 12345, wait = 1;
	int signal_number = 0;
	observed_begin(&o, program);
	if (from_main)
		run_to_mark(&o);
	while (step(&o, &signal_number)) {
		bool called = is_syscall(&o);
		if (called && !o.started && o.before.rax == SYS_write && (int32_t)o.before.rdi == -1) {
			o.started = true;
			update_space(&o);
		}
		if (!o.started)
			continue;
		if (called && signal_number == 0)
			compare_asleep(&o, score);
		if (--wait > 0)
			continue;
		random = random * 1103515245 + 12345;
		wait = 1 + (random >> 16) % (2 * every - 1);
		compare(&o, score);
	}
	observed_end(&o);
}

/* ---- the ways to build it ---- */

struct variant {
	const char *name, *tool, *flags;
	const char *source, *extension;
	/* Of a thousand stops. What is lost: longjmp while it switches registers, crt code without unwind
	 * information; and inside _Unwind_Resume the frames to be left have already been overwritten. */
	unsigned exact_at_least, lies_at_most;
	bool from_main; /* do not step through a million relocations */
};

static char directory[] = "/tmp/test_unwinder.XXXXXX";

/* Returns false when there is no such compiler. */
static bool build(const struct variant *variant, char *program, size_t size)
{
	char command[2048], source[512];
	snprintf(command, sizeof command, "command -v %s >/dev/null", variant->tool);
	if (system(command) != 0)
		return false;
	snprintf(program, size, "%s/%s", directory, variant->name);
	snprintf(source, sizeof source, "%s.%s", program, variant->extension);
	FILE *file = fopen(source, "we");
	assert_non_null(file);
	assert_true(fputs(variant->source, file) >= 0);
	assert_int_equal(fclose(file), 0);
	snprintf(command, sizeof command, "%s %s -w -o %s %s", variant->tool, variant->flags, program, source);
	assert_int_equal(system(command), 0);
	return true;
}

static void is_walked_right(void **state)
{
	const struct variant *variant = *state;
	char program[256];
	struct score score = {0};
	const char *every = getenv("TRUTH_EVERY");
	if (!build(variant, program, sizeof program)) {
		print_message("no %s here\n", variant->tool);
		skip();
	}
	observe(program, variant->from_main, every != NULL ? (unsigned)atoi(every) : 16, &score);
	print_message("%-16s %5zu stops, %.2f %% exact (%zu of them guessed), %zu lies; asleep: %zu of %zu "
		      "exact (%zu guessed), %zu lies\n",
		variant->name, score.stops,
		100.0 * (double)score.exact / (double)(score.stops + (score.stops == 0)), score.guessed,
		score.lies, score.sleeps_exact, score.sleeps, score.sleeps_guessed, score.sleeps_lies);
	assert_true(score.stops > 500);
	assert_true(score.sleeps > 0);
	assert_true(score.exact * 1000 >= score.stops * variant->exact_at_least);
	assert_true(score.lies * 1000 <= score.stops * variant->lies_at_most);
	assert_true(score.sleeps_exact * 10 >= score.sleeps * 9);
	assert_int_equal(score.sleeps_lies, 0);
}

#define DEBUG_ONLY "-fno-asynchronous-unwind-tables -fno-unwind-tables -g"

static struct variant variants[] = {
	{"gcc_o0", "gcc", "-O0", source_c, "c", 990, 0, false},
	{"gcc_o2", "gcc", "-O2 -fomit-frame-pointer", source_c, "c", 990, 0, false},
	{"no_pie", "gcc", "-O2 -no-pie -fno-pie", source_c, "c", 990, 0, false},
	{"clang_o0", "clang", "-O0", source_c, "c", 990, 0, false},
	{"clang_o2", "clang", "-O2", source_c, "c", 990, 0, false},
	{"cpp_throws", "g++", "-O2", source_cpp, "cc", 970, 20, true},
	{"static", "gcc", "-O2 -static", source_c, "c", 990, 0, false},
	{"static_no_hdr", "gcc", "-O2 -static -Wl,--no-eh-frame-hdr", source_c, "c", 990, 0, false},
	{"no_hdr", "gcc", "-O2 -Wl,--no-eh-frame-hdr", source_c, "c", 990, 0, false},
	{"lld", "gcc", "-O2 -fuse-ld=lld", source_c, "c", 990, 0, false},
	{"debug_frame", "gcc", "-O2 " DEBUG_ONLY, source_c, "c", 990, 0, false},
	{"debug_frame_z", "gcc", "-O2 -gz=zlib " DEBUG_ONLY, source_c, "c", 990, 0, false},
	{"debug_frame_o0", "clang", "-O0 -gdwarf-4 " DEBUG_ONLY, source_c, "c", 990, 0, false},
};

enum { VARIANTS = sizeof variants / sizeof *variants };

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) != NULL ? 0 : -1;
}

static int remove_directory(void **state)
{
	(void)state;
	char command[128];
	snprintf(command, sizeof command, "rm -r %s", directory);
	return system(command);
}

int main(void)
{
	struct CMUnitTest tests[VARIANTS];
	for (size_t i = 0; i < VARIANTS; i++)
		tests[i] = (struct CMUnitTest){variants[i].name, is_walked_right, NULL, NULL, &variants[i]};
	cmocka_set_test_filter(getenv("TRUTH_ONLY")); /* NULL: all */
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
