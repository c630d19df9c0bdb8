/* One step by libunwind from tables made by hand, over a made-up stack: both sections, and what must be
 * refused. */
#include "unwind/cfi.h"
#include "unwind/expression.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <string.h>

enum { PC = 0x1000, LENGTH = 0x100, BIAS = 0x40000000, STACK = 0x70000000, WORDS = 64 };

static uint64_t stack[WORDS];

static size_t put(uint8_t *at, uint64_t value, size_t size)
{
	memcpy(at, &value, size);
	return size;
}

/* A CIE (CFA = rsp + 8, return address there) and an FDE with this program. */
static struct rows *rows_of(const uint8_t *program, size_t len, bool debug)
{
	static const uint8_t cie[] = {1, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x90, 1};
	uint8_t bytes[256];
	size_t n = put(bytes, 4 + sizeof cie, 4);
	n += put(bytes + n, debug ? UINT32_MAX : 0, 4);
	memcpy(bytes + n, cie, sizeof cie);
	n += sizeof cie;
	n += put(bytes + n, 20 + len, 4);
	n += put(bytes + n, debug ? 0 : n, 4);
	n += put(bytes + n, PC, 8);
	n += put(bytes + n, LENGTH, 8);
	memcpy(bytes + n, program, len);
	struct rows *rows = rows_from_bytes(bytes, n + len, 0, debug);
	assert_non_null(rows);
	return rows;
}

/* Steps from PC with rsp at the stack's start. */
static bool step(const uint8_t *program, size_t len, bool debug, struct regs *regs)
{
	struct rows *rows = rows_of(program, len, debug);
	struct expression *expression = expression_new();
	struct snapshot snapshot = {.region[0] = {STACK, sizeof stack, (uint8_t *)stack}};
	unsigned budget = 10000;
	struct expression_step one = {
		.place = {.rows = rows, .bias = BIAS}, .snapshot = &snapshot, .budget = &budget};
	*regs = (struct regs){.known = REGS_ALL};
	regs->r[AMD64_RIP] = BIAS + PC + 4;
	regs->r[AMD64_RSP] = STACK;
	regs->r[AMD64_RBP] = 0x5150;
	for (size_t i = 0; i < WORDS; i++)
		stack[i] = 0x1000 + i;
	stack[2] = STACK + 80;
	assert_non_null(expression);
	const struct row *row = rows_find(rows, PC + 4);
	bool done =
		row != NULL && rows_fde(rows, row, &one.place.fde) && expression_apply(expression, &one, regs);
	expression_free(expression);
	rows_free(rows);
	return done;
}

#define STEP(regs, debug, ...)                                                                                 \
	step((const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__}, debug, regs)

static void test_both_sections_are_evaluated(void **state)
{
	(void)state;
	for (int debug = 0; debug < 2; debug++) {
		struct regs regs;
		/* CFA = the word at rsp + 16, plus 8; rbp = rsp + 24 as a value */
		assert_true(STEP(&regs, debug, 0x0f, 5, 0x77, 16, 0x06, 0x38, 0x22, 0x16, 6, 2, 0x77, 24));
		assert_int_equal(regs.r[AMD64_RSP], STACK + 88);
		assert_int_equal(regs.r[AMD64_RIP], 0x1000 + 10);
		assert_int_equal(regs.r[AMD64_RBP], STACK + 24);
		/* rbp where an expression says: pushed CFA - 16 */
		assert_true(STEP(&regs, debug, 0x0e, 32, 0x10, 6, 2, 0x40, 0x1c));
		assert_int_equal(regs.r[AMD64_RSP], STACK + 32);
		assert_int_equal(regs.r[AMD64_RBP], STACK + 80); /* the word at CFA - 16 */
	}
}

static void test_what_libunwind_cannot_bear_is_refused(void **state)
{
	(void)state;
	struct regs regs;
	for (int debug = 0; debug < 2; debug++) {
		assert_false(STEP(&regs, debug, 0x0f, 5, 0x77, 8, 0x2f, 0xfd, 0xff)); /* a branch backwards */
		assert_false(STEP(&regs, debug, 0x0f, 4, 0x77, 8, 0x30, 0x1b)); /* a division */
		assert_false(STEP(&regs, debug, 0x09, 16, 0xff, 0xff, 0x03)); /* a register out of range */
		/* harmless here, harmful behind the pc */
		assert_false(STEP(&regs, debug, 0x0f, 3, 0x77, 8, 0x96, 0x48, 0x09, 16, 0xff, 0x7f));
		assert_false(STEP(&regs, debug, 0x0f, 2, 0x77, 8, 0x48, 0x09, 16, 0xff, 0x7f));
	}
}

static void test_rules_at_a_pc(void **state)
{
	(void)state;
	/* CFA = rdi, rsp in r8, rbp in r9, the return address in rdx, from the second instruction on: longjmp.
	 */
	static const uint8_t program[] = {0x44, 0x0c, 5, 0, 0x09, 7, 8, 0x09, 6, 9, 0x09, 16, 1};
	struct rows *rows = rows_of(program, sizeof program, false);
	struct fde fde;
	struct cfi_entry entry;
	struct cfi_state rules;
	assert_true(rows_fde(rows, rows_find(rows, PC + 4), &fde));
	assert_true(rows_entry(rows, &fde, &entry));
	assert_true(cfi_is_harmless(&entry));
	assert_true(cfi_state_at(&entry, PC + 3, &rules));
	assert_int_equal(rules.cfa_register, AMD64_RSP);
	assert_int_equal(rules.ra.kind, CFI_AT);
	assert_true(cfi_state_at(&entry, PC + 4, &rules));
	assert_int_equal(rules.cfa_register, AMD64_RDI);
	assert_int_equal(rules.rsp.kind, CFI_REGISTER);
	assert_int_equal(rules.rsp.value, AMD64_R8);
	assert_int_equal(rules.rbp.value, AMD64_R9);
	assert_int_equal(rules.ra.value, AMD64_RDX);
	assert_false(cfi_state_at(&entry, PC + LENGTH, &rules));
	rows_free(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_sections_are_evaluated),
		cmocka_unit_test(test_what_libunwind_cannot_bear_is_refused),
		cmocka_unit_test(test_rules_at_a_pc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
