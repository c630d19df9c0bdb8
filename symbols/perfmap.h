/* Names of code that was compiled while the program ran, from the text file that runtimes write for perf
 * (/tmp/perf-PID.map: Linux, tools/perf/Documentation/jit-interface.txt): lines of a start and a size in hex,
 * and a name. Code moves, and its place is used again: of the lines that cover an address the last one holds.
 */
#ifndef SYMBOLS_PERFMAP_H
#define SYMBOLS_PERFMAP_H

#include "symbols/arena.h"

#include <stdint.h>

/* One address of the process and its answer. */
struct perfmap_name {
	uint64_t pc;
	const char *name; /* out: an arena string; "" when no line covers pc */
};

/* Fills `name` of v[0..n), which is sorted by pc. `fd` is a regular file, of which the first 1 GB is read once,
 * as a stream; damaged lines are skipped. -1 only when memory is out. */
int perfmap_lookup(int fd, struct arena *arena, struct perfmap_name *v, size_t n);

#endif
