#include "encoder/folded.h"

#include "encoder/functions.h"
#include "encoder/sink.h"
#include "encoder/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Some long names in deep stacks make any amount of text of a small file. */
static const uint64_t TEXT_MAX = UINT64_C(4) * 1024 * 1024 * 1024;

/* The samples in order of their threads and stacks: equal ones are neighbours. */
struct folded {
	const struct view *view;
	struct functions functions;
	uint32_t *rank; /* of each function among the names */
	size_t *length; /* of each function's name */
	size_t *order; /* numbers of samples */
};

static const char *thread_of(const struct view_sample *sample)
{
	const char *thread = view_text(sample, "thread");
	return thread != NULL ? thread : "";
}

static int compare_names(const void *a, const void *b, void *context)
{
	const struct functions *functions = context;
	return strcmp(functions->v[*(const uint32_t *)a].name, functions->v[*(const uint32_t *)b].name);
}

static int compare_stacks(const struct folded *folded, const struct view_sample *x, const struct view_sample *y)
{
	int order = strcmp(thread_of(x), thread_of(y));
	if (order != 0)
		return order;
	for (size_t i = 0; i < x->n_frames && i < y->n_frames; i++) {
		uint32_t a = folded->rank[folded->functions.of_frame[x->frames[i]]];
		uint32_t b = folded->rank[folded->functions.of_frame[y->frames[i]]];
		if (a != b)
			return a < b ? -1 : 1;
	}
	return (x->n_frames > y->n_frames) - (x->n_frames < y->n_frames);
}

static int compare(const void *a, const void *b, void *context)
{
	const struct folded *folded = context;
	const struct view_sample *samples = folded->view->samples;
	return compare_stacks(folded, &samples[*(const size_t *)a], &samples[*(const size_t *)b]);
}

static int sort(struct folded *folded)
{
	const struct view *view = folded->view;
	if (functions_sum(view, view->type, &folded->functions) != 0)
		return -1;
	size_t n = folded->functions.n;
	uint32_t *by_name = calloc(n + 1, sizeof *by_name);
	folded->rank = calloc(n + 1, sizeof *folded->rank);
	folded->length = calloc(n + 1, sizeof *folded->length);
	folded->order = calloc(view->n_samples + 1, sizeof *folded->order);
	if (by_name == NULL || folded->rank == NULL || folded->length == NULL || folded->order == NULL) {
		free(by_name);
		return -1;
	}
	for (size_t i = 0; i < n; i++) {
		by_name[i] = (uint32_t)i;
		folded->length[i] = strlen(folded->functions.v[i].name);
	}
	qsort_r(by_name, n, sizeof *by_name, compare_names, &folded->functions);
	for (size_t i = 0; i < n; i++)
		folded->rank[by_name[i]] = (uint32_t)i;
	free(by_name);
	for (size_t i = 0; i < view->n_samples; i++)
		folded->order[i] = i;
	qsort_r(folded->order, view->n_samples, sizeof *folded->order, compare, folded);
	return 0;
}

/* ';' separates frames, and a line ends at its first newline. */
static void write_name(struct sink *sink, const char *name)
{
	for (size_t i = 0; name[i] != '\0';) {
		size_t len = utf8_visible(name + i);
		const char *text = name[i] == ';' ? ":" : name[i] == '\n' || name[i] == '\r' ? " " : "?";
		bool keep = len > 0 && name[i] != ';';
		sink_bytes(sink, keep ? name + i : text, keep ? len : 1);
		i += keep ? len : 1;
	}
}

/* How many bytes it will be. */
static uint64_t stack_length(const struct folded *folded, const struct view_sample *sample)
{
	uint64_t n = strlen(thread_of(sample)) + sample->n_frames;
	for (size_t i = 0; i < sample->n_frames; i++)
		n += folded->length[folded->functions.of_frame[sample->frames[i]]];
	return n;
}

static void write_stack(const struct folded *folded, const struct view_sample *sample, struct sink *sink)
{
	const char *thread = thread_of(sample);
	write_name(sink, thread[0] != '\0' || sample->n_frames > 0 ? thread : "[no stack]");
	for (size_t i = 0; i < sample->n_frames; i++) {
		sink_text(sink, i > 0 || thread[0] != '\0' ? ";" : "");
		write_name(sink, folded->view->frames[sample->frames[i]].function);
	}
}

static int write_all(const struct folded *folded, struct sink *sink, struct error *err)
{
	const struct view *view = folded->view;
	uint64_t written = 0;
	for (size_t i = 0, n; i < view->n_samples; i += n) {
		const struct view_sample *sample = &view->samples[folded->order[i]];
		int64_t value = 0;
		for (n = 0; i + n < view->n_samples; n++) {
			const struct view_sample *next = &view->samples[folded->order[i + n]];
			if (compare_stacks(folded, sample, next) != 0)
				break;
			view_add(&value, next->values[view->type]);
		}
		if (value <= 0)
			continue;
		written += stack_length(folded, sample);
		if (written > TEXT_MAX)
			return error_set(err,
				"%s is too large to be folded: that is more than %d GB of text; choose another "
				"format",
				view->name, (int)(TEXT_MAX >> 30));
		write_stack(folded, sample, sink);
		sink_format(sink, " %" PRId64 "\n", value);
	}
	return sink_close(sink, err);
}

int folded_write(const struct view *view, int fd, struct error *err)
{
	struct folded folded = {.view = view};
	struct sink *sink = malloc(sizeof *sink);
	int outcome = -1;
	if (sink == NULL || sort(&folded) != 0) {
		error_set(err, "memory is out");
	} else {
		sink_open(sink, fd);
		outcome = write_all(&folded, sink, err);
	}
	functions_free(&folded.functions);
	free(folded.rank);
	free(folded.length);
	free(folded.order);
	free(sink);
	return outcome;
}
