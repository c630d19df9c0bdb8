#include "encoder/edges.h"

#include "encoder/table.h"

#include <stdlib.h>
#include <string.h>

struct pair {
	uint32_t caller, callee;
};

/* Sums by the number of the pair; `last` is the sample that counted it last, + 1. */
struct sums {
	struct table pairs;
	int64_t *values;
	size_t *last;
	size_t cap;
};

static int grow(struct sums *sums)
{
	size_t cap = sums->cap > 0 ? 2 * sums->cap : 1024;
	int64_t *values = realloc(sums->values, cap * sizeof *values);
	if (values == NULL)
		return -1;
	sums->values = values;
	size_t *last = realloc(sums->last, cap * sizeof *last);
	if (last == NULL)
		return -1;
	sums->last = last;
	memset(values + sums->cap, 0, (cap - sums->cap) * sizeof *values);
	memset(last + sums->cap, 0, (cap - sums->cap) * sizeof *last);
	sums->cap = cap;
	return 0;
}

static int add(struct sums *sums, struct pair pair, size_t sample, int64_t value)
{
	uint32_t number = table_intern(&sums->pairs, &pair, sizeof pair);
	if (number == TABLE_NONE || (number >= sums->cap && grow(sums) != 0))
		return -1;
	if (sums->last[number] != sample + 1)
		view_add(&sums->values[number], value);
	sums->last[number] = sample + 1;
	return 0;
}

static int sum_up(const struct view *view, size_t type, const struct functions *functions, struct sums *sums)
{
	for (size_t i = 0; i < view->n_samples; i++) {
		const struct view_sample *sample = &view->samples[i];
		for (size_t k = 1; k < sample->n_frames; k++) {
			struct pair pair = {functions->of_frame[sample->frames[k - 1]],
				functions->of_frame[sample->frames[k]]};
			if (pair.caller != pair.callee && add(sums, pair, i, sample->values[type]) != 0)
				return -1;
		}
	}
	return 0;
}

/* Whatever the sign. */
static uint64_t size_of(int64_t value)
{
	return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

static int compare_values(const struct edge *x, const struct edge *y)
{
	uint64_t a = size_of(x->value), b = size_of(y->value);
	return (a < b) - (a > b);
}

static int compare_by_callee(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;
	if (x->callee != y->callee)
		return x->callee < y->callee ? -1 : 1;
	int order = compare_values(x, y);
	return order != 0 ? order : (x->caller > y->caller) - (x->caller < y->caller);
}

static int compare_by_caller(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;
	if (x->caller != y->caller)
		return x->caller < y->caller ? -1 : 1;
	int order = compare_values(x, y);
	return order != 0 ? order : (x->callee > y->callee) - (x->callee < y->callee);
}

static int sort(const struct sums *sums, struct edges *out)
{
	size_t len;
	out->v = calloc(sums->pairs.n + 1, sizeof *out->v);
	out->by_caller = calloc(sums->pairs.n + 1, sizeof *out->by_caller);
	if (out->v == NULL || out->by_caller == NULL)
		return -1;
	for (uint32_t i = 0; i < sums->pairs.n; i++) {
		struct pair pair;
		if (sums->values[i] == 0)
			continue;
		memcpy(&pair, table_key(&sums->pairs, i, &len), sizeof pair);
		out->v[out->n] = out->by_caller[out->n] =
			(struct edge){pair.caller, pair.callee, sums->values[i]};
		out->n++;
	}
	qsort(out->v, out->n, sizeof *out->v, compare_by_callee);
	qsort(out->by_caller, out->n, sizeof *out->by_caller, compare_by_caller);
	return 0;
}

int edges_sum(const struct view *view, size_t type, const struct functions *functions, struct edges *out)
{
	struct sums sums = {0};
	*out = (struct edges){0};
	int outcome = sum_up(view, type, functions, &sums) == 0 ? sort(&sums, out) : -1;
	table_free(&sums.pairs);
	free(sums.values);
	free(sums.last);
	return outcome;
}

void edges_free(struct edges *edges)
{
	free(edges->v);
	free(edges->by_caller);
	*edges = (struct edges){0};
}

static const struct edge *run_of(
	const struct edge *v, size_t n, uint32_t function, bool by_caller, size_t *found)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if ((by_caller ? v[mid].caller : v[mid].callee) < function)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (*found = 0; lo + *found < n; ++*found)
		if ((by_caller ? v[lo + *found].caller : v[lo + *found].callee) != function)
			break;
	return v + lo;
}

const struct edge *edges_callers(const struct edges *edges, uint32_t function, size_t *n)
{
	return run_of(edges->v, edges->n, function, false, n);
}

const struct edge *edges_callees(const struct edges *edges, uint32_t function, size_t *n)
{
	return run_of(edges->by_caller, edges->n, function, true, n);
}
