/* The symbols room against programs that are compiled here, where every answer is known from the source. */
#include "symbols/arena.h"
#include "symbols/demangle.h"
#include "symbols/symbolizer.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_ADDRESSES = 4096 };

static char folder[64];

/* Line numbers in this source are in the checks below. */
static const char inline_source[] = "namespace outer { namespace {\n"
				    "template <class T> inline __attribute__((always_inline)) T leaf(T x)\n"
				    "{\n"
				    "	asm volatile(\".globl probe\\nprobe: nop\");\n"
				    "	return x + 1;\n"
				    "}\n"
				    "inline __attribute__((always_inline)) int middle(int x)\n"
				    "{\n"
				    "	return leaf<int>(x) * 2;\n"
				    "}\n"
				    "}\n"
				    "__attribute__((noinline)) int top(int x)\n"
				    "{\n"
				    "	return middle(x) - 3;\n"
				    "}\n"
				    "}\n"
				    "int main(int argc, char **)\n"
				    "{\n"
				    "	return outer::top(argc);\n"
				    "}\n";

static void file_write(const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* Runs a command in the folder; false when it fails. */
static bool run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static bool run(const char *format, ...)
{
	char command[1024], full[1200];
	va_list args;
	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	snprintf(full, sizeof(full), "cd %s && { %s; } >out 2>err", folder, command);
	return system(full) == 0;
}

static struct image *open_path(const char *path)
{
	struct error err;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	struct image *image = image_open(fd, path, &err);
	assert_non_null(image);
	return image;
}

static struct image *open_in_folder(const char *name)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return open_path(path);
}

/* The address of a symbol, as nm(1) says. */
static uint64_t address_of(const char *program, const char *symbol)
{
	char path[256], line[512], name[400];
	unsigned long long value, found = 0;
	assert_true(run("nm %s", program));
	snprintf(path, sizeof(path), "%s/out", folder);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "%llx %*c %399s", &value, name) == 2 && strcmp(name, symbol) == 0)
			found = value;
	fclose(file);
	assert_true(found != 0);
	return found;
}

/* One address of one image; the answer lives as long as *symbolizer. */
static struct symbolized ask(
	struct symbolizer **symbolizer, const struct image *image, uint64_t pc, struct symbol_quality *quality)
{
	struct symbolized out;
	*symbolizer = symbolizer_new();
	assert_non_null(*symbolizer);
	assert_int_equal(symbolizer_image(*symbolizer, image, &pc, 1, &out, quality), 0);
	return out;
}

static void check_line(const struct source_line *line, const char *function, uint32_t number, uint32_t start)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/inline.cpp", folder);
	if (strstr(line->function, function) == NULL || line->line != number)
		print_error("%s:%u: wanted %s:%u\n", line->function, line->line, function, number);
	assert_non_null(strstr(line->function, function));
	assert_int_equal(line->line, number);
	assert_int_equal(line->start_line, start);
	assert_string_equal(line->file, path);
}

/* `names`: the debug information has namespaces and declarations, too. */
static void check_inline(const char *compiler, const char *flags, bool names)
{
	struct symbolizer *symbolizer;
	struct symbol_quality quality;
	if (!run("%s %s -o inline inline.cpp", compiler, flags)) {
		print_message("not compiled here: %s %s\n", compiler, flags);
		return;
	}
	struct image *image = open_in_folder("inline");
	struct symbolized out = ask(&symbolizer, image, address_of("inline", "probe"), &quality);
	print_message("%s %s\n", compiler, flags);
	assert_int_equal(out.n, 3);
	check_line(&out.lines[0], names ? "outer::(anonymous namespace)::leaf<int>" : "leaf<int>", 4,
		names ? 2 : 0);
	check_line(&out.lines[1], names ? "outer::(anonymous namespace)::middle" : "middle", 9, names ? 7 : 0);
	check_line(&out.lines[2], "outer::top(int)", 14, names ? 12 : 0);
	assert_string_equal(out.lines[2].system_name, "_ZN5outer3topEi");
	assert_string_equal(quality.source, "DWARF");
	assert_true(quality.complete);
	assert_int_equal(quality.addresses, 1);
	assert_int_equal(quality.with_function, 1);
	assert_int_equal(quality.with_line, 1);
	symbolizer_free(symbolizer);
	image_free(image);
}

