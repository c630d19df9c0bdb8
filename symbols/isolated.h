/* Symbols of one image after the other, each found by a confined child process (symbols/sandbox.h), because the
 * files are the target's and the tools of the trade trust what they read. A child that fails takes nothing with
 * it: the next one reads only the ELF symbols, and if it fails, too, the addresses stay without names. */
#ifndef SYMBOLS_ISOLATED_H
#define SYMBOLS_ISOLATED_H

#include "symbols/confine.h"
#include "symbols/known.h"
#include "symbols/symbolizer.h"

/* The most that one child, and all together, may use. */
struct isolated_limits {
	struct confine_limits all, elf; /* by what is read */
	int64_t all_wall_ns, elf_wall_ns;
	int64_t total_wall_ns; /* afterwards only ELF symbols are read, as long again */
};
extern const struct isolated_limits isolated_defaults;

struct isolated;

/* `stop_fd`: when it becomes readable, no more is looked up (-1: none); borrowed. `limits` is copied. NULL when
 * memory is out. */
struct isolated *isolated_new(const struct isolated_limits *limits, int stop_fd);
void isolated_free(struct isolated *isolated);
/* From now on an image's addresses are asked once, and known after that: for who asks again and again. `known`
 * is borrowed; an image's answers then live as long as it. *quality then speaks of what was asked anew. */
void isolated_remember(struct isolated *isolated, struct known *known);
/* Where debug files are looked for, besides /usr/lib/debug; borrowed, may be NULL. */
void isolated_places(struct isolated *isolated, const struct debug_places *places);

/* As symbolizer_files(): answers live as long as `isolated`. The caller has a single thread, or its others hold
 * no lock at that time that the child of a fork(2) would wait for (malloc's excepted). quality->trouble says
 * when less was read than there is. -1 only when memory is out here. */
int isolated_image(struct isolated *isolated, const struct image *image, const uint64_t *vaddrs, size_t n,
	struct symbolized *out, struct symbol_quality *quality);

/* The same for addresses of the process in code that it compiled while it ran, by the perf map in `fd`
 * (borrowed; symbols/perfmap.h). */
int isolated_perfmap(struct isolated *isolated, int fd, const uint64_t *addresses, size_t n,
	struct symbolized *out, struct symbol_quality *quality);

/* Whether stop_fd became readable meanwhile: some names are missing. */
bool isolated_stopped(const struct isolated *isolated);
/* What could not be taken from the children on this machine, in words; "" when they were confined as intended.
 */
const char *isolated_weakness(const struct isolated *isolated);

#endif
