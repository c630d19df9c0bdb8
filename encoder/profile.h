/* The aggregated profile in memory: interned strings, distinct stacks with labels and their sums. Knows nothing
 * of files. */
#ifndef ENCODER_PROFILE_H
#define ENCODER_PROFILE_H

#include "symbols/isolated.h"
#include "unwind/space.h"

enum profile_kind { PROFILE_CPU, PROFILE_STATE };

/* Labels of one sample; strings are copied, NULL or "" leaves a label out, and so does 0 for a number. */
struct labels {
	const char *process, *thread, *state, *syscall;
	const char *backed_off; /* why the thread was not stopped, and an older stack stands for it */
	pid_t tid, pid;
};

struct profile;

struct profile *profile_new(enum profile_kind kind); /* NULL when memory is out */
void profile_free(struct profile *profile);

/* Adds `count` and `ns` (CPU or wall nanoseconds) to the stack under these labels. A stack that is not complete
 * gets a root frame `[truncated: REASON]`, a gap a frame `[N frames left out]`. Returns -1 only when memory is
 * out (nothing is added). */
int profile_add(struct profile *profile, const struct stack *stack, const struct labels *labels, int64_t count,
	int64_t ns);
/* The same for a stack of one made-up frame, such as "[cpu between samples]". */
int profile_add_named(
	struct profile *profile, const char *frame, const struct labels *labels, int64_t count, int64_t ns);

/* A comment for people; pprof prints those that do not start with '#'. */
int profile_comment(struct profile *profile, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One image's symbols, for the summary and the comments. */
struct profile_module {
	const char *path, *build_id;
	int64_t samples; /* with a frame in this module */
	/* Its frames in all samples, each as often as its sample; of them with a function, and with a line. */
	int64_t frames, named, lined;
	struct symbol_quality quality;
};

/* Names every location. Called once, after the target was let go. Borrows `space`, or any of those that
 * share its list, and `isolated` until profile_free. `perfmap_fd` (borrowed): the target's perf map, for code
 * of the first space that lies in no file; -1 none. Returns -1 when memory is out. */
int profile_symbolize(
	struct profile *profile, const struct space *space, struct isolated *isolated, int perfmap_fd);
/* After profile_symbolize: the modules, most samples first; owned by the profile. */
const struct profile_module *profile_modules(const struct profile *profile, size_t *n);

/* Flat sums by function, largest first: fills up to `n` of top[], returns how many. Names are owned by the
 * profile, until something is added. Made-up root frames count under their own name; those of a module that
 * has none count together under "[module]". */
struct profile_top {
	const char *function;
	int64_t ns, count;
};
size_t profile_top(struct profile *profile, struct profile_top *top, size_t n);
void profile_totals(const struct profile *profile, int64_t *count, int64_t *ns);
size_t profile_stacks(const struct profile *profile); /* distinct stacks with labels */

#endif
