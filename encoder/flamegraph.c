#include "encoder/flamegraph.h"

#include "encoder/page_text.h"
#include "encoder/sink.h"
#include "encoder/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One function as the picture shows it: lines and addresses of it are one. Without padding: keys are bytes. */
struct shown_key {
	uint32_t function, module, file; /* texts */
	uint32_t named;
	int64_t start_line;
};

struct node_key {
	uint32_t parent, shown; /* parent: TABLE_NONE at the root */
};

struct thread_key {
	int64_t tid; /* 0 none */
	uint64_t name; /* a text */
};

struct sample_key {
	uint32_t node, thread, state, before; /* TABLE_NONE: no stack; no thread; no state */
};

/* All stacks as one tree: equal beginnings are one path. A parent has a smaller number than its children. */
struct tree {
	struct table texts, shown, nodes, threads, samples;
	int64_t *values; /* by sample and type */
	size_t values_cap;
	size_t n_types;
};

static uint32_t intern_text(struct tree *tree, const char *text)
{
	return table_intern(&tree->texts, text, strlen(text) + 1);
}

/* ---- the tree ---- */

static uint32_t add_shown(struct tree *tree, const struct view_frame *frame)
{
	struct shown_key key = {.function = intern_text(tree, frame->function),
		.module = intern_text(tree, frame->module),
		.file = intern_text(tree, frame->file),
		.start_line = frame->start_line,
		.named = frame->named};
	if (key.function == TABLE_NONE || key.module == TABLE_NONE || key.file == TABLE_NONE)
		return TABLE_NONE;
	return table_intern(&tree->shown, &key, sizeof key);
}

static int add_stack(
	struct tree *tree, const struct view_sample *sample, const uint32_t *shown_of, uint32_t *node)
{
	*node = TABLE_NONE;
	for (size_t i = 0; i < sample->n_frames; i++) {
		struct node_key key = {*node, shown_of[sample->frames[i]]};
		*node = table_intern(&tree->nodes, &key, sizeof key);
		if (*node == TABLE_NONE)
			return -1;
	}
	return 0;
}

/* A thread's name, and before it that of its process, where that is known and another. */
static uint32_t intern_thread_name(struct tree *tree, const struct view_sample *sample)
{
	char text[128];
	const char *thread = view_text(sample, "thread"), *process = view_text(sample, "process");
	if (thread == NULL || process == NULL || strcmp(thread, process) == 0)
		return intern_text(tree, thread != NULL ? thread : process != NULL ? process : "");
	snprintf(text, sizeof text, "%s/%s", process, thread);
	return intern_text(tree, text);
}

static int add_labels(struct tree *tree, const struct view_sample *sample, struct sample_key *key)
{
	struct thread_key thread = {0};
	const char *state = view_text(sample, "state");
	key->thread = key->state = TABLE_NONE;
	if (state != NULL) {
		key->state = intern_text(tree, state);
		if (key->state == TABLE_NONE)
			return -1;
	}
	bool has_tid = view_number(sample, "tid", &thread.tid);
	if (!has_tid && view_text(sample, "thread") == NULL && view_text(sample, "process") == NULL)
		return 0;
	thread.name = intern_thread_name(tree, sample);
	if (thread.name == TABLE_NONE)
		return -1;
	key->thread = table_intern(&tree->threads, &thread, sizeof thread);
	return key->thread != TABLE_NONE ? 0 : -1;
}

static int add_values(struct tree *tree, uint32_t number, const struct view_sample *sample, const size_t *types)
{
	size_t need = ((size_t)number + 1) * tree->n_types;
	if (need > tree->values_cap) {
		size_t cap = 2 * need + 1024;
		int64_t *larger = realloc(tree->values, cap * sizeof *larger);
		if (larger == NULL)
			return -1;
		memset(larger + tree->values_cap, 0, (cap - tree->values_cap) * sizeof *larger);
		tree->values = larger;
		tree->values_cap = cap;
	}
	for (size_t i = 0; i < tree->n_types; i++)
		if (types[i] != SIZE_MAX)
			view_add(&tree->values[number * tree->n_types + i], sample->values[types[i]]);
	return 0;
}

