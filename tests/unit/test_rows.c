/* Call frame information by hand, one rule at a time; then that of real files against readelf. */
#include "unwind/rows.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PC = 0x1000, LENGTH = 0x100 };

/* A section under construction. */
struct writer {
	uint8_t v[1 << 17];
	size_t n;
	bool debug, wide;
};

static struct writer section;

static void put(uint64_t value, size_t size)
{
	assert_true(section.n + size <= sizeof section.v);
	memcpy(section.v + section.n, &value, size);
	section.n += size;
}

static size_t begin(void)
{
	if (section.wide)
		put(0xffffffff, 4);
	size_t at = section.n;
	put(0, section.wide ? 8 : 4);
	return at;
}

static void end(size_t at)
{
	size_t size = section.wide ? 8 : 4;
	uint64_t length = section.n - at - size;
	memcpy(section.v + at, &length, size);
}

/* Code in steps of 1, data in steps of -8; CFA = rsp + 8, the return address at CFA - 8. */
static void put_cie(const void *program, size_t len)
{
	static const uint8_t head[] = {1, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x90, 1};
	size_t at = begin();
	put(section.debug ? UINT64_MAX : 0, section.wide && section.debug ? 8 : 4);
	for (size_t i = 0; i < sizeof head; i++)
		put(head[i], 1);
	for (size_t i = 0; i < len; i++)
		put(((const uint8_t *)program)[i], 1);
	end(at);
}

static void put_fde(uint64_t pc, uint64_t length, const void *program, size_t len)
{
	size_t at = begin();
	put(section.debug ? 0 : section.n, section.wide && section.debug ? 8 : 4);
	put(pc, 8);
	put(length, 8);
	for (size_t i = 0; i < len; i++)
		put(((const uint8_t *)program)[i], 1);
	end(at);
}

static void start_over(bool debug, bool wide)
{
	section.n = 0;
	section.debug = debug;
	section.wide = wide;
}

static struct rows *compiled(void)
{
	struct rows *rows = rows_from_bytes(section.v, section.n, 0, section.debug);
	assert_non_null(rows);
	return rows;
}

static struct rows *one(const void *program, size_t len)
{
	start_over(false, false);
	put_cie(NULL, 0);
	put_fde(PC, LENGTH, program, len);
	return compiled();
}

#define ONE(...) one((const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__})

static void expect(const struct rows *rows, uint64_t at, enum row_kind kind, int cfa, int rbp)
{
	const struct row *row = rows_find(rows, at);
	if (kind == ROW_NONE) {
		assert_null(row);
		return;
	}
	assert_non_null(row);
	assert_int_equal(row->kind, kind);
	if (kind != ROW_EXPRESSION)
		assert_int_equal(row->cfa, cfa);
	assert_int_equal(row->rbp, rbp);
}

/* push %rbp; mov %rsp,%rbp; ... leave; ret, and what follows the ret. */
static void test_frame_pointer(void **state)
{
	(void)state;
	struct rows *rows =
		ONE(0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x02, 0x50, 0x0a, 0x0c, 7, 8, 0xc6, 0x41, 0x0b);
	expect(rows, PC - 1, ROW_NONE, 0, 0);
	expect(rows, PC, ROW_RSP, 8, 0);
	expect(rows, PC + 1, ROW_RSP, 16, -16);
	expect(rows, PC + 3, ROW_RSP, 16, -16);
	expect(rows, PC + 4, ROW_RBP, 16, -16);
	expect(rows, PC + 0x53, ROW_RBP, 16, -16);
	expect(rows, PC + 0x54, ROW_RSP, 8, 0);
	expect(rows, PC + 0x55, ROW_RBP, 16, -16);
	expect(rows, PC + LENGTH - 1, ROW_RBP, 16, -16);
	expect(rows, PC + LENGTH, ROW_NONE, 0, 0);
	assert_int_equal(rows_function_start(rows, rows_find(rows, PC + 0x60)), PC);
	rows_free(rows);
}

static void test_kinds(void **state)
{
	(void)state;
	struct fde fde;
	struct rows *rows = ONE(0x07, 16); /* undefined ra */
	expect(rows, PC, ROW_ROOT, 0, 0);
	rows_free(rows);
	rows = ONE(0x0f, 2, 0x77, 8); /* def_cfa_expression: breg7 8 */
	expect(rows, PC, ROW_EXPRESSION, 0, 0);
	assert_true(rows_fde(rows, rows_find(rows, PC), &fde));
	assert_int_equal(fde.start, PC);
	assert_int_equal(fde.end, PC + LENGTH);
	rows_free(rows);
	rows = ONE(0x0f, 3, 0x2f, 0xfd, 0xff); /* a branch backwards: never to the evaluator */
	expect(rows, PC, ROW_NONE, 0, 0);
	rows_free(rows);
	rows = ONE(0x0c, 10, 0); /* CFA = r10 */
	expect(rows, PC, ROW_EXPRESSION, 0, 0);
	rows_free(rows);
	rows = ONE(0x0b); /* restore without remember: the rest of the program is not believed */
	assert_non_null(rows);
	rows_free(rows);
}

