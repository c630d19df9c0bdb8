#include "symbols/demangle.h"

#include <libiberty/demangle.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	INPUT_MAX = 8 * 1024,
	INPUT_MAX_D = 1024, /* the D demangler has no callback to stop it with */
	OUTPUT_MAX = 16 * 1024,
	CACHE_SLOTS = 2048, /* a power of two */
	OPTIONS = DMGL_PARAMS | DMGL_ANSI
};

struct demangler {
	struct arena *arena;
	struct {
		const char *from, *to;
	} cache[CACHE_SLOTS]; /* by address of the name: the arena keeps equal names once */
	jmp_buf full;
	size_t len;
	char output[OUTPUT_MAX];
};

struct demangler *demangler_new(struct arena *arena)
{
	struct demangler *demangler = arena_alloc(arena, sizeof(*demangler));
	if (demangler != NULL)
		demangler->arena = arena;
	return demangler;
}

/* Back references let a name of a hundred bytes stand for 2^50 bytes of text. The callback cannot refuse text,
 * so it leaves the library for good; the library's own working memory is on the stack here. Held by
 * test_hostile_name. */
static void append(const char *text, size_t len, void *opaque)
{
	struct demangler *demangler = opaque;
	if (sizeof(demangler->output) - demangler->len < len)
		longjmp(demangler->full, 1);
	memcpy(demangler->output + demangler->len, text, len);
	demangler->len += len;
}

static bool demangle_into_output(struct demangler *demangler, const char *name)
{
	demangler->len = 0;
	if (setjmp(demangler->full) != 0)
		return false;
	if (rust_demangle_callback(name, OPTIONS, append, demangler) != 0)
		return true;
	demangler->len = 0;
	return cplus_demangle_v3_callback(name, OPTIONS, append, demangler) != 0;
}

static bool demangle_d(struct demangler *demangler, const char *name)
{
	char *text = dlang_demangle(name, OPTIONS);
	if (text == NULL)
		return false;
	demangler->len = strnlen(text, OUTPUT_MAX);
	memcpy(demangler->output, text, demangler->len);
	free(text);
	return true;
}

static const char *demangle_uncached(struct demangler *demangler, const char *name)
{
	bool known = false;
	if (strncmp(name, "_Z", 2) == 0 || strncmp(name, "_R", 2) == 0 || strncmp(name, "_GLOBAL_", 8) == 0) {
		if (strnlen(name, INPUT_MAX) < INPUT_MAX)
			known = demangle_into_output(demangler, name);
	} else if (name[0] == '_' && name[1] == 'D' && name[2] >= '0' && name[2] <= '9') {
		if (strnlen(name, INPUT_MAX_D) < INPUT_MAX_D)
			known = demangle_d(demangler, name);
	}
	return known ? arena_string(demangler->arena, demangler->output, demangler->len) : name;
}

const char *demangle(struct demangler *demangler, const char *name)
{
	size_t slot = ((uintptr_t)name >> 4) & (CACHE_SLOTS - 1);
	if (demangler->cache[slot].from == name)
		return demangler->cache[slot].to;
	const char *result = demangle_uncached(demangler, name);
	if (result != NULL) {
		demangler->cache[slot].from = name;
		demangler->cache[slot].to = result;
	}
	return result;
}