/* types[i]: this view's number of the type that the picture has as its i-th; SIZE_MAX none. */
static int add_view(struct tree *tree, const struct view *view, const size_t *types, bool before)
{
	uint32_t *shown_of = calloc(view->n_frames + 1, sizeof *shown_of);
	int outcome = shown_of != NULL ? 0 : -1;
	for (size_t i = 0; outcome == 0 && i < view->n_frames; i++) {
		shown_of[i] = add_shown(tree, &view->frames[i]);
		outcome = shown_of[i] != TABLE_NONE ? 0 : -1;
	}
	for (size_t i = 0; outcome == 0 && i < view->n_samples; i++) {
		const struct view_sample *sample = &view->samples[i];
		struct sample_key key = {.before = before};
		outcome = add_stack(tree, sample, shown_of, &key.node);
		if (outcome == 0)
			outcome = add_labels(tree, sample, &key);
		uint32_t number = outcome == 0 ? table_intern(&tree->samples, &key, sizeof key) : TABLE_NONE;
		outcome = number != TABLE_NONE ? add_values(tree, number, sample, types) : -1;
	}
	free(shown_of);
	return outcome;
}

static int add_both(struct tree *tree, const struct view *view, const struct view *before)
{
	size_t *types = calloc(view->n_types + 1, sizeof *types);
	if (types == NULL)
		return -1;
	for (size_t i = 0; i < view->n_types; i++)
		types[i] = i;
	int outcome = add_view(tree, view, types, false);
	for (size_t i = 0; before != NULL && i < view->n_types; i++) {
		types[i] = SIZE_MAX;
		for (size_t k = 0; k < before->n_types; k++)
			if (strcmp(view->types[i].type, before->types[k].type) == 0 &&
				strcmp(view->types[i].unit, before->types[k].unit) == 0)
				types[i] = k;
	}
	if (outcome == 0 && before != NULL)
		outcome = add_view(tree, before, types, true);
	free(types);
	return outcome;
}

/* ---- its data, as JSON ---- */

static void write_number(struct sink *sink, bool first, int64_t number)
{
	sink_format(sink, first ? "%" PRId64 : ",%" PRId64, number);
}

/* TABLE_NONE is -1. */
static int64_t or_none(uint32_t number)
{
	return number != TABLE_NONE ? (int64_t)number : -1;
}

static void write_texts(const struct tree *tree, struct sink *sink)
{
	size_t len;
	sink_text(sink, "\"texts\":[");
	for (uint32_t i = 0; i < tree->texts.n; i++) {
		sink_text(sink, i > 0 ? "," : "");
		sink_json(sink, table_key(&tree->texts, i, &len));
	}
	sink_text(sink, "],\n\"frames\":[");
	for (uint32_t i = 0; i < tree->shown.n; i++) {
		const struct shown_key *key = table_key(&tree->shown, i, &len);
		write_number(sink, i == 0, key->function);
		write_number(sink, false, key->module);
		write_number(sink, false, key->file);
		write_number(sink, false, key->start_line);
		write_number(sink, false, key->named);
	}
	sink_text(sink, "],\n");
}

static void write_nodes(const struct tree *tree, struct sink *sink)
{
	size_t len;
	/* Parents as distances: small numbers, and the file is compressed well by whoever sends it. */
	sink_text(sink, "\"parents\":[");
	for (uint32_t i = 0; i < tree->nodes.n; i++) {
		const struct node_key *key = table_key(&tree->nodes, i, &len);
		write_number(sink, i == 0, key->parent != TABLE_NONE ? (int64_t)(i - key->parent) : 0);
	}
	sink_text(sink, "],\n\"nodes\":[");
	for (uint32_t i = 0; i < tree->nodes.n; i++) {
		const struct node_key *key = table_key(&tree->nodes, i, &len);
		write_number(sink, i == 0, key->shown);
	}
	sink_text(sink, "],\n\"threads\":[");
	for (uint32_t i = 0; i < tree->threads.n; i++) {
		const struct thread_key *key = table_key(&tree->threads, i, &len);
		write_number(sink, i == 0, (int64_t)key->name);
		write_number(sink, false, key->tid);
	}
	sink_text(sink, "],\n");
}

