#include "encoder/json.h"

#include "encoder/sink.h"
#include "encoder/table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void write_text(struct sink *sink, const char *key, const char *text)
{
	sink_format(sink, ",\"%s\":", key);
	sink_json(sink, text);
}

static void write_head(const struct view *view, struct sink *sink)
{
	sink_text(sink, "{\"format\":\"cprof-attach profile 1\",\"name\":");
	sink_json(sink, view->name);
	sink_format(sink, ",\"time_ns\":%" PRId64 ",\"duration_ns\":%" PRId64 ",\n\"types\":[", view->time_ns,
		view->duration_ns);
	for (size_t i = 0; i < view->n_types; i++) {
		sink_text(sink, i > 0 ? ",{\"type\":" : "{\"type\":");
		sink_json(sink, view->types[i].type);
		write_text(sink, "unit", view->types[i].unit);
		sink_text(sink, "}");
	}
	sink_format(sink, "],\"default_type\":%zu,\n\"comments\":[", view->type);
	for (size_t i = 0; i < view->n_comments; i++) {
		sink_text(sink, i > 0 ? ",\n" : "\n");
		sink_json(sink, view->comments[i]);
	}
	sink_text(sink, "],\n\"frames\":[");
}

static void write_frame(const struct view_frame *frame, struct sink *sink)
{
	sink_text(sink, "{\"function\":");
	sink_json(sink, frame->function);
	if (frame->system_name[0] != '\0')
		write_text(sink, "system_name", frame->system_name);
	if (frame->file[0] != '\0')
		write_text(sink, "file", frame->file);
	if (frame->line > 0)
		sink_format(sink, ",\"line\":%" PRId64, frame->line);
	if (frame->start_line > 0)
		sink_format(sink, ",\"start_line\":%" PRId64, frame->start_line);
	if (frame->module[0] != '\0')
		write_text(sink, "module", frame->module);
	/* As text: JavaScript's numbers hold no 64 bits. */
	if (frame->address != 0)
		sink_format(sink, ",\"address\":\"0x%" PRIx64 "\"", frame->address);
	if (frame->inlined)
		sink_text(sink, ",\"inlined\":true");
	if (!frame->named)
		sink_text(sink, ",\"named\":false");
	sink_text(sink, "}");
}

/* Keys that were written for a sample, so that an object has none of them twice. */
struct keys {
	struct table table;
	size_t *last; /* by key: the sample that had it last, + 1 */
	size_t cap;
};

/* 1 when the sample has it for the first time, 0 when not, -1 when memory is out. */
static int is_new_key(struct keys *keys, const char *key, size_t sample)
{
	uint32_t number = table_intern(&keys->table, key, strlen(key));
	if (number == TABLE_NONE)
		return -1;
	if (number >= keys->cap) {
		size_t cap = 2 * keys->cap + 64;
		size_t *larger = realloc(keys->last, cap * sizeof *larger);
		if (larger == NULL)
			return -1;
		memset(larger + keys->cap, 0, (cap - keys->cap) * sizeof *larger);
		keys->last = larger;
		keys->cap = cap;
	}
	bool is_new = keys->last[number] != sample + 1;
	keys->last[number] = sample + 1;
	return is_new;
}

static int write_labels(const struct view_sample *sample, size_t at, struct keys *keys, struct sink *sink)
{
	bool first = true;
	for (size_t k = 0; k < sample->n_labels; k++) {
		const struct view_label *label = &sample->labels[k];
		int is_new = is_new_key(keys, label->key, at);
		if (is_new < 0)
			return -1;
		if (is_new == 0)
			continue;
		sink_text(sink, first ? ",\"labels\":{" : ",");
		first = false;
		sink_json(sink, label->key);
		sink_text(sink, ":");
		if (label->text != NULL)
			sink_json(sink, label->text);
		else
			sink_format(sink, "%" PRId64, label->number);
	}
	sink_text(sink, first ? "" : "}");
	return 0;
}

static int write_sample(const struct view *view, size_t at, struct keys *keys, struct sink *sink)
{
	const struct view_sample *sample = &view->samples[at];
	sink_text(sink, at > 0 ? ",\n" : "\n");
	sink_text(sink, "{\"stack\":[");
	for (size_t k = 0; k < sample->n_frames; k++)
		sink_format(sink, k > 0 ? ",%" PRIu32 : "%" PRIu32, sample->frames[k]);
	sink_text(sink, "],\"values\":[");
	for (size_t k = 0; k < view->n_types; k++)
		sink_format(sink, k > 0 ? ",%" PRId64 : "%" PRId64, sample->values[k]);
	sink_text(sink, "]");
	int outcome = write_labels(sample, at, keys, sink);
	sink_text(sink, "}");
	return outcome;
}

int json_write(const struct view *view, int fd, struct error *err)
{
	struct keys keys = {0};
	struct sink *sink = malloc(sizeof *sink);
	if (sink == NULL)
		return error_set(err, "memory is out");
	sink_open(sink, fd);
	write_head(view, sink);
	for (size_t i = 0; i < view->n_frames; i++) {
		sink_text(sink, i > 0 ? ",\n" : "\n");
		write_frame(&view->frames[i], sink);
	}
	sink_text(sink, "],\n\"samples\":[");
	int outcome = 0;
	for (size_t i = 0; outcome == 0 && i < view->n_samples; i++)
		outcome = write_sample(view, i, &keys, sink);
	sink_text(sink, "]}\n");
	outcome = outcome == 0 ? sink_close(sink, err) : error_set(err, "memory is out");
	table_free(&keys.table);
	free(keys.last);
	free(sink);
	return outcome;
}