static void test_inlined_chain(void **state)
{
	(void)state;
	file_write("inline.cpp", inline_source);
	assert_true(run("g++ --version")); /* the one compiler that must be there */
	static const char *const flags[] = {"-O2 -gdwarf-5", "-O2 -gdwarf-4", "-O2 -gdwarf-3", "-O2 -gdwarf-2",
		"-O0 -g", "-O2 -g -gz", "-O2 -g -fdebug-types-section", "-O2 -g -static", "-O2 -g -flto",
		"-O2 -g -no-pie -ffunction-sections -Wl,--gc-sections"};
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		check_inline("g++", flags[i], true);
		check_inline("clang++", flags[i], true);
	}
	check_inline("clang++", "-O2 -gline-tables-only", false);
}

/* Split DWARF: the line is in the program, the functions are in a file beside it, or nowhere. */
static void test_split(void **state)
{
	struct symbolizer *symbolizer;
	struct symbol_quality quality;
	(void)state;
	file_write("inline.cpp", inline_source);
	assert_true(run("g++ -O2 -g -gsplit-dwarf -o split inline.cpp"));
	struct image *image = open_in_folder("split");
	struct symbolized out = ask(&symbolizer, image, address_of("split", "probe"), &quality);
	assert_int_equal(out.n, 3);
	assert_true(quality.complete);
	symbolizer_free(symbolizer);
	assert_true(run("rm *.dwo"));
	out = ask(&symbolizer, image, address_of("split", "probe"), &quality);
	assert_int_equal(out.n, 1);
	assert_string_equal(out.lines[0].function, "outer::top(int)");
	assert_int_equal(out.lines[0].line, 4);
	assert_false(quality.complete);
	assert_int_equal(quality.n_missing, 1);
	symbolizer_free(symbolizer);
	image_free(image);
}

/* Compares with the output of addr2line -a -f -i in `file`: depth and lines. Returns how many lines were
 * compared. */
static size_t compare(FILE *file, const uint64_t *pcs, const struct symbolized *out, size_t n)
{
	char text[2048];
	size_t at = 0, depth = 0, compared = 0;
	bool begun = false;
	while (fgets(text, sizeof(text), file) != NULL) {
		if (strncmp(text, "0x", 2) == 0) {
			if (begun && depth != 0)
				assert_int_equal(out[at].n, depth);
			at += begun;
			begun = true;
			depth = 0;
			assert_true(at < n);
			assert_int_equal(strtoull(text, NULL, 16), pcs[at]);
			continue;
		}
		assert_non_null(fgets(text, sizeof(text), file)); /* after the function */
		unsigned line = (unsigned)strtoul(strrchr(text, ':') + 1, NULL, 10);
		if (line == 0)
			continue;
		assert_true(depth < out[at].n);
		assert_int_equal(out[at].lines[depth].line, line);
		depth++;
		compared++;
	}
	assert_int_equal(at + 1, n);
	return compared;
}

static void test_against_addr2line(void **state)
{
	static uint64_t pcs[MAX_ADDRESSES];
	static struct symbolized out[MAX_ADDRESSES];
	struct symbol_quality quality;
	struct section text;
	char path[256];
	(void)state;
	file_write("sort.cpp",
		"#include <algorithm>\n#include <map>\n#include <string>\n#include <vector>\n"
		"int f(std::vector<int> &v, std::map<std::string, int> &m) {\n"
		"	std::sort(v.begin(), v.end(), [](int a, int b) { return a % 10 < b % 10; });\n"
		"	for (int x : v) m[std::to_string(x)]++;\n"
		"	return (int)m.size();\n}\n"
		"int main() { std::vector<int> v{3, 1, 2}; std::map<std::string, int> m; return f(v, m); }\n");
	assert_true(run("g++ -O2 -g -o sort sort.cpp"));
	struct image *image = open_in_folder("sort");
	assert_true(image_section(image, ".text", &text));
	size_t n = 0;
	file_write("addresses", "");
	snprintf(path, sizeof(path), "%s/addresses", folder);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	for (uint64_t at = 0; at < text.size && n < MAX_ADDRESSES; at += 3, n++) {
		/* Not in order, as they come from stacks. */
		pcs[n] = text.vaddr + (at * 7919) % text.size;
		fprintf(file, "0x%llx\n", (unsigned long long)pcs[n]);
	}
	fclose(file);
	assert_true(run("addr2line -a -f -i -e sort < addresses"));
	struct symbolizer *symbolizer = symbolizer_new();
	assert_int_equal(symbolizer_image(symbolizer, image, pcs, n, out, &quality), 0);
	snprintf(path, sizeof(path), "%s/out", folder);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_true(compare(file, pcs, out, n) > n);
	fclose(file);
	symbolizer_free(symbolizer);
	image_free(image);
}

