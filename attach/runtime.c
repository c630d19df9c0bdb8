#include "attach/runtime.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[RUNTIME_KINDS] = {
	[RUNTIME_UNKNOWN] = "?",
	[RUNTIME_NATIVE] = "C/C++",
	[RUNTIME_C] = "C",
	[RUNTIME_CXX] = "C++",
	[RUNTIME_RUST] = "Rust",
	[RUNTIME_GO] = "Go",
	[RUNTIME_SWIFT] = "Swift",
	[RUNTIME_FORTRAN] = "Fortran",
	[RUNTIME_ADA] = "Ada",
	[RUNTIME_D] = "D",
	[RUNTIME_JVM] = "JVM",
	[RUNTIME_PYTHON] = "Python",
	[RUNTIME_NODE] = "Node",
	[RUNTIME_RUBY] = "Ruby",
	[RUNTIME_PERL] = "Perl",
	[RUNTIME_PHP] = "PHP",
	[RUNTIME_DOTNET] = ".NET",
	[RUNTIME_MONO] = "Mono",
	[RUNTIME_ERLANG] = "Erlang",
	[RUNTIME_LUA] = "Lua",
	[RUNTIME_LUAJIT] = "LuaJIT",
	[RUNTIME_JULIA] = "Julia",
	[RUNTIME_R] = "R",
};

/* ---- by the names of files ---- */

/* A base name: `begin`, perhaps a version, `end`, and for libraries perhaps more versions. */
static const struct sign {
	const char *begin, *end;
	enum runtime_kind kind;
} programs[] =
	{
		{"java", "", RUNTIME_JVM},
		{"python", "", RUNTIME_PYTHON},
		{"pypy", "", RUNTIME_PYTHON},
		{"node", "", RUNTIME_NODE},
		{"nodejs", "", RUNTIME_NODE},
		{"ruby", "", RUNTIME_RUBY},
		{"perl", "", RUNTIME_PERL},
		{"php", "", RUNTIME_PHP},
		{"php-fpm", "", RUNTIME_PHP},
		{"php-cgi", "", RUNTIME_PHP},
		{"dotnet", "", RUNTIME_DOTNET},
		{"mono", "", RUNTIME_MONO},
		{"mono-sgen", "", RUNTIME_MONO},
		{"beam.smp", "", RUNTIME_ERLANG},
		{"beam", "", RUNTIME_ERLANG},
		{"lua", "", RUNTIME_LUA},
		{"luajit", "", RUNTIME_LUAJIT},
		{"luajit-", "", RUNTIME_LUAJIT},
		{"julia", "", RUNTIME_JULIA},
},
  libraries[] = {
	  /* Programs that load these exist to run them. */
	  {"libjvm", ".so", RUNTIME_JVM},
	  {"libnode", ".so", RUNTIME_NODE},
	  {"libcoreclr", ".so", RUNTIME_DOTNET},
	  {"libmonosgen-", ".so", RUNTIME_MONO},
	  {"libphp", ".so", RUNTIME_PHP},
	  {"libjulia", ".so", RUNTIME_JULIA},
	  {"libR", ".so", RUNTIME_R},
	  /* Many programs have these for their plugins. */
	  {"libpython", ".so", RUNTIME_PYTHON},
	  {"libruby-", ".so", RUNTIME_RUBY},
	  {"libruby", ".so", RUNTIME_RUBY},
	  {"libperl", ".so", RUNTIME_PERL},
	  {"liblua", ".so", RUNTIME_LUA},
	  {"libluajit-", ".so", RUNTIME_LUAJIT},
};

/* Digits and dots at `text`; a dot at their end does not belong to them. */
static size_t version_length(const char *text)
{
	size_t len = text[0] >= '0' && text[0] <= '9' ? strspn(text, "0123456789.") : 0;
	while (len > 0 && text[len - 1] == '.')
		len--;
	return len;
}

static void take_version(const char *text, char version[RUNTIME_VERSION])
{
	size_t len = version_length(text);
	snprintf(version, RUNTIME_VERSION, "%.*s", len < RUNTIME_VERSION ? (int)len : 0, text);
}

