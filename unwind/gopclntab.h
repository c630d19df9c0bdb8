/* Go's table of functions, which every Go program carries, stripped or not, since its own runtime unwinds and
 * names by it: entries, names, and for each function small programs that map a pc to a value (how far the stack
 * pointer has moved; the line; the inlined call). Layouts of Go 1.16 to 1.26 on amd64 (runtime/symtab.go,
 * runtime/runtime2.go, internal/abi/symtab.go and cmd/link/internal/ld/pcln.go of each release). Pure functions
 * over a bounded view: nothing here trusts a byte. */
#ifndef UNWIND_GOPCLNTAB_H
#define UNWIND_GOPCLNTAB_H

#include "unwind/image.h"

/* By the header's magic number. */
enum gopclntab_version {
	GOPCLNTAB_116 = 116, /* 1.16, 1.17: absolute entries */
	GOPCLNTAB_118 = 118, /* 1.18, 1.19: entries relative to the text */
	GOPCLNTAB_120 = 120, /* 1.20 and later: a function's first line */
};

/* An open table. The offsets are from `bytes`, each at most `len`. */
struct gopclntab {
	const uint8_t *bytes;
	size_t len;
	uint8_t *owned; /* `bytes`, when gopclntab_load() read them */
	uint64_t vaddr; /* link-time address of `bytes` */
	uint64_t text; /* link-time address that entries count from: runtime.text */
	uint64_t module; /* link-time address of runtime.firstmoduledata, 0 when it was not found */
	enum gopclntab_version version;
	size_t n_funcs, n_files;
	size_t names, cutab, files, pctab, funcs; /* offsets of the parts */
};

/* One function (runtime._func). */
struct gofunc {
	uint64_t entry, end; /* link-time addresses: [entry, end) */
	int32_t name; /* for gopclntab_name() */
	uint32_t pcsp, pcfile, pcln; /* for struct gopcvalue; 0: no such table */
	uint32_t npcdata, cu; /* number of pcdata tables; index of its unit's first file in the cutab */
	int32_t start_line; /* 0 before 1.20 */
	uint8_t id, flags, nfuncdata; /* ids change their meaning between releases: go by the name */
	size_t pcdata; /* offset of its pcdata offsets (npcdata of uint32), then its funcdata */
};

/* gofunc.flags, since 1.17 (internal/abi.FuncFlag) */
enum { GOFUNC_TOP_FRAME = 1, GOFUNC_SP_WRITE = 2, GOFUNC_ASM = 4 };

/* Reads the header in bytes[0..len), which stay the caller's. `text`: see above; only needed for functions'
 * addresses. False when it is none. */
bool gopclntab_open(const uint8_t *bytes, size_t len, uint64_t text, struct gopclntab *out);

/* Is it worth looking for a table? By the sections that every Go program has; true as well without section
 * headers. */
bool gopclntab_is_go(const struct image *image);
/* Finds and reads an image's table: by its section, else by its magic number in the segments; and the text's
 * address, from the module data as it is in the file or as its relocations make it. False when there is none,
 * or memory is out. At most 64 MB. */
bool gopclntab_load(const struct image *image, struct gopclntab *out);
void gopclntab_unload(struct gopclntab *table);

/* Word `index` of runtime.firstmoduledata, with its relocation; false when it is not known. */
bool gopclntab_module_word(
	const struct image *image, const struct gopclntab *table, size_t index, uint64_t *value);

/* The function number `i`, ascending by address; false when out of range or damaged. */
bool gopclntab_func(const struct gopclntab *table, size_t i, struct gofunc *out);
/* The function that covers link-time address `vaddr`, by bisection. */
bool gopclntab_find(const struct gopclntab *table, uint64_t vaddr, struct gofunc *out);
/* A function's name, "" when it does not end within the table. Borrowed from the table. */
const char *gopclntab_name(const struct gopclntab *table, int32_t name);
/* Is that a function's name? Looks at no more bytes than `wanted` has. */
bool gopclntab_name_is(const struct gopclntab *table, int32_t name, const char *wanted);
/* The path of file number `file`, a value of the function's pcfile table; "" when there is none. Borrowed. */
const char *gopclntab_file(const struct gopclntab *table, const struct gofunc *func, int32_t file);
/* The offset of pcdata table number `index` of a function, for struct gopcvalue; 0 when it has none. */
uint32_t gopclntab_pcdata(const struct gopclntab *table, const struct gofunc *func, uint32_t index);
/* Funcdata number `index`: since 1.18 an offset from the module's gofunc, before an address (as the file has
 * it: without relocations). False when there is none. */
bool gopclntab_funcdata(
	const struct gopclntab *table, const struct gofunc *func, uint32_t index, uint64_t *offset);

/* One of a function's tables, run by run: `value` holds for the pcs [start, end). */
struct gopcvalue {
	const uint8_t *p;
	size_t left;
	uint64_t start, end, limit;
	int32_t value;
};
/* `offset`: pcsp, pcfile, pcln, or from gopclntab_pcdata(). */
struct gopcvalue gopcvalue_begin(const struct gopclntab *table, const struct gofunc *func, uint32_t offset);
/* The next run; false at the end. Every run has at least one byte of code, and none goes beyond the function.
 */
bool gopcvalue_next(struct gopcvalue *run);
/* The value at link-time address `pc`; false when the table does not cover it. */
bool gopcvalue_at(
	const struct gopclntab *table, const struct gofunc *func, uint32_t offset, uint64_t pc, int32_t *value);

#endif
