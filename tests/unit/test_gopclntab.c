/* Go's table of functions, and the stacks that are walked by it, against the truth: names and addresses as `go
 * tool nm` prints them, and callers as a shadow stack knows them that is kept while a locked thread of a Go
 * program runs one instruction at a time, through the runtime's changes of stacks, garbage collector's and
 * scheduler's code, signals, and calls from and into C. */
#include "attach/capture.h"
#include "unwind/gopclntab.h"
#include "unwind/gorows.h"
#include "unwind/unwinder.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHADOW_MAX = 4096, MAPS_MAX = 1 << 16, SHOWN_MAX = 12, STACK_REACH = 1 << 20 };

/* ---- what is run ---- */

/* write(-1) tells where to begin. */
#define GO_HEAD                                                                                                \
	"package main\n"                                                                                       \
	"import "                                                                                              \
	"(\n\"bytes\"\n\"fmt\"\n\"hash/crc32\"\n\"os\"\n\"os/signal\"\n\"runtime\"\n\"sort\"\n\"syscall\"\n"   \
	"\"time\"\n)\n"                                                                                        \
	"func init() { runtime.LockOSThread() }\n"

static const char go_pure[] = GO_HEAD
	"type node struct { next *node; data [100]byte }\n"
	"var sink int\nvar list *node\n"
	"//go:noinline\nfunc leaf(n int) int { sink += n; return sink ^ n }\n"
	"//go:noinline\nfunc deep(n int) int { if n == 0 { return leaf(1) }; return deep(n-1) + leaf(n) }\n"
	"//go:noinline\nfunc wide(n int) int { var a [2000]byte; a[n&1023] = 1; if n == 0 { return leaf(2) }\n"
	"\treturn wide(n-1) + int(a[n&1023]) }\n"
	"//go:noinline\nfunc allocate(n int) { for i := 0; i < n; i++ { list = &node{next: list} }\n"
	"\ts := make([]byte, 40000); list.data[0] = s[n]; list = nil }\n"
	"//go:noinline\nfunc mapped(n int) int { m := map[string]int{}; for i := 0; i < n; i++ { "
	"m[fmt.Sprint(i)] = i }; return len(m) }\n"
	"//go:noinline\nfunc thrower(n int) { defer leaf(n); if n == 0 { panic(\"x\") }; thrower(n - 1) }\n"
	"//go:noinline\nfunc caught() (r int) { defer func() { r = len(recover().(string)) }(); thrower(2); "
	"return "
	"0 }\n"
	"//go:noinline\nfunc fault(p *node) (r int) { defer func() { recover(); r = 1 }(); return "
	"int(p.data[1]) }\n"
	"//go:noinline\nfunc sorted() int { v := []int{4, 2, 9, 1, 7, 3}; sort.Slice(v, func(i, j int) bool { "
	"return "
	"v[i] < v[j] }); return v[0] }\n"
	"//go:noinline\nfunc timed() int { return int(time.Now().UnixNano() & 1) }\n"
	"//go:noinline\nfunc moved() int { a := bytes.Repeat([]byte{1, 2}, 500); return "
	"int(crc32.ChecksumIEEE(a)) & 1 "
	"+ bytes.IndexByte(a, 9) }\n"
	"//go:noinline\nfunc buffered() int { c := make(chan int, 4); c <- 1; c <- 2; return <-c }\n"
	"//go:noinline\nfunc handed() int { c := make(chan int); go func() { c <- 1 }(); return <-c }\n"
	"func run() { for i := 1; i < 2; i++ { sink += deep(4) + mapped(9) + caught() + fault(nil) + sorted() "
	"+ timed() + "
	"moved() + buffered() + wide(20*i)\n"
	"\tallocate(60); syscall.Kill(syscall.Getpid(), syscall.SIGUSR1); runtime.Gosched(); sink += handed(); "
	"syscall.Getppid() } }\n"
	"func main() { c := make(chan os.Signal, 9); signal.Notify(c, syscall.SIGUSR1)\n"
	"\tsyscall.RawSyscall(syscall.SYS_WRITE, ^uintptr(0), 0, 0); run(); os.Exit(0) }\n";