/* The version stands before the end (libpython3.11.so.1.0), or behind it (libperl.so.5.36). */
static bool sign_matches(const struct sign *sign, const char *base, char version[RUNTIME_VERSION])
{
	size_t begin = strlen(sign->begin), end = strlen(sign->end);
	if (strncmp(base, sign->begin, begin) != 0)
		return false;
	const char *rest = base + begin + version_length(base + begin);
	if (strncmp(rest, sign->end, end) != 0)
		return false;
	const char *more = rest + end;
	if (*more != '\0' && (end == 0 || *more != '.'))
		return false;
	bool before = version_length(base + begin) > 0;
	take_version(before ? base + begin : *more == '.' ? more + 1 : "", version);
	return true;
}

/* Where the file lies says more: .../java-17-openjdk-amd64/..., .../Microsoft.NETCore.App/8.0.1/... */
static void version_of_folder(const char *path, enum runtime_kind kind, char version[RUNTIME_VERSION])
{
	static const struct {
		enum runtime_kind kind;
		const char *before;
	} folders[] = {{RUNTIME_JVM, "/java-"}, {RUNTIME_JVM, "/jdk-"}, {RUNTIME_JVM, "/jdk"},
		{RUNTIME_DOTNET, "/Microsoft.NETCore.App/"}, {RUNTIME_ERLANG, "/erts-"}};
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		const char *at = folders[i].kind == kind ? strstr(path, folders[i].before) : NULL;
		if (at != NULL && version_length(at + strlen(folders[i].before)) > 0) {
			take_version(at + strlen(folders[i].before), version);
			return;
		}
	}
}

static bool find_sign(const struct sign *signs, size_t n, const char *path, enum runtime_kind *kind,
	char version[RUNTIME_VERSION])
{
	const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
	for (size_t i = 0; i < n; i++) {
		if (!sign_matches(&signs[i], base, version))
			continue;
		*kind = signs[i].kind;
		/* The numbers behind libjvm.so and its like are those of an interface. */
		if (*kind == RUNTIME_NODE || *kind == RUNTIME_MONO || *kind == RUNTIME_JULIA)
			version[0] = '\0';
		version_of_folder(path, *kind, version);
		return true;
	}
	return false;
}

static bool program_of_path(const char *path, enum runtime_kind *kind, char version[RUNTIME_VERSION])
{
	return find_sign(programs, sizeof programs / sizeof *programs, path, kind, version);
}

static bool library_of_path(const char *path, enum runtime_kind *kind, char version[RUNTIME_VERSION])
{
	return find_sign(libraries, sizeof libraries / sizeof *libraries, path, kind, version);
}

bool runtime_of_path(const char *path, enum runtime_kind *kind, char version[RUNTIME_VERSION])
{
	return program_of_path(path, kind, version) || library_of_path(path, kind, version);
}

/* ---- by the program's file ---- */

/* debug/buildinfo: the magic, at 14 the size of a pointer, at 15 flags. With flag 2 (since Go 1.18) the version
 * is at 32, its length before it (a varint, of one byte for any version there is); else at 16 there is the
 * address of a string: address and length. */
enum { BUILDINFO_HEADER = 32, BUILDINFO_INLINE = 2, BUILDINFO_BIG_ENDIAN = 1 };

static size_t inline_go_version(const struct image *image, const struct section *info, char *text, size_t cap)
{
	uint8_t len;
	if (image_read(image, info->offset + BUILDINFO_HEADER, &len, 1) != 1 || len > 0x7f)
		return 0;
	return image_read(image, info->offset + BUILDINFO_HEADER + 1, text, len < cap ? len : cap);
}

static size_t pointed_go_version(const struct image *image, const uint8_t *header, char *text, size_t cap)
{
	uint64_t address, string[2];
	memcpy(&address, header + 16, sizeof address);
	if (image_read_vaddr(image, address, string, sizeof string) != sizeof string)
		return 0;
	return image_read_vaddr(image, string[0], text, string[1] < cap ? (size_t)string[1] : cap);
}

/* "go1.22.1", "go1.21.0 X:loopvar", "devel go1.23-abcdef": the number. */
static void take_go_version(char *text, char version[RUNTIME_VERSION])
{
	const char *go = strstr(text, "go1.");
	if (go != NULL)
		take_version(go + 2, version);
}

