/* Names, files, lines and inlined calls of a Go program, against what its own runtime says of the same
 * addresses: each program expands some thousand of its pcs as its tracebacks and profiles do, and prints the
 * frames. Built plain, stripped, and position independent. TRUTH_GO chooses another release of Go. */
#include "symbols/symbolizer.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ADDRESSES_MAX = 4096, FRAMES_MAX = 32 };

static const char program_source[] =
	"package main\n"
	"import (\"bufio\"; \"fmt\"; \"os\"; \"runtime\"; \"sort\"; \"strings\"; _ \"unsafe\")\n"
	"//go:linkname expand runtime/pprof.runtime_expandFinalInlineFrame\n"
	"func expand(stk []uintptr) []uintptr\n"
	"func Map[T, U any](v []T, f func(T) U) (out []U) { for _, x := range v { out = append(out, f(x)) }; "
	"return }\n"
	"type shape struct{ w, h int }\n"
	"func (s *shape) area() int { return twice(s.w) * s.h }\n"
	"func twice(x int) int { return once(x) + once(x) }\n"
	"func once(x int) int { if x < 0 { return -x }; return x }\n"
	"func main() {\n"
	"	words := Map(strings.Fields(\"b c a\"), func(s string) int { return (&shape{len(s), 2}).area() "
	"})\n"
	"	sort.Ints(words)\n"
	"	out := bufio.NewWriter(os.Stdout)\n"
	"	defer out.Flush()\n"
	"	maps, _ := os.ReadFile(\"/proc/self/maps\")\n"
	"	for _, line := range strings.Split(string(maps), \"\\n\") {\n"
	"		var start, end, offset uintptr\n"
	"		if !strings.Contains(line, \"r-xp\") || !strings.Contains(line, os.Args[0]) { continue "
	"}\n"
	"		fmt.Sscanf(line, \"%x-%x r-xp %x\", &start, &end, &offset)\n"
	"		for pc := start; pc < end; pc += (end - start) / 3000 {\n"
	"			if f := runtime.FuncForPC(pc + 1); f == nil || f.Entry() == pc + 1 || f.Name() "
	"== \"\" { continue }\n"
	"			fmt.Fprintf(out, \"= %x\\n\", pc - start + offset)\n"
	"			frames := runtime.CallersFrames(expand([]uintptr{pc + 1}))\n"
	"			for {\n"
	"				frame, more := frames.Next()\n"
	"				fmt.Fprintf(out, \"%d\\t%s\\t%s\\n\", frame.Line, frame.Function, "
	"frame.File)\n"
	"				if !more { break }\n"
	"			}\n"
	"		}\n"
	"	}\n"
	"}\n";

struct frame_truth {
	uint32_t line;
	char function[512], file[512];
};

struct truth {
	uint64_t offset;
	struct frame_truth frames[FRAMES_MAX];
	size_t n;
};

static char directory[] = "/tmp/test_gosymbols.XXXXXX";

static const char *go_tool(void)
{
	if (getenv("TRUTH_GO") != NULL)
		return getenv("TRUTH_GO");
	if (system("command -v go >/dev/null 2>&1") == 0)
		return "go";
	return access("/usr/local/go/bin/go", X_OK) == 0 ? "/usr/local/go/bin/go" : NULL;
}

static void build(const char *name, const char *flags, char *program, size_t size)
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
	fputs(program_source, file);
	fclose(file);
	/* A pull by linkname needs a package that has an assembler file, or the flag that says so. */
	snprintf(command, sizeof command, "GO111MODULE=off %s build -gcflags=-complete=false %s -o %s %s", go,
		flags, program, path);
	assert_int_equal(system(command), 0);
}

/* Runs the program; its answers, one for each address. */
static struct truth *ask_program(const char *program, size_t *n)
{
	struct truth *truths = calloc(ADDRESSES_MAX, sizeof *truths), *last = truths - 1;
	char line[2048];
	FILE *pipe = popen(program, "r");
	assert_non_null(truths);
	assert_non_null(pipe);
	while (fgets(line, sizeof line, pipe) != NULL) {
		if (line[0] == '=') {
			last++;
			assert_true(last < truths + ADDRESSES_MAX);
			assert_int_equal(sscanf(line, "= %lx", &last->offset), 1);
			continue;
		}
		struct frame_truth *frame = &last->frames[last->n++];
		assert_true(last->n < FRAMES_MAX);
		assert_true(sscanf(line, "%u\t%511[^\t]\t%511[^\n]", &frame->line, frame->function,
				    frame->file) >= 2);
		if (strcmp(frame->file, "?") == 0)
			frame->file[0] = '\0';
	}
	assert_int_equal(pclose(pipe), 0);
	*n = (size_t)(last + 1 - truths);
	return truths;
}

