/* What each function of a view used: itself (flat) and with all that it called (cumulative), as pprof counts.
 */
#ifndef ENCODER_FUNCTIONS_H
#define ENCODER_FUNCTIONS_H

#include "encoder/view.h"

struct function_sum {
	const char *name; /* owned by the view */
	int64_t flat, cum; /* a stack counts once, however often the function is in it */
};

struct functions {
	struct function_sum *v; /* by number */
	size_t n;
	uint32_t *of_frame; /* the function of each frame of the view */
	uint32_t *by_flat, *by_cum; /* numbers, largest first (of equals: by the other sum, then by name) */
	size_t n_used; /* that have a sum other than 0: they come first in both orders */
	int64_t total;
};

/* Sums of the values of `type`. -1 when memory is out; *out goes to functions_free() in any case. */
int functions_sum(const struct view *view, size_t type, struct functions *out);
void functions_free(struct functions *functions);

#endif
