#include "encoder/speedscope.h"

#include "encoder/sink.h"
#include "encoder/table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_SHOWN = 500 };

/* The threads by name; of_sample has each sample's, TABLE_NONE for one without a name. */
struct threads {
	struct table names;
	uint32_t *of_sample;
};

static int find_threads(const struct view *view, struct threads *threads)
{
	threads->of_sample = calloc(view->n_samples + 1, sizeof *threads->of_sample);
	if (threads->of_sample == NULL)
		return -1;
	for (size_t i = 0; i < view->n_samples; i++) {
		const char *name = view_text(&view->samples[i], "thread");
		threads->of_sample[i] = TABLE_NONE;
		if (name == NULL)
			continue;
		threads->of_sample[i] = table_intern(&threads->names, name, strlen(name) + 1);
		if (threads->of_sample[i] == TABLE_NONE)
			return -1;
	}
	return 0;
}

static const char *unit_of(const char *unit)
{
	static const char *const known[] = {"nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(unit, known[i]) == 0)
			return unit;
	return "none";
}

static void write_frames(const struct view *view, struct sink *sink)
{
	sink_text(sink, "\"shared\":{\"frames\":[");
	for (size_t i = 0; i < view->n_frames; i++) {
		const struct view_frame *frame = &view->frames[i];
		sink_text(sink, i > 0 ? ",\n{\"name\":" : "\n{\"name\":");
		sink_json(sink, frame->function);
		if (frame->file[0] != '\0') {
			sink_text(sink, ",\"file\":");
			sink_json(sink, frame->file);
		}
		if (frame->line > 0)
			sink_format(sink, ",\"line\":%" PRId64, frame->line);
		sink_text(sink, "}");
	}
	sink_text(sink, "]},\n");
}

/* speedscope has no place for negative weights. */
static bool is_of(const struct view *view, const struct threads *threads, uint32_t thread, size_t sample)
{
	return view->samples[sample].values[view->type] > 0 &&
	       (thread == TABLE_NONE || threads->of_sample[sample] == thread);
}

/* One thread's, or all threads' (TABLE_NONE). */
static void write_profile(const struct view *view, const struct threads *threads, uint32_t thread,
	const char *name, struct sink *sink)
{
	int64_t total = 0;
	bool first = true;
	sink_text(sink, "{\"type\":\"sampled\",\"name\":");
	sink_json(sink, name);
	sink_format(sink, ",\"unit\":\"%s\",\"samples\":[", unit_of(view->types[view->type].unit));
	for (size_t i = 0; i < view->n_samples; i++) {
		if (!is_of(view, threads, thread, i))
			continue;
		sink_text(sink, first ? "\n[" : ",\n[");
		first = false;
		for (size_t k = 0; k < view->samples[i].n_frames; k++)
			sink_format(sink, k > 0 ? ",%" PRIu32 : "%" PRIu32, view->samples[i].frames[k]);
		sink_text(sink, "]");
	}
	sink_text(sink, "],\"weights\":[");
	first = true;
	for (size_t i = 0; i < view->n_samples; i++) {
		if (!is_of(view, threads, thread, i))
			continue;
		view_add(&total, view->samples[i].values[view->type]);
		sink_format(sink, first ? "%" PRId64 : ",%" PRId64, view->samples[i].values[view->type]);
		first = false;
	}
	sink_format(sink, "],\"startValue\":0,\"endValue\":%" PRId64 "}", total);
}

static void write_all(const struct view *view, const struct threads *threads, struct sink *sink)
{
	size_t len;
	sink_text(sink, "{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\n"
			"\"exporter\":\"cprof-attach " CPROF_VERSION "\",\"name\":");
	sink_json(sink, view->name);
	sink_text(sink, ",\"activeProfileIndex\":0,\n");
	write_frames(view, sink);
	sink_text(sink, "\"profiles\":[\n");
	write_profile(view, threads, TABLE_NONE, threads->names.n > 1 ? "all threads" : view->name, sink);
	for (uint32_t i = 0; threads->names.n > 1 && i < threads->names.n && i < THREADS_SHOWN; i++) {
		sink_text(sink, ",\n");
		write_profile(view, threads, i, table_key(&threads->names, i, &len), sink);
	}
	sink_text(sink, "]}\n");
}

int speedscope_write(const struct view *view, int fd, struct error *err)
{
	struct threads threads = {0};
	struct sink *sink = malloc(sizeof *sink);
	int outcome = -1;
	if (sink == NULL || find_threads(view, &threads) != 0) {
		error_set(err, "memory is out");
	} else {
		sink_open(sink, fd);
		write_all(view, &threads, sink);
		outcome = sink_close(sink, err);
	}
	table_free(&threads.names);
	free(threads.of_sample);
	free(sink);
	return outcome;
}