static const char go_cgo[] =
	"package main\n"
	"/*\n#include <stdlib.h>\n"
	"extern int goBack(int);\n"
	"static __attribute__((noinline)) int c_leaf(int n) { volatile int s = n; return s * 3; }\n"
	"static __attribute__((noinline)) int c_middle(int n) { return c_leaf(n) + 1; }\n"
	"static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }\n"
	"static __attribute__((noinline)) int c_sorted(void) { int v[5] = {4, 2, 9, 1, 7}; qsort(v, 5, sizeof "
	"*v, compare); "
	"return v[0]; }\n"
	"static __attribute__((noinline)) int c_back(int n) { return goBack(n) + c_leaf(1); }\n"
	"*/\nimport \"C\"\n"
	"import (\n\"os\"\n\"runtime\"\n\"syscall\"\n\"time\"\n)\n"
	"func init() { runtime.LockOSThread() }\n"
	"var sink int\n"
	"//export goBack\nfunc goBack(n C.int) C.int { if n == 0 { sink += timed(); return 1 }; return "
	"C.c_back(n-1) + "
	"C.int(leaf(int(n))) }\n"
	"//go:noinline\nfunc leaf(n int) int { sink += n; s := make([]byte, n+40000); return sink ^ len(s) }\n"
	"//go:noinline\nfunc timed() int { return int(time.Now().UnixNano() & 1) }\n"
	"func run() { for i := 0; i < 3; i++ { sink += int(C.c_middle(3)) + int(C.c_sorted()) + "
	"int(C.c_back(C.int(i))) } }\n"
	"func main() { run(); syscall.RawSyscall(syscall.SYS_WRITE, ^uintptr(0), 0, 0); run(); os.Exit(0) }\n";

/* ---- building it ---- */

static char directory[] = "/tmp/test_gopclntab.XXXXXX";

static const char *go_tool(void)
{
	if (getenv("TRUTH_GO") != NULL)
		return getenv("TRUTH_GO"); /* another release */
	if (system("command -v go >/dev/null 2>&1") == 0)
		return "go";
	return access("/usr/local/go/bin/go", X_OK) == 0 ? "/usr/local/go/bin/go" : NULL;
}

