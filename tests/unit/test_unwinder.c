/* The unwinder's edges on this program's own stack. That its stacks are exact is tests/truth's matter. */
#include "unwind/unwinder.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/self_space.h"

#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

enum { CUT = 0, COPY = 1 << 18, DEPTH = 20, APART = 0x20000 };

/* clang makes no clones, and has no word against them. */
#ifdef __clang__
#define APART_FUNCTION __attribute__((noinline))
#else
#define APART_FUNCTION __attribute__((noinline, noclone))
#endif

static struct space *space;
static uint8_t copy[COPY];
static struct snapshot snapshot;
static void *callers[DEPTH + 1];
static uintptr_t marks[DEPTH + 1]; /* an address in each frame */

/* How much of the stack to copy from `sp` on: `len`, or up to the middle of the third frame, however large
 * frames are (sanitizers make them so). */
static size_t bytes_from(uint64_t sp, size_t len)
{
	const struct map *map = space_map(space, sp);
	assert_non_null(map);
	size_t used = (size_t)(map->end - sp);
	if (len == CUT)
		return (size_t)((uint64_t)marks[3] - sp);
	len = len < used ? len : used;
	return len < COPY ? len : COPY;
}

/* Takes a snapshot of itself as the sampler would of a thread stopped here, with `len` bytes of stack. */
APART_FUNCTION static void take(size_t len)
{
	static const int order[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
		REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
	ucontext_t context;
	getcontext(&context);
	snapshot = (struct snapshot){.regs.known = REGS_ALL};
	for (size_t i = 0; i < AMD64_COUNT; i++)
		snapshot.regs.r[i] = (uint64_t)context.uc_mcontext.gregs[order[i]];
	uint64_t sp = snapshot.regs.r[AMD64_RSP];
	size_t n = bytes_from(sp, len);
	/* As of another process: sanitizers let nobody read a whole stack. */
	struct iovec local = {copy, n}, remote = {(void *)(uintptr_t)sp, n};
	assert_int_equal(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), (ssize_t)n);
	snapshot.region[0] = (struct region){sp, n, copy};
}

APART_FUNCTION static int descend(int n, size_t len)
{
	volatile char mark = (char)n;
	marks[n] = (uintptr_t)&mark;
	callers[n] = __builtin_return_address(0);
	if (n == 0)
		take(len);
	else
		descend(n - 1, len);
	return n + (callers[n] != NULL); /* no tail call */
}

static struct unwinder *new_unwinder(size_t max_depth, enum unwinder_kind kind)
{
	struct unwinder *unwinder = unwinder_new(space, max_depth);
	assert_non_null(unwinder);
	assert_int_equal(unwinder_use(unwinder, kind), 0);
	return unwinder;
}

/* take's frame, then descend's: each return address as its callee saw it. */
static void expect_callers(const struct stack *stack)
{
	assert_int_equal(stack->v[0].pc, snapshot.regs.r[AMD64_RIP]);
	assert_false(stack->v[0].is_return);
	for (size_t i = 0; i <= DEPTH; i++) {
		assert_int_equal(stack->v[i + 2].pc, (uint64_t)(uintptr_t)callers[i]);
		assert_true(stack->v[i + 2].is_return);
	}
}

static void test_each_kind_walks_the_whole_stack(void **state)
{
	(void)state;
	descend(DEPTH, COPY);
	for (int kind = UNWINDER_ROWS; kind <= UNWINDER_BOTH; kind++) {
		struct stack stack;
		struct unwinder *unwinder = new_unwinder(1000, (enum unwinder_kind)kind);
		unwinder_walk(unwinder, &snapshot, &stack);
		assert_int_equal(stack.why, STOP_ROOT);
		assert_false(stack.guessed);
		expect_callers(&stack);
		struct unwinder_comparison c = unwinder_comparison(unwinder);
		assert_int_equal(c.walks, kind == UNWINDER_BOTH);
		assert_int_equal(c.contradict + c.rows_only + c.library_only + c.ends, 0);
		unwinder_free(unwinder);
	}
}