static bool is_go(const struct image *image, struct runtime *out)
{
	struct section info, other;
	uint8_t header[BUILDINFO_HEADER];
	char text[64] = "";
	if (!image_section(image, ".go.buildinfo", &info)) {
		out->kind = RUNTIME_GO;
		return image_section(image, ".gopclntab", &other) ||
		       image_section(image, ".note.go.buildid", &other);
	}
	out->kind = RUNTIME_GO;
	if (image_read(image, info.offset, header, sizeof header) != sizeof header ||
		memcmp(header, "\xff Go buildinf:", 14) != 0)
		return true;
	size_t len = 0;
	if ((header[15] & BUILDINFO_INLINE) != 0)
		len = inline_go_version(image, &info, text, sizeof text - 1);
	else if (header[14] == 8 && (header[15] & BUILDINFO_BIG_ENDIAN) == 0)
		len = pointed_go_version(image, header, text, sizeof text - 1);
	text[len] = '\0';
	take_go_version(text, out->version);
	return true;
}

/* Every compiler that took part has left its name in .comment, which strip(1) keeps. */
static bool is_rust(const struct image *image, struct runtime *out)
{
	static const char sign[] = "rustc version ";
	struct section comment;
	char text[4096];
	if (!image_section(image, ".comment", &comment))
		return false;
	size_t len = image_read(image, comment.offset, text,
		comment.size < sizeof text - 1 ? (size_t)comment.size : sizeof text - 1);
	text[len] = '\0';
	const char *at = memmem(text, len, sign, sizeof sign - 1);
	if (at == NULL)
		return false;
	out->kind = RUNTIME_RUST;
	take_version(at + sizeof sign - 1, out->version);
	return true;
}

/* The languages whose libraries a program needs (DT_NEEDED). The first match holds: a Fortran program may need
 * C++'s library, too. */
static const struct {
	const char *library;
	enum runtime_kind kind;
} needed[] = {
	{"libswiftCore.so", RUNTIME_SWIFT},
	{"libphobos", RUNTIME_D},
	{"libdruntime", RUNTIME_D},
	{"libgnat-", RUNTIME_ADA},
	{"libgfortran.so", RUNTIME_FORTRAN},
	{"libstdc++.so", RUNTIME_CXX},
	{"libc++.so", RUNTIME_CXX},
	{"", RUNTIME_C},
};

enum { N_NEEDED = sizeof needed / sizeof *needed, DYNAMIC_MAX = 1024 };

static uint64_t dynamic_value(const Elf64_Dyn *entries, size_t n, Elf64_Sxword tag)
{
	for (size_t i = 0; i < n; i++)
		if (entries[i].d_tag == tag)
			return entries[i].d_un.d_val;
	return 0;
}

static enum runtime_kind kind_by_needed(const struct image *image, const Elf64_Dyn *entries, size_t n)
{
	uint64_t strings = dynamic_value(entries, n, DT_STRTAB);
	size_t best = N_NEEDED - 1;
	for (size_t i = 0; i < n && entries[i].d_tag != DT_NULL; i++) {
		char name[64];
		if (entries[i].d_tag != DT_NEEDED)
			continue;
		size_t len = image_read_vaddr(image, strings + entries[i].d_un.d_val, name, sizeof name - 1);
		name[len] = '\0';
		for (size_t k = 0; k < best; k++)
			if (strncmp(name, needed[k].library, strlen(needed[k].library)) == 0)
				best = k;
	}
	return needed[best].kind;
}

static enum runtime_kind native_kind(const struct image *image)
{
	struct section dynamic;
	if (!image_segment(image, PT_DYNAMIC, &dynamic))
		return RUNTIME_NATIVE;
	size_t n =
		dynamic.size / sizeof(Elf64_Dyn) < DYNAMIC_MAX ? dynamic.size / sizeof(Elf64_Dyn) : DYNAMIC_MAX;
	Elf64_Dyn *entries = calloc(n + 1, sizeof *entries);
	if (entries == NULL)
		return RUNTIME_NATIVE;
	n = image_read(image, dynamic.offset, entries, n * sizeof *entries) / sizeof *entries;
	/* A static PIE has a dynamic section, and needs nothing. */
	bool needs = dynamic_value(entries, n, DT_NEEDED) != 0;
	enum runtime_kind kind = needs ? kind_by_needed(image, entries, n) : RUNTIME_NATIVE;
	free(entries);
	return kind;
}