/* Where this program was loaded. */
static int own_base(struct dl_phdr_info *info, size_t size, void *base)
{
	(void)size;
	*(uint64_t *)base = info->dlpi_addr;
	return 1; /* the program itself is the first */
}

static void test_itself(void **state)
{
	struct symbolizer *symbolizer;
	struct symbol_quality quality;
	uint64_t base = 0;
	(void)state;
	dl_iterate_phdr(own_base, &base);
	struct image *image = open_path("/proc/self/exe");
	uint64_t address = (uint64_t)(uintptr_t)&test_itself - base;
	struct symbolized out = ask(&symbolizer, image, address, &quality);
	assert_true(out.n >= 1);
	assert_string_equal(out.lines[out.n - 1].system_name, "test_itself");
	symbolizer_free(symbolizer);
	image_free(image);
}

static void check_name(const struct image *image, const char *at, uint64_t plus, const char *wanted)
{
	struct symbolizer *symbolizer;
	struct symbol_quality quality;
	struct symbolized out = ask(&symbolizer, image, address_of("names", at) + plus, &quality);
	assert_int_equal(out.n, wanted == NULL ? 0 : 1);
	if (wanted != NULL)
		assert_string_equal(out.lines[0].system_name, wanted);
	symbolizer_free(symbolizer);
}

static void test_alias_rules(void **state)
{
	(void)state;
	file_write("names.s",
		"	.text\n"
		"	.globl global_one\n	.weak a_weak\n"
		"	.type a_local, @function\n	.type a_weak, @function\n	.type global_one, "
		"@function\n"
		"a_local:\na_weak:\nglobal_one:\nlabel:\n	nop\n	nop\n	ret\n"
		"	.size a_local, 3\n	.size a_weak, 3\n	.size global_one, 3\n"
		"after:\n	.size after, 0\n	nop\n	nop\n"
		"	.type pair_local, @function\n	.type pair_weak, @function\n	.weak pair_weak\n"
		"pair_local:\npair_weak:\n	nop\n	ret\n	.size pair_local, 2\n	.size pair_weak, "
		"2\n	nop\n"
		"	.section .text.other, \"ax\", @progbits\n	.p2align 4\n"
		"$mapping:\nother_start:\n	nop\n	.globl _start\n_start:\n	ret\n");
	assert_true(run("gcc -nostdlib -static -o names names.s"));
	struct image *image = open_in_folder("names");
	check_name(image, "global_one", 0, "global_one");
	check_name(image, "global_one", 2, "global_one");
	check_name(image, "global_one", 3, "after"); /* not the size-0 label inside */
	check_name(image, "after", 1, "after");
	check_name(image, "pair_weak", 1, "pair_weak");
	check_name(image, "pair_weak", 2, NULL); /* `after` ended where a sized function began */
	check_name(image, "_start", 0, "_start");
	check_name(image, "_start", 1, NULL); /* the section ends */
	image_free(image);
}

