#include "attach/usual.h"

#include <stdlib.h>
#include <string.h>

enum { FEW = 5 };

void usual_add(struct usual *usual, int64_t ns)
{
	usual->v[usual->n++ % USUAL_KEPT] = ns;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

bool usual_is(const struct usual *usual, int64_t *ns)
{
	int64_t sorted[USUAL_KEPT];
	size_t n = usual->n < USUAL_KEPT ? usual->n : USUAL_KEPT;
	if (n < FEW)
		return false;
	memcpy(sorted, usual->v, n * sizeof *sorted);
	qsort(sorted, n, sizeof *sorted, compare);
	*ns = sorted[n / 2];
	return true;
}
