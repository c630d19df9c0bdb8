/* Who calls whom in a view, and how much goes that way. */
#ifndef ENCODER_EDGES_H
#define ENCODER_EDGES_H

#include "encoder/functions.h"

struct edge {
	uint32_t caller, callee; /* numbers of functions */
	int64_t value;
};

struct edges {
	struct edge *v; /* by callee, then largest first; none of 0 */
	size_t n;
	struct edge *by_caller; /* the same, by caller, then largest first */
};

/* A stack counts once for each pair, however often it stands there. What a function calls of itself is no edge,
 * as in pprof. -1 when memory is out; *out goes to
 * edges_free() in any case. */
int edges_sum(const struct view *view, size_t type, const struct functions *functions, struct edges *out);
void edges_free(struct edges *edges);

/* The edges into, and out of, a function; *n of them. */
const struct edge *edges_callers(const struct edges *edges, uint32_t function, size_t *n);
const struct edge *edges_callees(const struct edges *edges, uint32_t function, size_t *n);

#endif
