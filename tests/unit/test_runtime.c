/* What a process is, by paths; the files themselves are looked at by tests/e2e/test_ps.py and a fuzz target. */
#include "attach/runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void paths_tell(void **state)
{
	(void)state;
	static const struct {
		const char *path, *text;
	} known[] = {
		{"/usr/bin/python3.11", "Python 3.11"},
		{"/usr/bin/python3", "Python 3"},
		{"python", "Python"},
		{"/usr/lib/x86_64-linux-gnu/libpython3.9.so.1.0", "Python 3.9"},
		{"/usr/lib/jvm/java-1.8.0-openjdk/jre/lib/amd64/server/libjvm.so", "JVM 1.8.0"},
		{"/opt/jdk-21.0.2/lib/server/libjvm.so", "JVM 21.0.2"},
		{"/opt/java/libjvm.so", "JVM"},
		{"/usr/lib/x86_64-linux-gnu/libnode.so.108", "Node"},
		{"/usr/bin/node", "Node"},
		{"/usr/lib/dotnet/shared/Microsoft.NETCore.App/6.0.25/libcoreclr.so", ".NET 6.0.25"},
		{"/usr/lib/erlang/erts-13.1/bin/beam.smp", "Erlang 13.1"},
		{"/usr/bin/luajit-2.1.0", "LuaJIT 2.1.0"},
		{"/usr/lib/libluajit-5.1.so.2", "LuaJIT 5.1"},
		{"/usr/bin/ruby3.1", "Ruby 3.1"},
		{"/usr/lib/libruby.so.2.7", "Ruby 2.7"},
		{"/usr/lib/libmonosgen-2.0.so.1", "Mono"},
		{"/usr/sbin/php-fpm8.2", "PHP 8.2"},
		{"/usr/lib/libR.so", "R"},
	};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		struct runtime runtime = {0};
		char text[RUNTIME_TEXT];
		if (!runtime_of_path(known[i].path, &runtime.kind, runtime.version))
			fail_msg("%s is not known", known[i].path);
		runtime_text(&runtime, text);
		assert_string_equal(text, known[i].text);
	}
}

static void others_do_not(void **state)
{
	(void)state;
	static const char *const others[] = {"", "/", "python3-config", "node_exporter", "perlbug",
		"libjvm.sox", "libpythonic.so", "libnodes.so", "javac", "lua5.4x", "rubyist", "libR.sonata",
		"/usr/bin/php-fpm/x"};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		enum runtime_kind kind;
		char version[RUNTIME_VERSION];
		if (runtime_of_path(others[i], &kind, version))
			fail_msg("%s was taken for one", others[i]);
	}
}

static void versions_without_end_are_left_out(void **state)
{
	(void)state;
	enum runtime_kind kind;
	char version[RUNTIME_VERSION], path[600] = "python";
	memset(path + 6, '1', 500);
	assert_true(runtime_of_path(path, &kind, version));
	assert_string_equal(version, "");
}

static void a_library_says_more_than_its_program(void **state)
{
	(void)state;
	static const char lines[] =
		"1000-2000 r-xp 0 08:01 1 /usr/lib/jvm/java-17-openjdk-amd64/bin/java\n"
		"2000-3000 r--p 0 08:01 3 /usr/lib/libpython3.11.so.1.0\n"
		"3000-4000 r-xp 0 08:01 2 /usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so\n";
	struct maps maps;
	struct runtime runtime;
	char text[RUNTIME_TEXT];
	assert_int_equal(maps_parse(lines, strlen(lines), &maps), 0);
	runtime_recognise("java", &maps, NULL, &runtime);
	maps_free(&maps);
	runtime_text(&runtime, text);
	assert_string_equal(text, "JVM 17");
	assert_non_null(strstr(runtime_perfmap_advice(&runtime), "Compiler.perfmap"));
}

static void nothing_is_known(void **state)
{
	(void)state;
	struct runtime runtime;
	char text[RUNTIME_TEXT];
	runtime_recognise("", NULL, NULL, &runtime);
	runtime_text(&runtime, text);
	assert_string_equal(text, "?");
	assert_null(runtime_perfmap_advice(&runtime));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_tell),
		cmocka_unit_test(others_do_not),
		cmocka_unit_test(versions_without_end_are_left_out),
		cmocka_unit_test(a_library_says_more_than_its_program),
		cmocka_unit_test(nothing_is_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
