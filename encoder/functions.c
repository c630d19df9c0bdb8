#include "encoder/functions.h"

#include "encoder/table.h"

#include <stdlib.h>
#include <string.h>

/* Functions are told apart by their names, as `go tool pprof` does. */
static int number_functions(const struct view *view, struct functions *out)
{
	struct table names = {0};
	out->of_frame = calloc(view->n_frames + 1, sizeof *out->of_frame);
	out->v = calloc(view->n_frames + 1, sizeof *out->v);
	bool failed = out->of_frame == NULL || out->v == NULL;
	for (size_t i = 0; !failed && i < view->n_frames; i++) {
		const char *name = view->frames[i].function;
		uint32_t number = table_intern(&names, name, strlen(name));
		failed = number == TABLE_NONE;
		if (failed)
			break;
		out->of_frame[i] = number;
		if (number == out->n)
			out->v[out->n++].name = name;
	}
	table_free(&names);
	return failed ? -1 : 0;
}

static int sum_up(const struct view *view, size_t type, struct functions *out)
{
	size_t *last = calloc(out->n + 1, sizeof *last); /* the sample that counted it last, + 1 */
	if (last == NULL)
		return -1;
	for (size_t i = 0; i < view->n_samples; i++) {
		const struct view_sample *sample = &view->samples[i];
		int64_t value = sample->values[type];
		view_add(&out->total, value);
		for (size_t k = 0; k < sample->n_frames; k++) {
			uint32_t function = out->of_frame[sample->frames[k]];
			if (last[function] != i + 1)
				view_add(&out->v[function].cum, value);
			last[function] = i + 1;
		}
		if (sample->n_frames > 0)
			view_add(&out->v[out->of_frame[sample->frames[sample->n_frames - 1]]].flat, value);
	}
	free(last);
	return 0;
}

static int descending(int64_t x, int64_t y)
{
	uint64_t a = x < 0 ? 0 - (uint64_t)x : (uint64_t)x, b = y < 0 ? 0 - (uint64_t)y : (uint64_t)y;
	return (a < b) - (a > b);
}

static int compare_flat(const void *a, const void *b, void *context)
{
	const struct functions *functions = context;
	const struct function_sum *x = &functions->v[*(const uint32_t *)a],
				  *y = &functions->v[*(const uint32_t *)b];
	int order = descending(x->flat, y->flat);
	if (order == 0)
		order = descending(x->cum, y->cum);
	return order != 0 ? order : strcmp(x->name, y->name);
}

static int compare_cum(const void *a, const void *b, void *context)
{
	const struct functions *functions = context;
	const struct function_sum *x = &functions->v[*(const uint32_t *)a],
				  *y = &functions->v[*(const uint32_t *)b];
	int order = descending(x->cum, y->cum);
	if (order == 0)
		order = descending(x->flat, y->flat);
	return order != 0 ? order : strcmp(x->name, y->name);
}

int functions_sum(const struct view *view, size_t type, struct functions *out)
{
	*out = (struct functions){0};
	if (number_functions(view, out) != 0 || sum_up(view, type, out) != 0)
		return -1;
	out->by_flat = calloc(out->n + 1, sizeof *out->by_flat);
	out->by_cum = calloc(out->n + 1, sizeof *out->by_cum);
	if (out->by_flat == NULL || out->by_cum == NULL)
		return -1;
	for (size_t i = 0; i < out->n; i++) {
		out->by_flat[i] = out->by_cum[i] = (uint32_t)i;
		out->n_used += out->v[i].flat != 0 || out->v[i].cum != 0;
	}
	qsort_r(out->by_flat, out->n, sizeof *out->by_flat, compare_flat, out);
	qsort_r(out->by_cum, out->n, sizeof *out->by_cum, compare_cum, out);
	return 0;
}

void functions_free(struct functions *functions)
{
	free(functions->v);
	free(functions->of_frame);
	free(functions->by_flat);
	free(functions->by_cum);
	*functions = (struct functions){0};
}
