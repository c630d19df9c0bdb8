#include "encoder/text.h"

#include "encoder/edges.h"
#include "encoder/functions.h"
#include "encoder/listing.h"
#include "encoder/sink.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EDGES_SHOWN = 8, PERCENT_WIDTH = 16 };

/* ---- values ---- */

struct scale {
	const char *unit, *name;
	double size;
};

static const struct scale scales[] = {
	{"nanoseconds", "s", 1e9},
	{"nanoseconds", "ms", 1e6},
	{"nanoseconds", "us", 1e3},
	{"nanoseconds", "ns", 1},
	{"microseconds", "s", 1e6},
	{"microseconds", "ms", 1e3},
	{"microseconds", "us", 1},
	{"milliseconds", "s", 1e3},
	{"milliseconds", "ms", 1},
	{"bytes", "GB", 1024. * 1024 * 1024},
	{"bytes", "MB", 1024. * 1024},
	{"bytes", "kB", 1024},
	{"bytes", "B", 1},
};

void text_value(int64_t value, const char *unit, char text[TEXT_VALUE_WIDTH])
{
	double size = fabs((double)value);
	const struct scale *chosen = NULL;
	for (size_t i = 0; i < sizeof scales / sizeof *scales; i++)
		if (strcmp(scales[i].unit, unit) == 0) {
			chosen = &scales[i];
			if (size >= chosen->size)
				break;
		}
	if (chosen == NULL)
		snprintf(text, TEXT_VALUE_WIDTH, "%" PRId64, value);
	else if (chosen->size == 1)
		snprintf(text, TEXT_VALUE_WIDTH, "%" PRId64 "%s", value, value != 0 ? chosen->name : "");
	else
		snprintf(text, TEXT_VALUE_WIDTH, "%.2f%s", (double)value / chosen->size, chosen->name);
}

static double share(int64_t value, int64_t total)
{
	return total != 0 ? 100 * (double)value / (double)total : 0;
}

/* ---- the head ---- */