/* The name in the DWARF decides among aliases, against the order GLOBAL, WEAK, LOCAL. */
static void test_alias_dwarf_name(void **state)
{
	struct symbolizer *symbolizer;
	struct symbol_quality quality;
	(void)state;
	file_write("alias.c", "static __attribute__((noinline, used)) int the_one(int x) { return x * 3; }\n"
			      "int aaa(int) __attribute__((alias(\"the_one\")));\n"
			      "int zzz(int) __attribute__((alias(\"the_one\")));\n"
			      "int main(int argc, char **argv) { (void)argv; return the_one(argc); }\n");
	assert_true(run("gcc -O2 -g -o alias alias.c"));
	struct image *image = open_in_folder("alias");
	uint64_t pc = address_of("alias", "the_one");
	struct symbolized out = ask(&symbolizer, image, pc, &quality);
	assert_int_equal(out.n, 1);
	assert_string_equal(out.lines[0].system_name, "the_one");
	symbolizer_free(symbolizer);
	image_free(image);

	assert_true(run("strip -g alias"));
	image = open_in_folder("alias");
	out = ask(&symbolizer, image, pc, &quality);
	assert_int_equal(out.n, 1);
	assert_true(
		strcmp(out.lines[0].system_name, "aaa") == 0 || strcmp(out.lines[0].system_name, "zzz") == 0);
	assert_string_equal(quality.source, "ELF symbols");
	assert_false(quality.complete);
	assert_int_equal(quality.with_line, 0);
	symbolizer_free(symbolizer);
	image_free(image);
}

/* A stripped library has the names it exports; versions are no part of a name. */
static void test_dynamic_names(void **state)
{
	struct symbolizer *symbolizer;
	struct symbol_quality quality;
	(void)state;
	file_write(
		"lib.c", "__asm__(\".symver inner, outer_name@@V1\");\nint inner(int x) { return x + 1; }\n");
	file_write("lib.map", "V1 { global: outer_name; local: *; };\n");
	assert_true(run("gcc -O2 -shared -fPIC -Wl,--version-script=lib.map -o lib.so lib.c"));
	uint64_t pc = address_of("lib.so", "inner");
	struct image *image = open_in_folder("lib.so");
	struct symbolized out = ask(&symbolizer, image, pc, &quality);
	assert_int_equal(out.n, 1);
	assert_null(strchr(out.lines[0].system_name, '@'));
	symbolizer_free(symbolizer);
	image_free(image);
	assert_true(run("strip lib.so"));
	image = open_in_folder("lib.so");
	out = ask(&symbolizer, image, pc, &quality);
	assert_int_equal(out.n, 1);
	assert_string_equal(out.lines[0].function, "outer_name");
	assert_string_equal(quality.source, "dynamic symbols");
	symbolizer_free(symbolizer);
	image_free(image);
}

/* How many 16-byte stubs of a section have this name. */
static size_t stubs_named(const struct image *image, const char *section_name, const char *name)
{
	struct section section;
	struct symbol_quality quality;
	size_t count = 0;
	if (!image_section(image, section_name, &section))
		return 0;
	for (uint64_t at = 0; at < section.size; at += 8) {
		struct symbolizer *symbolizer;
		struct symbolized out = ask(&symbolizer, image, section.vaddr + at, &quality);
		count += out.n == 1 && strcmp(out.lines[0].function, name) == 0;
		symbolizer_free(symbolizer);
	}
	return count;
}

static void test_plt(void **state)
{
	static const char *const flags[] = {"", "-fcf-protection=none", "-Wl,-z,ibtplt", "-Wl,-z,now"};
	(void)state;
	file_write("plt.c", "#include <stdio.h>\n#include <stdlib.h>\nint (*volatile p)(const char *) = puts;\n"
			    "int main(void) { p = puts; puts(getenv(\"HOME\")); abort(); }\n");
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		assert_true(run("gcc -O2 -fPIE -pie %s -o plt plt.c", flags[i]));
		struct image *image = open_in_folder("plt");
		assert_true(stubs_named(image, ".plt", "getenv@plt") +
				    stubs_named(image, ".plt.sec", "getenv@plt") +
				    stubs_named(image, ".plt.got", "getenv@plt") >=
			    2);
		assert_true(stubs_named(image, ".plt", "puts@plt") +
				    stubs_named(image, ".plt.sec", "puts@plt") +
				    stubs_named(image, ".plt.got", "puts@plt") >=
			    1);
		image_free(image);
	}
}