void runtime_of_image(const struct image *image, struct runtime *out)
{
	struct runtime found = {RUNTIME_UNKNOWN, "", RUNTIME_UNKNOWN, ""};
	if (!is_go(image, &found)) {
		found = (struct runtime){RUNTIME_UNKNOWN, "", RUNTIME_UNKNOWN, ""};
		if (!is_rust(image, &found))
			found.kind = native_kind(image);
	}
	*out = found;
}

/* ---- all together ---- */

static bool is_for_plugins(enum runtime_kind kind)
{
	return kind == RUNTIME_PYTHON || kind == RUNTIME_RUBY || kind == RUNTIME_PERL || kind == RUNTIME_LUA ||
	       kind == RUNTIME_LUAJIT;
}

static void recognise_libraries(const struct maps *maps, struct runtime *out)
{
	for (size_t i = 0; maps != NULL && i < maps->n; i++) {
		enum runtime_kind kind;
		char version[RUNTIME_VERSION];
		if (!maps->v[i].exec || maps->v[i].inode == 0 ||
			!library_of_path(maps->v[i].path, &kind, version))
			continue;
		if (!is_for_plugins(kind) || kind == out->kind) {
			bool better = version[0] != '\0' || kind != out->kind;
			out->kind = kind;
			out->embedded = RUNTIME_UNKNOWN;
			if (better)
				memcpy(out->version, version, sizeof version);
			return;
		}
		if (out->embedded == RUNTIME_UNKNOWN && out->kind < RUNTIME_JVM) {
			out->embedded = kind;
			memcpy(out->embedded_version, version, sizeof version);
		}
	}
}

void runtime_recognise(
	const char *program, const struct maps *maps, const struct image *image, struct runtime *out)
{
	struct runtime found = {RUNTIME_UNKNOWN, "", RUNTIME_UNKNOWN, ""}, compiled = found;
	if (image != NULL)
		runtime_of_image(image, &compiled);
	bool certain = compiled.kind == RUNTIME_GO || compiled.kind == RUNTIME_RUST;
	if (certain || !program_of_path(program, &found.kind, found.version))
		found = compiled;
	recognise_libraries(maps, &found);
	*out = found;
}

void runtime_text(const struct runtime *runtime, char text[RUNTIME_TEXT])
{
	int len = snprintf(text, RUNTIME_TEXT, "%s%s%s", names[runtime->kind],
		runtime->version[0] != '\0' ? " " : "", runtime->version);
	if (runtime->embedded != RUNTIME_UNKNOWN && len > 0 && len < RUNTIME_TEXT)
		snprintf(text + len, RUNTIME_TEXT - (size_t)len, " (%s%s%s)", names[runtime->embedded],
			runtime->embedded_version[0] != '\0' ? " " : "", runtime->embedded_version);
}

const char *runtime_perfmap_advice(const struct runtime *runtime)
{
	switch (runtime->kind) {
	case RUNTIME_JVM:
		return "jcmd PID Compiler.perfmap (JDK 17 and later) writes it at any time; "
		       "-XX:+PreserveFramePointer makes stacks whole";
	case RUNTIME_NODE:
		return "start it with node --perf-basic-prof --interpreted-frames-native-stack";
	case RUNTIME_PYTHON:
		return "start it with python3 -X perf (3.12 and later) to see Python's functions";
	case RUNTIME_DOTNET:
		return "start it with DOTNET_PerfMapEnabled=1 in its environment";
	case RUNTIME_ERLANG:
		return "start it with erl +JPperf true";
	case RUNTIME_MONO:
		return "start it with mono --jitmap";
	case RUNTIME_RUBY:
		return "start it with ruby --yjit --yjit-perf (3.3 and later) to see compiled methods";
	case RUNTIME_PHP:
		return "start it with opcache.jit_debug=0x10 to name what its JIT compiles";
	case RUNTIME_JULIA:
		return "start it with ENABLE_JITPROFILING=1 in its environment";
	default:
		return NULL;
	}
}