static void write_head(const struct view *view, struct sink *sink)
{
	char total[TEXT_VALUE_WIDTH];
	const struct view_type *type = &view->types[view->type];
	int64_t sum = 0;
	for (size_t i = 0; i < view->n_samples; i++)
		view_add(&sum, view->samples[i].values[view->type]);
	text_value(sum, type->unit, total);
	sink_text(sink, view->name);
	sink_text(sink, "\n");
	if (view->time_ns > 0) {
		char when[64];
		struct tm parts;
		time_t seconds = (time_t)(view->time_ns / 1000000000);
		if (localtime_r(&seconds, &parts) != NULL &&
			strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S %z", &parts) > 0)
			sink_format(sink, "started   %s\n", when);
	}
	sink_format(sink, "total     %s of %s", total, type->type);
	if (view->duration_ns > 0)
		sink_format(sink, " in %.2f s", (double)view->duration_ns / 1e9);
	sink_text(sink, "\n");
	/* Comments that begin with '#' are for those who look closely (pprof -comments hides them, too). */
	for (size_t i = 0; i < view->n_comments; i++) {
		if (view->comments[i][0] == '#' || view->comments[i][0] == '\0')
			continue;
		sink_text(sink, view->comments[i]);
		sink_text(sink, "\n");
	}
	sink_text(sink, "\n");
}

/* ---- the table ---- */

static void write_row(const struct view *view, const struct functions *functions,
	const struct function_sum *function, int64_t so_far, struct sink *sink)
{
	char flat[TEXT_VALUE_WIDTH], cum[TEXT_VALUE_WIDTH];
	const char *unit = view->types[view->type].unit;
	text_value(function->flat, unit, flat);
	text_value(function->cum, unit, cum);
	sink_format(sink, "%10s %5.2f%% %5.2f%% %10s %5.2f%%  ", flat, share(function->flat, functions->total),
		share(so_far, functions->total), cum, share(function->cum, functions->total));
	sink_text(sink, function->name);
	sink_text(sink, "\n");
}

static void write_top(const struct view *view, const struct functions *functions,
	const struct text_options *options, struct sink *sink)
{
	size_t n = options->top > 0 && options->top < functions->n ? options->top : functions->n;
	const uint32_t *order = options->by_cum ? functions->by_cum : functions->by_flat;
	int64_t so_far = 0;
	sink_text(sink, "      flat  flat%   sum%        cum   cum%\n");
	for (size_t i = 0; i < n; i++) {
		const struct function_sum *function = &functions->v[order[i]];
		if (function->flat == 0 && function->cum == 0)
			continue;
		view_add(&so_far, function->flat);
		write_row(view, functions, function, so_far, sink);
	}
	if (n < functions->n)
		sink_format(sink, "%*s%zu more functions; --top %zu shows all\n", 43, "", functions->n - n,
			functions->n);
}

/* ---- callers and callees ---- */

static void write_edges(const struct view *view, const struct functions *functions, const struct edge *edges,
	size_t n, bool callers, const struct function_sum *function, struct sink *sink)
{
	size_t shown = n < EDGES_SHOWN ? n : EDGES_SHOWN;
	for (size_t i = 0; i < shown; i++) {
		char value[TEXT_VALUE_WIDTH];
		const struct function_sum *other = &functions->v[callers ? edges[i].caller : edges[i].callee];
		text_value(edges[i].value, view->types[view->type].unit, value);
		sink_format(sink, "%41s%10s %5.2f%% %s ", "", value, share(edges[i].value, function->cum),
			callers ? "|  " : "|    ");
		sink_text(sink, other->name);
		sink_text(sink, "\n");
	}
	if (shown < n)
		sink_format(sink, "%58s %s %zu more\n", "", callers ? "|  " : "|    ", n - shown);
}

static void write_tree(const struct view *view, const struct functions *functions, const struct edges *edges,
	const struct text_options *options, struct sink *sink)
{
	static const char line[] =
		"------------------------------------------------------------+----------------\n";
	size_t n = options->top > 0 && options->top < functions->n ? options->top : functions->n;
	const uint32_t *order = options->by_cum ? functions->by_cum : functions->by_flat;
	sink_text(sink,
		"      flat  flat%   sum%        cum   cum%      calls calls%  callers, FUNCTION, callees\n");
	int64_t so_far = 0;
	for (size_t i = 0; i < n; i++) {
		const struct function_sum *function = &functions->v[order[i]];
		char flat[TEXT_VALUE_WIDTH], cum[TEXT_VALUE_WIDTH];
		size_t n_edges;
		if (function->cum == 0 && function->flat == 0)
			continue;
		view_add(&so_far, function->flat);
		sink_text(sink, line);
		const struct edge *callers = edges_callers(edges, order[i], &n_edges);
		write_edges(view, functions, callers, n_edges, true, function, sink);
		text_value(function->flat, view->types[view->type].unit, flat);
		text_value(function->cum, view->types[view->type].unit, cum);
		sink_format(sink, "%10s %5.2f%% %5.2f%% %10s %5.2f%% %17s | ", flat,
			share(function->flat, functions->total), share(so_far, functions->total), cum,
			share(function->cum, functions->total), "");
		sink_text(sink, function->name);
		sink_text(sink, "\n");
		const struct edge *callees = edges_callees(edges, order[i], &n_edges);
		write_edges(view, functions, callees, n_edges, false, function, sink);
	}
	sink_text(sink, line);
}

/* ---- the whole ---- */

static int write_chosen(
	const struct view *view, const struct text_options *options, struct sink *sink, struct error *err)
{
	struct functions functions;
	struct edges edges = {0};
	int outcome = 0;
	if (options->list != NULL) {
		outcome = listing_write(view, options->list, sink, err);
		if (outcome == 0)
			outcome = error_set(
				err, "no function matches '%s'; without --list all are named", options->list);
		return outcome < 0 ? -1 : 0;
	}
	if (functions_sum(view, view->type, &functions) != 0 ||
		(options->tree && edges_sum(view, view->type, &functions, &edges) != 0))
		outcome = error_set(err, "memory is out");
	else if (options->tree)
		write_tree(view, &functions, &edges, options, sink);
	else
		write_top(view, &functions, options, sink);
	edges_free(&edges);
	functions_free(&functions);
	return outcome;
}

int text_write(const struct view *view, const struct text_options *options, int fd, struct error *err)
{
	struct sink *sink = malloc(sizeof *sink);
	if (sink == NULL)
		return error_set(err, "memory is out");
	sink_open(sink, fd);
	write_head(view, sink);
	int outcome = write_chosen(view, options, sink, err);
	struct error write_err;
	if (sink_close(sink, outcome == 0 ? err : &write_err) != 0)
		outcome = -1;
	free(sink);
	return outcome;
}