static void test_a_copy_too_short_ends_the_stack(void **state)
{
	(void)state;
	descend(DEPTH, CUT);
	for (int kind = UNWINDER_ROWS; kind <= UNWINDER_LIBUNWIND; kind++) {
		struct stack stack;
		struct unwinder *unwinder = new_unwinder(1000, (enum unwinder_kind)kind);
		unwinder_walk(unwinder, &snapshot, &stack);
		assert_int_equal(stack.why, STOP_COPY_END);
		assert_in_range(stack.n, 2, DEPTH);
		assert_int_equal(stack.v[2].pc, (uint64_t)(uintptr_t)callers[0]);
		unwinder_free(unwinder);
	}
}

/* What the two do not know alike is counted: the registers of a thread asleep. */
static void test_differences_are_counted(void **state)
{
	(void)state;
	struct stack stack;
	struct unwinder *unwinder = new_unwinder(1000, UNWINDER_BOTH);
	descend(DEPTH, COPY);
	unwinder_walk(unwinder, &snapshot, &stack);
	snapshot.regs.r[AMD64_RIP] = APART;
	unwinder_walk(unwinder, &snapshot, &stack);
	struct unwinder_comparison c = unwinder_comparison(unwinder);
	assert_int_equal(c.walks, 2);
	assert_int_equal(c.contradict, 0);
	/* The rows' walk keeps the frame that lies nowhere, libunwind has none. */
	assert_int_equal(c.rows_only + c.library_only + c.ends, 1);
	unwinder_free(unwinder);
}

static void test_both_ends_of_a_deep_stack_are_kept(void **state)
{
	(void)state;
	struct stack whole, cut;
	struct unwinder *unwinder = new_unwinder(1000, UNWINDER_ROWS),
			*shallow = new_unwinder(8, UNWINDER_ROWS);
	descend(DEPTH, COPY);
	unwinder_walk(unwinder, &snapshot, &whole);
	unwinder_walk(shallow, &snapshot, &cut);
	assert_int_equal(cut.n, 8);
	assert_int_equal(cut.gap_at, 4);
	assert_int_equal(cut.gap_frames, whole.n - 8);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(cut.v[i].pc, whole.v[i].pc);
		assert_int_equal(cut.v[7 - i].pc, whole.v[whole.n - 1 - i].pc);
	}
	unwinder_free(unwinder);
	unwinder_free(shallow);
}

/* Registers that nobody's code would have: every walk ends, and nothing but the copy is read. */
static void test_any_registers_end(void **state)
{
	(void)state;
	static const uint64_t values[] = {0, 1, 7, UINT64_MAX, UINT64_MAX - 7, UINT64_C(1) << 63, INT64_MAX};
	struct unwinder *unwinder = new_unwinder(1000, UNWINDER_BOTH);
	struct stack stack;
	descend(DEPTH, COPY);
	const struct snapshot good = snapshot;
	for (size_t reg = 0; reg < AMD64_COUNT; reg++)
		for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
			snapshot = good;
			snapshot.regs.r[reg] = values[i];
			unwinder_walk(unwinder, &snapshot, &stack);
			assert_true(stack.n > 0);
		}
	unwinder_free(unwinder);
}

static int open_space(void **state)
{
	static char path[4096];
	(void)state;
	space = self_space(path);
	return space != NULL ? 0 : -1;
}

static int close_space(void **state)
{
	(void)state;
	space_free(space);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_kind_walks_the_whole_stack),
		cmocka_unit_test(test_a_copy_too_short_ends_the_stack),
		cmocka_unit_test(test_differences_are_counted),
		cmocka_unit_test(test_both_ends_of_a_deep_stack_are_kept),
		cmocka_unit_test(test_any_registers_end),
	};
	return cmocka_run_group_tests(tests, open_space, close_space);
}