static void write_samples(const struct tree *tree, bool before, struct sink *sink)
{
	size_t len;
	bool first = true;
	sink_text(sink, before ? "\"before\":[" : "\"samples\":[");
	for (uint32_t i = 0; i < tree->samples.n; i++) {
		const struct sample_key *key = table_key(&tree->samples, i, &len);
		if ((key->before != 0) != before)
			continue;
		write_number(sink, first, or_none(key->node));
		write_number(sink, false, or_none(key->thread));
		write_number(sink, false, or_none(key->state));
		for (size_t k = 0; k < tree->n_types; k++)
			write_number(sink, false, tree->values[i * tree->n_types + k]);
		first = false;
	}
	sink_text(sink, before ? "],\n" : "]}\n");
}

static void write_head(const struct view *view, const struct view *before, struct sink *sink)
{
	sink_text(sink, "{\"name\":");
	sink_json(sink, view->name);
	if (before != NULL) {
		sink_text(sink, ",\"beforeName\":");
		sink_json(sink, before->name);
	}
	sink_format(sink, ",\"time\":%" PRId64 ",\"duration\":%" PRId64 ",\"type\":%zu,\"types\":[",
		view->time_ns / 1000000, view->duration_ns, view->type);
	for (size_t i = 0; i < view->n_types; i++) {
		sink_text(sink, i > 0 ? ",[" : "[");
		sink_json(sink, view->types[i].type);
		sink_text(sink, ",");
		sink_json(sink, view->types[i].unit);
		sink_text(sink, "]");
	}
	sink_text(sink, "],\n\"comments\":[");
	for (size_t i = 0; i < view->n_comments; i++) {
		sink_text(sink, i > 0 ? "," : "");
		sink_json(sink, view->comments[i]);
	}
	sink_text(sink, "],\n");
}

/* ---- the page ---- */

static void write_data(
	const struct tree *tree, const struct view *view, const struct view *before, struct sink *sink)
{
	write_head(view, before, sink);
	write_texts(tree, sink);
	write_nodes(tree, sink);
	if (before != NULL)
		write_samples(tree, true, sink);
	write_samples(tree, false, sink);
}

/* Up to the mark, which is left out; the rest of the text. */
static const char *write_until(struct sink *sink, const char *text, const char *mark)
{
	const char *at = strstr(text, mark);
	if (at == NULL)
		return text;
	sink_bytes(sink, text, (size_t)(at - text));
	return at + strlen(mark);
}

static void write_page(
	const struct tree *tree, const struct view *view, const struct view *before, struct sink *sink)
{
	const char *rest = write_until(sink, page_html, "/*STYLE*/");
	sink_text(sink, page_css);
	rest = write_until(sink, rest, "/*DATA*/");
	write_data(tree, view, before, sink);
	rest = write_until(sink, rest, "/*SCRIPT*/");
	sink_text(sink, page_js);
	sink_text(sink, rest);
}

int flamegraph_write(const struct view *view, const struct view *before, int fd, struct error *err)
{
	struct tree tree = {.n_types = view->n_types};
	struct sink *sink = malloc(sizeof *sink);
	int outcome = -1;
	if (sink == NULL || add_both(&tree, view, before) != 0) {
		error_set(err, "memory is out");
	} else {
		sink_open(sink, fd);
		write_page(&tree, view, before, sink);
		outcome = sink_close(sink, err);
	}
	table_free(&tree.texts);
	table_free(&tree.shown);
	table_free(&tree.nodes);
	table_free(&tree.threads);
	table_free(&tree.samples);
	free(tree.values);
	free(sink);
	return outcome;
}
