/* A profile that was written before, by whomever: read, given better names, written again. What is not
 * understood is kept. The file is not trusted: its size and the memory for it are limited, and every number in
 * it is checked before it is used. */
#ifndef ENCODER_PPROF_FILE_H
#define ENCODER_PPROF_FILE_H

#include "symbols/symbolizer.h"
#include "unwind/error.h"

struct pprof_file;

/* One mapping with the locations in it. Texts are borrowed from the file. */
struct pprof_module {
	const char *path, *build_id; /* "" when unknown; the build-id as it stands there */
	uint64_t start, limit, offset; /* as in /proc/PID/maps */
	size_t n; /* its locations */
};

/* Reads the profile from `fd` (compressed or not) to its end. `name` is for messages. The caller frees the
 * result; NULL with the reason in *err. */
struct pprof_file *pprof_file_read(int fd, const char *name, struct error *err);
void pprof_file_free(struct pprof_file *file);

size_t pprof_file_modules(const struct pprof_file *file);
struct pprof_module pprof_file_module(const struct pprof_file *file, size_t module);
/* Address number `i` of the module's n; a call's address, where it is not the leaf's, is that of the call. */
uint64_t pprof_file_address(const struct pprof_file *file, size_t module, size_t i);

/* Gives address number `i` of a module these names, if they say more than those that it has: a function where
 * there is none, a line where there is none, more of the calls inlined there. 1 when they do, 0 when not, -1
 * when memory is out. */
int pprof_file_name(struct pprof_file *file, size_t module, size_t i, const struct symbolized *found);
/* Says of a module that there is no more to find. */
void pprof_file_complete(struct pprof_file *file, size_t module);
/* A comment for people; pprof prints those that do not start with '#'. -1 when memory is out. */
int pprof_file_comment(struct pprof_file *file, const char *format, ...) __attribute__((format(printf, 2, 3)));

int pprof_file_write(const struct pprof_file *file, int fd, struct error *err);

#endif