static void test_vdso(void **state)
{
	struct symbol_quality quality;
	struct section text;
	struct error err;
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)getauxval(AT_SYSINFO_EHDR);
	(void)state;
	if (header == NULL) {
		print_message("no vdso here\n");
		skip();
	}
	size_t len = header->e_shoff + (size_t)header->e_shnum * header->e_shentsize;
	struct image *image = image_from_memory(header, len, "[vdso]", &err);
	assert_non_null(image);
	assert_true(image_section(image, ".text", &text));
	bool found = false;
	for (uint64_t at = 0; at < text.size; at += 16) {
		struct symbolizer *symbolizer;
		struct symbolized out = ask(&symbolizer, image, text.vaddr + at, &quality);
		found |= out.n == 1 && strstr(out.lines[0].function, "clock_gettime") != NULL;
		symbolizer_free(symbolizer);
	}
	assert_true(found);
	image_free(image);
}

static void test_unknown_and_repeated(void **state)
{
	struct symbol_quality quality;
	struct symbolized out[5];
	(void)state;
	file_write("inline.cpp", inline_source);
	assert_true(run("g++ -O2 -g -o inline inline.cpp"));
	uint64_t pc = address_of("inline", "probe");
	const uint64_t pcs[5] = {UINT64_MAX, pc, 0, pc, 1};
	struct image *image = open_in_folder("inline");
	struct symbolizer *symbolizer = symbolizer_new();
	assert_int_equal(symbolizer_image(symbolizer, image, pcs, 5, out, &quality), 0);
	assert_int_equal(out[0].n + out[2].n + out[4].n, 0);
	assert_int_equal(out[1].n, 3);
	assert_int_equal(out[3].n, 3);
	assert_int_equal(quality.addresses, 5);
	assert_int_equal(quality.with_line, 2);
	assert_int_equal(symbolizer_image(symbolizer, image, pcs, 0, out, &quality), 0);
	assert_int_equal(quality.addresses, 0);
	symbolizer_free(symbolizer);
	image_free(image);
}

/* DIEs nested 400,000 deep, which end a recursive reader. */
/* Ends the test by SIGPROF when it uses more CPU time than that; 0: no limit. */
static void limit_cpu(time_t seconds)
{
	struct itimerval limit = {.it_value = {.tv_sec = seconds}};
	assert_int_equal(setitimer(ITIMER_PROF, &limit, NULL), 0);
}

static void test_deep_nesting(void **state)
{
	struct symbolizer *symbolizer;
	struct symbol_quality quality;
	(void)state;
	file_write("deep.s",
		"	.text\n	.globl _start\n_start:\nbegin:\n	nop\n	ret\nend:\n"
		"	.section .debug_abbrev,\"\",@progbits\n"
		"	.byte 1,0x11,1, 0x11,1, 0x12,7, 0,0\n" /* unit: low_pc, high_pc data8 */
		"	.byte 2,0x2e,1, 3,8, 0x11,1, 0x12,7, 0,0\n" /* subprogram: name, low_pc, high_pc */
		"	.byte 3,0x0b,1, 0,0\n" /* lexical block */
		"	.byte 0\n"
		"	.section .debug_info,\"\",@progbits\n"
		"	.long e - s\ns:	.value 4\n	.long 0\n	.byte 8\n"
		"	.byte 1\n	.quad begin, end - begin\n"
		"	.byte 2\n	.asciz \"deep\"\n	.quad begin, end - begin\n"
		"	.rept 400000\n	.byte 3\n	.endr\n	.rept 400002\n	.byte 0\n	.endr\ne:\n");
	assert_true(
		run("gcc -nostdlib -static -o deep deep.s && strip --strip-symbol=_start --strip-symbol=begin "
		    "--strip-symbol=end -o deep2 deep"));
	struct image *image = open_in_folder("deep2");
	limit_cpu(20);
	struct symbolized out = ask(&symbolizer, image, address_of("deep", "begin"), &quality);
	limit_cpu(0);
	assert_int_equal(out.n, 1);
	assert_string_equal(out.lines[0].function, "deep");
	symbolizer_free(symbolizer);
	image_free(image);
}

