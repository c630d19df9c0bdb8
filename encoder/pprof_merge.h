/* Several profiles made one, as `go tool pprof -proto A B` does: the same code, function or stack of two files
 * is one in the result, wherever each process had it in its memory. Values add up, labels stay. The files are
 * not trusted (encoder/pprof_file.h); together they may take 1 GB here. */
#ifndef ENCODER_PPROF_MERGE_H
#define ENCODER_PPROF_MERGE_H

#include "encoder/pprof_file.h"

struct pprof_merge;

struct pprof_merge *pprof_merge_new(void); /* NULL when memory is out */
void pprof_merge_free(struct pprof_merge *merge);

/* Adds one more profile; nothing of `file` is borrowed. `name` is for messages. -1 when it counts other kinds
 * of samples than the first, or when it is too much: the merge is then only good for pprof_merge_free(). */
int pprof_merge_add(
	struct pprof_merge *merge, const struct pprof_file *file, const char *name, struct error *err);

/* The result: from the first beginning on, as long as all together, with the comments of all, each once. The
 * main program is that of the first file. The caller frees it; NULL with the reason in *err. */
struct pprof_file *pprof_merge_finish(const struct pprof_merge *merge, struct error *err);

#endif