static void test_forms_and_terminator(void **state)
{
	(void)state;
	static const uint8_t program[] = {0x03, 0x10, 0x00, 0x0e, 32};
	for (int i = 0; i < 4; i++) {
		start_over(i & 1, i & 2);
		put_cie(NULL, 0);
		put_fde(PC, LENGTH, program, sizeof program);
		put(0, 4); /* a terminator in the middle */
		put_fde(PC + LENGTH, LENGTH, NULL, 0);
		struct rows *rows = compiled();
		expect(rows, PC + 0xf, ROW_RSP, 8, 0);
		expect(rows, PC + 0x10, ROW_RSP, 32, 0);
		expect(rows, PC + LENGTH, ROW_RSP, 8, 0);
		assert_int_equal(rows_function_start(rows, rows_find(rows, PC + LENGTH + 1)), PC + LENGTH);
		expect(rows, PC + 2 * LENGTH, ROW_NONE, 0, 0);
		rows_free(rows);
	}
}

static void test_truncated_anywhere(void **state)
{
	(void)state;
	static const uint8_t program[] = {0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6};
	for (int i = 0; i < 4; i++) {
		start_over(i & 1, i & 2);
		put_cie(NULL, 0);
		put_fde(PC, LENGTH, program, sizeof program);
		for (size_t len = 0; len < section.n; len++) {
			struct rows *rows = rows_from_bytes(section.v, len, 0, section.debug);
			assert_non_null(rows);
			assert_int_equal(rows_count(rows), 0);
			rows_free(rows);
		}
	}
}

/* One long CIE program under many functions would be run for each of them: minutes of work from a file of 100
 * KB. */
static void test_work_is_bounded(void **state)
{
	(void)state;
	static const uint8_t nops[60000];
	start_over(false, false);
	put_cie(nops, sizeof nops);
	for (uint64_t i = 0; i < 2000; i++)
		put_fde(PC + i * LENGTH, LENGTH, NULL, 0);
	struct rows *rows = compiled();
	expect(rows, PC, ROW_RSP, 8, 0);
	expect(rows, PC + 1999 * LENGTH, ROW_NONE, 0, 0); /* not reached */
	rows_free(rows);
}

/* ---- real files ---- */

static void compare_with_readelf(const char *path)
{
	char command[512], line[4096], cfa[64], expected[64];
	struct error err;
	struct image *image = image_open(open(path, O_RDONLY), path, &err);
	assert_non_null(image);
	struct rows *rows = rows_compile(image, false);
	size_t compared = 0;
	snprintf(command, sizeof command, "LC_ALL=C readelf --debug-dump=frames-interp '%s' 2>/dev/null", path);
	FILE *pipe = popen(command, "r");
	assert_non_null(pipe);
	while (fgets(line, sizeof line, pipe) != NULL) {
		unsigned long at;
		if (strspn(line, "0123456789abcdef") != 16 || line[16] != ' ' || strstr(line, "CIE") != NULL ||
			strstr(line, "FDE") != NULL || sscanf(line, "%lx %63s", &at, cfa) != 2 || at == 0)
			continue;
		const struct row *row = rows_find(rows, at);
		assert_non_null(row);
		if (row->kind != ROW_RSP && row->kind != ROW_RBP)
			continue;
		snprintf(expected, sizeof expected, "%s%+d", row->kind == ROW_RSP ? "rsp" : "rbp", row->cfa);
		assert_string_equal(cfa, expected);
		compared++;
	}
	pclose(pipe);
	print_message("%s: %zu rows\n", path, compared);
	assert_true(compared > 20);
	rows_free(rows);
	image_free(image);
}

static void test_real(void **state)
{
	(void)state;
	char self[512];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
	assert_true(len > 0);
	self[len] = '\0';
	compare_with_readelf(self);
	compare_with_readelf("/lib/x86_64-linux-gnu/libc.so.6");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame_pointer),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_forms_and_terminator),
		cmocka_unit_test(test_truncated_anywhere),
		cmocka_unit_test(test_work_is_bounded),
		cmocka_unit_test(test_real),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