/* Tracebacks shorten type arguments to "[...]" (runtime.funcNameForPrint); profiles do not, and neither do we.
 */
static bool same_name(const char *name, const char *printed)
{
	const char *open = strchr(name, '['), *close = strrchr(name, ']');
	if (open == NULL || close == NULL || close < open)
		return strcmp(name, printed) == 0;
	size_t before = (size_t)(open - name);
	return strncmp(name, printed, before) == 0 && strncmp(printed + before, "[...]", 5) == 0 &&
	       strcmp(printed + before + 5, close + 1) == 0;
}

static bool is_same(const struct truth *truth, const struct symbolized *answer)
{
	/* Tracebacks leave out the method wrappers that the compiler made, and the one that reflection has. */
	const struct source_line *last = &answer->lines[answer->n - 1];
	bool wrapped = answer->n == truth->n + 1 && (strcmp(last->file, "<autogenerated>") == 0 ||
							    strcmp(last->function, "reflect.callMethod") == 0);
	if (answer->n != truth->n && !wrapped)
		return false;
	for (size_t i = 0; i < truth->n; i++)
		if (answer->lines[i].line != truth->frames[i].line ||
			!same_name(answer->lines[i].function, truth->frames[i].function) ||
			strcmp(answer->lines[i].file, truth->frames[i].file) != 0)
			return false;
	return true;
}

static void show(const struct truth *truth, const struct symbolized *answer)
{
	print_message("at file offset %#lx:\n", truth->offset);
	for (size_t i = 0; i < truth->n; i++)
		print_message("  truth %s %s:%u\n", truth->frames[i].function, truth->frames[i].file,
			truth->frames[i].line);
	for (size_t i = 0; i < answer->n; i++)
		print_message("  found %s %s:%u\n", answer->lines[i].function, answer->lines[i].file,
			answer->lines[i].line);
}

static void check(const char *name, const char *flags)
{
	char program[256];
	struct error err;
	struct symbol_quality quality;
	size_t n, wrong = 0, inlined = 0, with_line = 0;
	build(name, flags, program, sizeof program);
	struct truth *truths = ask_program(program, &n);
	struct image *image = image_open(open(program, O_RDONLY | O_CLOEXEC), program, &err);
	struct symbolizer *symbolizer = symbolizer_new();
	uint64_t *pcs = calloc(n, sizeof *pcs);
	struct symbolized *answers = calloc(n, sizeof *answers);
	assert_non_null(image);
	for (size_t i = 0; i < n; i++)
		assert_true(image_offset_to_vaddr(image, truths[i].offset, &pcs[i]));
	assert_int_equal(symbolizer_image(symbolizer, image, pcs, n, answers, &quality), 0);
	for (size_t i = 0; i < n; i++) {
		inlined += truths[i].n > 1;
		with_line += truths[i].frames[0].line != 0;
		if (is_same(&truths[i], &answers[i]))
			continue;
		if (wrong++ < 5)
			show(&truths[i], &answers[i]);
	}
	print_message("%s: %zu addresses, %zu in inlined calls, %zu differ\n", name, n, inlined, wrong);
	assert_true(n > 2000 && inlined > n / 10);
	assert_int_equal(wrong, 0);
	assert_int_equal(quality.with_line, with_line);
	assert_int_equal(quality.with_function, n);
	assert_string_equal(quality.source, "Go's function table");
	free(pcs);
	free(answers);
	free(truths);
	symbolizer_free(symbolizer);
	image_free(image);
}

static void test_plain(void **state)
{
	(void)state;
	check("plain", "");
}

static void test_stripped(void **state)
{
	(void)state;
	check("stripped", "-ldflags='-s -w'");
}

static void test_pie_stripped_trimmed(void **state)
{
	(void)state;
	check("pie", "-buildmode=pie -trimpath -ldflags='-s -w'");
}

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) == NULL ? -1 : 0;
}

static int remove_directory(void **state)
{
	char command[64];
	(void)state;
	snprintf(command, sizeof command, "rm -r %s", directory);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_stripped),
		cmocka_unit_test(test_pie_stripped_trimmed),
	};
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
