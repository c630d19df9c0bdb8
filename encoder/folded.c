#include "encoder/folded.h"

#include "encoder/sink.h"
#include "encoder/table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct line {
	const char *text;
	int64_t value;
};

struct text {
	char *v;
	size_t n, cap;
};

/* ';' separates frames, and a line ends at its first newline. */
static int append(struct text *text, const char *name, bool first)
{
	size_t len = strlen(name);
	if (text->cap - text->n < len + 2) {
		size_t cap = 2 * text->cap + len + 256;
		char *larger = realloc(text->v, cap);
		if (larger == NULL)
			return -1;
		text->v = larger;
		text->cap = cap;
	}
	if (!first)
		text->v[text->n++] = ';';
	for (size_t i = 0; i < len; i++)
		text->v[text->n++] = name[i] == ';' ? ':' : name[i] == '\n' || name[i] == '\r' ? ' ' : name[i];
	return 0;
}

static uint32_t fold(
	const struct view *view, const struct view_sample *sample, struct text *text, struct table *lines)
{
	const char *thread = view_text(sample, "thread");
	text->n = 0;
	if (thread != NULL && append(text, thread, true) != 0)
		return TABLE_NONE;
	for (size_t i = 0; i < sample->n_frames; i++) {
		const char *name = view->frames[sample->frames[i]].function;
		if (append(text, name, text->n == 0 && i == 0) != 0)
			return TABLE_NONE;
	}
	if (text->n == 0 && append(text, "[no stack]", true) != 0)
		return TABLE_NONE;
	text->v[text->n] = '\0';
	return table_intern(lines, text->v, text->n + 1);
}

static int compare(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	return strcmp(x->text, y->text);
}

static int fold_all(const struct view *view, struct table *lines, int64_t *values)
{
	struct text text = {0};
	int outcome = 0;
	for (size_t i = 0; outcome == 0 && i < view->n_samples; i++) {
		uint32_t number = fold(view, &view->samples[i], &text, lines);
		if (number == TABLE_NONE)
			outcome = -1;
		else
			view_add(&values[number], view->samples[i].values[view->type]);
	}
	free(text.v);
	return outcome;
}

static int write_sorted(const struct table *lines, const int64_t *values, int fd, struct error *err)
{
	size_t len;
	struct sink *sink = malloc(sizeof *sink);
	struct line *sorted = calloc(lines->n + 1, sizeof *sorted);
	if (sink == NULL || sorted == NULL) {
		free(sink);
		free(sorted);
		return error_set(err, "memory is out");
	}
	for (uint32_t i = 0; i < lines->n; i++)
		sorted[i] = (struct line){table_key(lines, i, &len), values[i]};
	qsort(sorted, lines->n, sizeof *sorted, compare);
	sink_open(sink, fd);
	for (size_t i = 0; i < lines->n; i++) {
		if (sorted[i].value == 0)
			continue;
		sink_text(sink, sorted[i].text);
		sink_format(sink, " %" PRId64 "\n", sorted[i].value);
	}
	int outcome = sink_close(sink, err);
	free(sorted);
	free(sink);
	return outcome;
}

int folded_write(const struct view *view, int fd, struct error *err)
{
	struct table lines = {0};
	int64_t *values = calloc(view->n_samples + 1, sizeof *values);
	int outcome = -1;
	if (values == NULL || fold_all(view, &lines, values) != 0)
		error_set(err, "memory is out");
	else
		outcome = write_sorted(&lines, values, fd, err);
	table_free(&lines);
	free(values);
	return outcome;
}