/* Skips the test where there is no Go. */
static void build(const char *name, const char *source, const char *flags, char *program, size_t size)
{
	char command[1024], path[256];
	const char *go = go_tool();
	if (go == NULL) {
		print_message("SKIPPED: no Go compiler\n");
		skip();
	}
	snprintf(path, sizeof path, "%s/%s.go", directory, name);
	snprintf(program, size, "%s/%s", directory, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(source, file);
	fclose(file);
	snprintf(command, sizeof command, "GO111MODULE=off %s build %s -o %s %s", go, flags, program, path);
	assert_int_equal(system(command), 0);
}

/* ---- a thread under observation ---- */

struct shadow {
	uint64_t pc, sp; /* `pc` goes on with rsp == `sp` */
	bool is_return;
	uint64_t context; /* of an interrupted one: where its ucontext is */
};

struct observed {
	pid_t pid;
	struct shadow shadow[SHADOW_MAX]; /* the outermost caller first; order of calls, whatever stack they
					     were made on */
	size_t depth;
	struct user_regs_struct regs, before;
	struct space *space;
	struct unwinder *unwinder;
	int32_t tls;
	struct copies copies;
	struct gopclntab table;
	struct image *image;
	uint64_t bias;
	char *maps;
};

struct score {
	size_t stops, exact, lies, on_g0;
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

static struct image *open_image(const char *program)
{
	struct error err;
	struct image *image = image_open(open(program, O_RDONLY | O_CLOEXEC), program, &err);
	assert_non_null(image);
	return image;
}

static void observed_begin(struct observed *o, const char *program)
{
	*o = (struct observed){0};
	o->maps = malloc(MAPS_MAX);
	o->space = space_new(&(struct space_source){o, open_target, read_target, NULL}, program);
	o->unwinder = unwinder_new(o->space, 1000);
	o->image = open_image(program);
	assert_true(o->maps != NULL && o->unwinder != NULL && copies_new(&o->copies, COPIES_BYTES) == 0);
	assert_true(gopclntab_load(o->image, &o->table));
	o->pid = fork();
	if (o->pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		/* A signal for preemption would change the pc that the handler returns to. */
		setenv("GODEBUG", "asyncpreemptoff=1", 1);
		setenv("GOGC", "off", 1);
		execl(program, program, (char *)NULL);
		_exit(127);
	}
	int status;
	assert_int_equal(waitpid(o->pid, &status, 0), o->pid);
	assert_true(WIFSTOPPED(status));
	ptrace(PTRACE_SETOPTIONS, o->pid, NULL, (void *)(intptr_t)PTRACE_O_EXITKILL);
	assert_int_equal(ptrace(PTRACE_GETREGS, o->pid, NULL, &o->regs), 0);
}

static void observed_end(struct observed *o)
{
	unwinder_free(o->unwinder);
	space_free(o->space);
	copies_free(&o->copies);
	gopclntab_unload(&o->table);
	image_free(o->image);
	free(o->maps);
}

/* ---- the shadow stack ---- */

/* The Go function at `pc`, "" for other code. */
static const char *function_at(const struct observed *o, uint64_t pc)
{
	struct gofunc func;
	return gopclntab_find(&o->table, pc - o->bias, &func) ? gopclntab_name(&o->table, func.name) : "";
}

static void push(struct observed *o, uint64_t pc, uint64_t sp, bool is_return)
{
	assert_true(o->depth < SHADOW_MAX);
	o->shadow[o->depth++] = (struct shadow){pc, sp, is_return, 0};
}

static bool is_prefix(uint8_t byte)
{
	return byte == 0x3e || byte == 0xf2 || byte == 0x66 || byte == 0x67 || (byte & 0xf0) == 0x40;
}

static bool was_call(const struct observed *o)
{
	uint8_t code[16] = {0};
	size_t at = 0;
	read_target((void *)(uintptr_t)o, o->before.rip, code, sizeof code);
	while (at < 4 && is_prefix(code[at]))
		at++;
	return code[at] == 0xe8 || (code[at] == 0xff && (code[at + 1] >> 3 & 7) == 2);
}

/* By a direct call, as those of mcall and morestack are. */
static bool follows_call(const struct observed *o, uint64_t pc)
{
	uint8_t code = 0;
	read_target((void *)(uintptr_t)o, pc - 5, &code, 1);
	return code == 0xe8;
}

/* The handler of a fault makes its thread go on in sigpanic, as if the faulting instruction had called it. */
static void refresh_signals(struct observed *o)
{
	enum { RSP = 40 + 15 * 8, RIP = 40 + 16 * 8 };
	for (size_t i = 0; i < o->depth; i++) {
		struct shadow was = o->shadow[i];
		uint64_t pc, sp;
		if (was.context == 0 || read_target(o, was.context + RIP, &pc, sizeof pc) != sizeof pc ||
			read_target(o, was.context + RSP, &sp, sizeof sp) != sizeof sp)
			continue;
		if (pc == was.pc || sp != was.sp - 8)
			continue;
		assert_true(o->depth < SHADOW_MAX);
		memmove(o->shadow + i + 1, o->shadow + i, (o->depth++ - i) * sizeof was);
		o->shadow[i].context = 0;
		o->shadow[i + 1] = (struct shadow){pc, sp, false, was.context};
	}
}

/* The callers that lie on the stack that `sp` is on, above it. */
static size_t callers_above(const struct observed *o, uint64_t sp)
{
	for (size_t i = o->depth; i-- > 0;)
		if (o->shadow[i].sp > sp && o->shadow[i].sp - sp < STACK_REACH)
			return i + 1;
	return 0;
}

/* gogo has just left the thread's own stack for a goroutine's, to go on there as its gobuf (rbx: sp, pc) says:
 * behind the call of mcall or morestack, or where a panic was recovered. If the stack has grown, it is another
 * one, and all callers on it have moved. */
static void follow_gogo(struct observed *o)
{
	uint64_t pc = 0, sp = o->regs.rsp;
	size_t i = o->depth;
	read_target(o, o->regs.rbx + 8, &pc, sizeof pc);
	while (i > 0 && o->shadow[i - 1].pc != pc)
		i--;
	uint64_t old = i > 0 ? o->shadow[i - 1].sp : sp;
	for (size_t k = 0; k < i; k++)
		if (o->shadow[k].sp - old < STACK_REACH)
			o->shadow[k].sp += sp - old;
	o->depth = callers_above(o, sp);
	push(o, pc, sp, follows_call(o, pc));
}

static void follow(struct observed *o)
{
	refresh_signals(o);
	for (size_t i = o->depth; i-- > 0;)
		if (o->shadow[i].pc == o->regs.rip && o->shadow[i].sp == o->regs.rsp) {
			o->depth = i;
			return;
		}
	if (o->regs.rsp - o->before.rsp + 4096 > 8192 && strstr(function_at(o, o->before.rip), "gogo") != NULL)
		follow_gogo(o);
	if (o->regs.rsp != o->before.rsp - 8 || !was_call(o))
		return;
	uint64_t pushed = 0;
	read_target(o, o->regs.rsp, &pushed, sizeof pushed);
	push(o, pushed, o->regs.rsp + 8, true);
}

static void follow_signal(struct observed *o)
{
	uint64_t trampoline = 0;
	read_target(o, o->regs.rsp, &trampoline, sizeof trampoline);
	push(o, o->before.rip, o->before.rsp, false);
	o->shadow[o->depth - 1].context = o->regs.rsp + 8;
	push(o, trampoline, o->regs.rsp + 8, false);
}

/* ---- comparing ---- */

static void walk(struct observed *o, struct stack *stack)
{
	const struct user_regs_struct *r = &o->regs;
	struct snapshot snapshot = {.tid = o->pid,
		.regs = {{r->rax, r->rdx, r->rcx, r->rbx, r->rsi, r->rdi, r->rbp, r->rsp, r->r8, r->r9, r->r10,
				 r->r11, r->r12, r->r13, r->r14, r->r15, r->rip},
			REGS_ALL}};
	struct capture_hint hint = {.goroutine_at = r->fs_base + (uint64_t)(int64_t)o->tls};
	o->copies.used = 0;
	capture_stack(o->space, &hint, &o->copies, &snapshot);
	unwinder_walk(o->unwinder, &snapshot, stack);
}

/* mcall, which has left the goroutine's stack? */
static bool is_first_of_g0(const struct observed *o, size_t k, uint64_t pc)
{
	if (k > 0)
		return strcmp(function_at(o, pc - 1), "runtime.mcall") == 0;
	return o->depth > 0 && strcmp(function_at(o, pc), "runtime.mcall") == 0 &&
	       o->shadow[o->depth - 1].sp - o->regs.rsp > STACK_REACH;
}

/* Frame `i` of the truth, leaf first; false beyond its end. What the scheduler does after mcall is nobody's:
 * mcall is the first frame there. */
static bool truth_at(const struct observed *o, size_t i, struct shadow *out)
{
	*out = (struct shadow){.pc = o->regs.rip};
	for (size_t k = 0; k < i; k++) {
		if (k >= o->depth || is_first_of_g0(o, k, out->pc))
			return false;
		*out = o->shadow[o->depth - 1 - k];
	}
	return true;
}

/* In morestack, once the goroutine was let go, its first frame. */
static bool may_end(const struct observed *o, uint64_t pc)
{
	return strcmp(function_at(o, pc - 1), "runtime.morestack") == 0;
}

static bool is_true(const struct observed *o, const struct stack *stack)
{
	struct shadow truth;
	if (stack->why != STOP_ROOT || stack->guessed)
		return false;
	for (size_t i = 0; i < stack->n; i++)
		if (!truth_at(o, i, &truth) || stack->v[i].pc != truth.pc ||
			stack->v[i].is_return != truth.is_return)
			return false;
	return !truth_at(o, stack->n, &truth) || may_end(o, stack->v[stack->n - 1].pc);
}

/* For whoever works on it: TRUTH_SHOW=1 shows what was wrong. */
static void show(const struct observed *o, const struct stack *stack)
{
	static int shown;
	struct shadow truth;
	if (getenv("TRUTH_SHOW") == NULL || shown++ > SHOWN_MAX)
		return;
	print_message(
		"  %s%s, %zu frames\n", stop_name(stack->why), stack->guessed ? ", guessed" : "", stack->n);
	for (size_t i = 0; truth_at(o, i, &truth) || i < stack->n; i++) {
		uint64_t pc = truth_at(o, i, &truth) ? truth.pc : 0, found = i < stack->n ? stack->v[i].pc : 0;
		print_message("    %c %#12lx %-40s %#12lx %s\n", pc == found ? ' ' : '!', (unsigned long)pc,
			function_at(o, pc - (i > 0)), (unsigned long)found, function_at(o, found - (i > 0)));
	}
}

static void compare(struct observed *o, struct score *score)
{
	struct stack stack;
	walk(o, &stack);
	bool right = is_true(o, &stack);
	score->stops++;
	score->exact += right;
	score->lies += !right && stack.why == STOP_ROOT && !stack.guessed;
	for (size_t i = 0; i < stack.n; i++)
		if (strcmp(function_at(o, stack.v[i].pc - 1), "runtime.systemstack") == 0) {
			score->on_g0++;
			break;
		}
	if (!right)
		show(o, &stack);
}

/* ---- running ---- */

/* One instruction of the thread; false when the program has ended. */
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

/* The main goroutine's callers at the mark are known from the source. */
static void begin_shadow(struct observed *o)
{
	static const char *const callers[] = {"main.main", "runtime.main", "runtime.goexit"};
	struct stack stack;
	update_space(o);
	assert_true(unwinder_go_tls(o->unwinder, &o->tls));
	uint64_t vaddr;
	const struct mapping *mapping = space_mapping(o->space, 0);
	assert_true(mapping_vaddr(mapping, mapping->start, &vaddr));
	o->bias = mapping->start - vaddr;
	walk(o, &stack);
	assert_int_equal(stack.why, STOP_ROOT);
	assert_true(stack.n >= 4 && !stack.guessed);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(function_at(o, stack.v[stack.n - 3 + i].pc - 1), callers[i]);
	/* A frame's rsp is needed only to see the return to it, and main.main's callers never are: so any on
	 * the same stack. */
	for (size_t i = stack.n; i-- > stack.n - 3;)
		push(o, stack.v[i].pc, o->regs.rsp + 4096, true);
}

static void run_to_mark(struct observed *o)
{
	int status, sent = 0;
	do {
		assert_int_equal(ptrace(PTRACE_SYSCALL, o->pid, NULL, (void *)(intptr_t)sent), 0);
		assert_int_equal(waitpid(o->pid, &status, 0), o->pid);
		assert_true(WIFSTOPPED(status));
		sent = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
		assert_int_equal(ptrace(PTRACE_GETREGS, o->pid, NULL, &o->regs), 0);
	} while (o->regs.orig_rax != SYS_write || (int32_t)o->regs.rdi != -1 || (int64_t)o->regs.rax != -EBADF);
}

/* Compares, on average, every `every` instructions, from where main.main goes on behind the mark. */
static void observe(const char *program, unsigned every, struct score *score)
{
	static struct observed o;
	uint32_t random = 12345, wait = 1;
	int signal_number = 0;
	observed_begin(&o, program);
	run_to_mark(&o);
	begin_shadow(&o);
	uint64_t resume = o.shadow[o.depth - 1].pc;
	bool started = false;
	while (step(&o, &signal_number)) {
		if (!started && o.regs.rip != resume)
			continue;
		if (!started)
			o.depth = 2; /* in main.main itself */
		started = true;
		if (--wait > 0)
			continue;
		random = random * 1103515245 + 12345;
		wait = 1 + (random >> 16) % (2 * every - 1);
		compare(&o, score);
	}
	assert_true(started);
	observed_end(&o);
}

/* ---- the table itself ---- */

/* `go tool nm` prints all functions of the table, and few other symbols of the text. */
static void test_names_and_addresses(void **state)
{
	char program[256], command[512], line[1024];
	struct gopclntab table;
	size_t n = 0, differing = 0;
	(void)state;
	build("named", go_pure, "", program, sizeof program);
	struct image *image = open_image(program);
	assert_true(gopclntab_load(image, &table));
	snprintf(command, sizeof command, "%s tool nm %s", go_tool(), program);
	FILE *nm = popen(command, "r");
	assert_non_null(nm);
	while (fgets(line, sizeof line, nm) != NULL) {
		unsigned long address;
		char kind, name[900];
		struct gofunc func;
		if (sscanf(line, " %lx %c %899[^\n]", &address, &kind, name) != 3 ||
			(kind != 'T' && kind != 't') || strcmp(name, "runtime.text") == 0 ||
			strcmp(name, "runtime.etext") == 0)
			continue;
		n++;
		/* nm names the calling convention, and writes a middle dot as a dot. */
		size_t len = strlen(name);
		if (len > 5 && strcmp(name + len - 5, ".abi0") == 0)
			name[len - 5] = '\0';
		if (!gopclntab_find(&table, address, &func) || func.entry != address ||
			(strcmp(gopclntab_name(&table, func.name), name) != 0 &&
				strstr(gopclntab_name(&table, func.name), "\xc2\xb7") == NULL))
			differing++;
	}
	pclose(nm);
	print_message("%zu functions named by nm, %zu in the table, %zu differ\n", n, table.n_funcs, differing);
	assert_true(n > 1000 && n == table.n_funcs);
	assert_int_equal(differing, 0);
	gopclntab_unload(&table);
	image_free(image);
}

/* A table that ends anywhere, and functions whose tables run on, are read without a look beyond the end. */
static void test_cut_tables(void **state)
{
	char program[256];
	struct gopclntab table, cut;
	(void)state;
	build("cut", go_pure, "-ldflags '-s -w'", program, sizeof program);
	struct image *image = open_image(program);
	assert_true(gopclntab_load(image, &table));
	for (size_t len = 0; len < table.len; len += len < 100 ? 1 : 9973) {
		uint8_t *bytes = malloc(len + 1);
		assert_non_null(bytes);
		memcpy(bytes, table.bytes, len);
		if (gopclntab_open(bytes, len, table.text, &cut))
			for (size_t i = 0; i < cut.n_funcs; i += 7) {
				struct gofunc func;
				if (!gopclntab_func(&cut, i, &func))
					continue;
				struct gopcvalue run = gopcvalue_begin(&cut, &func, func.pcsp);
				while (gopcvalue_next(&run))
					assert_true(run.start < run.end && run.end <= func.end);
				assert_true(strlen(gopclntab_name(&cut, func.name)) < len);
			}
		free(bytes);
	}
	gopclntab_unload(&table);
	image_free(image);
}

/* ---- the tests ---- */

static void check_truth(const char *name, const char *source, const char *flags)
{
	char program[256];
	struct score score = {0};
	build(name, source, flags, program, sizeof program);
	observe(program, getenv("TRUTH_EVERY") != NULL ? (unsigned)atoi(getenv("TRUTH_EVERY")) : 20, &score);
	print_message("%-12s %zu of %zu stops exact, %zu wrong but called complete; %zu behind systemstack\n",
		name, score.exact, score.stops, score.lies, score.on_g0);
	assert_true(score.stops > 500);
	assert_true(score.on_g0 > 20);
	assert_true(score.exact * 1000 >= score.stops * 999);
	assert_int_equal(score.lies, 0);
}

static void test_pure(void **state)
{
	(void)state;
	check_truth("pure", go_pure, "");
}

static void test_pie_stripped(void **state)
{
	(void)state;
	check_truth("pie_stripped", go_pure, "-buildmode=pie -ldflags '-s -w'");
}

static void test_cgo(void **state)
{
	(void)state;
	check_truth("cgo", go_cgo, "");
}

static void test_cgo_pie_stripped(void **state)
{
	(void)state;
	check_truth("cgo_pie", go_cgo, "-buildmode=pie -ldflags '-s -w'");
}

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) != NULL ? 0 : -1;
}

static int remove_directory(void **state)
{
	char command[256];
	(void)state;
	snprintf(command, sizeof command, "rm -rf %s", directory);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_and_addresses),
		cmocka_unit_test(test_cut_tables),
		cmocka_unit_test(test_pure),
		cmocka_unit_test(test_pie_stripped),
		cmocka_unit_test(test_cgo),
		cmocka_unit_test(test_cgo_pie_stripped),
	};
	cmocka_set_test_filter(getenv("TRUTH_ONLY")); /* NULL: all */
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
