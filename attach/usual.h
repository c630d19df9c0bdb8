/* What a time that is measured again and again usually is: the median of the last ones. */
#ifndef ATTACH_USUAL_H
#define ATTACH_USUAL_H

#include <stdbool.h>
#include <stdint.h>

enum { USUAL_KEPT = 31 };

struct usual {
	int64_t v[USUAL_KEPT];
	unsigned n; /* ever added */
};

void usual_add(struct usual *usual, int64_t ns);
/* False as long as too few are known to tell. */
bool usual_is(const struct usual *usual, int64_t *ns);

#endif
