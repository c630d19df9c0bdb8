/* What a process is made of: a native program in one of the languages that leave a trace in it, or a runtime
 * that runs programs of another language. Told from the names of mapped files and from some bytes of the
 * program's file; a guess for people, on which nothing else depends. Pure functions; the files are not trusted.
 */
#ifndef ATTACH_RUNTIME_H
#define ATTACH_RUNTIME_H

#include "unwind/image.h"
#include "unwind/maps.h"

enum runtime_kind {
	RUNTIME_UNKNOWN,
	RUNTIME_NATIVE, /* C or C++: static programs do not tell */
	RUNTIME_C,
	RUNTIME_CXX,
	RUNTIME_RUST,
	RUNTIME_GO,
	RUNTIME_SWIFT,
	RUNTIME_FORTRAN,
	RUNTIME_ADA,
	RUNTIME_D,
	RUNTIME_JVM,
	RUNTIME_PYTHON,
	RUNTIME_NODE,
	RUNTIME_RUBY,
	RUNTIME_PERL,
	RUNTIME_PHP,
	RUNTIME_DOTNET,
	RUNTIME_MONO,
	RUNTIME_ERLANG,
	RUNTIME_LUA,
	RUNTIME_LUAJIT,
	RUNTIME_JULIA,
	RUNTIME_R,
	RUNTIME_KINDS
};

enum { RUNTIME_VERSION = 24, RUNTIME_TEXT = 64 };

struct runtime {
	enum runtime_kind kind;
	char version[RUNTIME_VERSION]; /* "" when nothing tells */
	enum runtime_kind embedded; /* an interpreter that a native program has loaded; RUNTIME_UNKNOWN: none */
	char embedded_version[RUNTIME_VERSION];
};

/* `maps` and `image` (the program's) may be NULL: what may not be read. `program`: its path or name. */
void runtime_recognise(
	const char *program, const struct maps *maps, const struct image *image, struct runtime *out);

/* By the program's file alone: the language that it was compiled from. */
void runtime_of_image(const struct image *image, struct runtime *out);
/* By the path of a program or a library; false when it is none of a runtime. */
bool runtime_of_path(const char *path, enum runtime_kind *kind, char version[RUNTIME_VERSION]);

/* "Go 1.22.1", "C++ (Python 3.11)", "?" */
void runtime_text(const struct runtime *runtime, char text[RUNTIME_TEXT]);
/* How the runtime is told to name the code that it compiles, in the perf map (symbols/perfmap.h); NULL when it
 * compiles none. Static storage. */
const char *runtime_perfmap_advice(const struct runtime *runtime);

#endif