/* Damaged files: any answer is right that comes in time and can be read. */
static void test_damage(void **state)
{
	struct symbol_quality quality;
	static struct symbolized out[256];
	uint64_t pcs[256], seed = 12345;
	size_t answers = 0;
	struct error err;
	(void)state;
	file_write("inline.cpp", inline_source);
	assert_true(run("g++ -O2 -g -o inline inline.cpp"));
	struct image *whole = open_in_folder("inline");
	size_t len;
	image_bytes(whole, &len);
	uint8_t *bytes = malloc(len), *copy = malloc(len);
	assert_int_equal(image_read(whole, 0, bytes, len), len);
	uint64_t probe = address_of("inline", "probe");
	for (size_t i = 0; i < 256; i++)
		pcs[i] = probe - 128 + i;
	limit_cpu(120);
	for (int round = 0; round < 300; round++) {
		memcpy(copy, bytes, len);
		for (int i = 0; i < 1 + round % 50; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			copy[64 + (seed >> 33) % (len - 64)] = (uint8_t)(seed >> 25);
		}
		size_t kept = round % 10 == 9 ? len - (size_t)(seed >> 33) % len / 2 : len;
		struct image *image = image_from_memory(copy, kept, "damaged", &err);
		if (image == NULL)
			continue;
		struct symbolizer *symbolizer = symbolizer_new();
		assert_int_equal(symbolizer_image(symbolizer, image, pcs, 256, out, &quality), 0);
		for (size_t i = 0; i < 256; i++)
			for (size_t k = 0; k < out[i].n; k++)
				answers +=
					strlen(out[i].lines[k].function) != 0 && out[i].lines[k].file != NULL;
		symbolizer_free(symbolizer);
		image_free(image);
	}
	limit_cpu(0);
	assert_true(answers > 10000); /* most rounds damage something else */
	free(bytes);
	free(copy);
	image_free(whole);
}

static void test_demangle(void **state)
{
	static const char *const names[][2] = {{"main", "main"}, {"_ZN5outer3topEi", "outer::top(int)"},
		{"_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"},
		{"_RNvC6_123foo3bar", "123foo::bar"}, {"_D8demangle4testFZv", "demangle.test()"},
		{"_Znot_mangled", "_Znot_mangled"}, {"", ""}};
	struct arena *arena = arena_new();
	struct demangler *demangler = demangler_new(arena);
	(void)state;
	for (int round = 0; round < 2; round++) /* the second time from the cache */
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			const char *name = arena_string(arena, names[i][0], strlen(names[i][0]));
			assert_string_equal(demangle(demangler, name), names[i][1]);
		}
	arena_free(arena);
}

/* Each argument is made of two of the argument before: 300 bytes that stand for 2^30 names. */
static void test_hostile_name(void **state)
{
	char text[1024] = "_Z1f1aIiiE";
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	struct arena *arena = arena_new();
	struct demangler *demangler = demangler_new(arena);
	struct timespec before, after;
	(void)state;
	for (size_t i = 0; i < 30; i++) {
		size_t len = strlen(text);
		snprintf(text + len, sizeof(text) - len, "S_IS%c_S%c_E", digits[i], digits[i]);
	}
	const char *name = arena_string(arena, text, strlen(text));
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_ptr_equal(demangle(demangler, name), name);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(after.tv_sec - before.tv_sec < 2);
	/* The same, with fewer arguments, is a name: the one above fails for its length. */
	text[strlen("_Z1f1aIiiES_IS0_S0_E")] = '\0';
	name = arena_string(arena, text, strlen(text));
	assert_string_equal(demangle(demangler, name), "f(a<int, int>, a<a<int, int>, a<int, int> >)");
	arena_free(arena);
}

static int folder_make(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/test_symbolizer.XXXXXX");
	return mkdtemp(folder) == NULL ? -1 : 0;
}

static int folder_remove(void **state)
{
	char command[128];
	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inlined_chain),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_against_addr2line),
		cmocka_unit_test(test_itself),
		cmocka_unit_test(test_alias_rules),
		cmocka_unit_test(test_alias_dwarf_name),
		cmocka_unit_test(test_dynamic_names),
		cmocka_unit_test(test_plt),
		cmocka_unit_test(test_vdso),
		cmocka_unit_test(test_unknown_and_repeated),
		cmocka_unit_test(test_deep_nesting),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_demangle),
		cmocka_unit_test(test_hostile_name),
	};
	return cmocka_run_group_tests_name("symbolizer", tests, folder_make, folder_remove);
}
