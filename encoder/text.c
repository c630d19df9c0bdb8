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

enum { EDGES_SHOWN = 8, VALUE_COLUMN = 10 };

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
	sink_printable(sink, view->name);
	sink_text(sink, "\n");
	if (view->time_ns > 0) {
		char when[64];
		struct tm parts;
		time_t seconds = (time_t)(view->time_ns / 1000000000);
		if (localtime_r(&seconds, &parts) != NULL &&
			strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S %z", &parts) > 0)
			sink_format(sink, "started   %s\n", when);
	}
	sink_format(sink, "total     %s of ", total);
	sink_printable(sink, type->type);
	if (view->duration_ns > 0)
		sink_format(sink, " in %.2f s", (double)view->duration_ns / 1e9);
	sink_text(sink, "\n");
	/* Comments that begin with '#' are for those who look closely (pprof -comments hides them, too). */
	for (size_t i = 0; i < view->n_comments; i++) {
		if (view->comments[i][0] == '#' || view->comments[i][0] == '\0')
			continue;
		sink_printable(sink, view->comments[i]);
		sink_text(sink, "\n");
	}
	sink_text(sink, "\n");
}

/* ---- the table ---- */

/* What all rows of a table share. */
struct table_of {
	const struct view *view;
	const struct functions *functions;
	const char *unit;
	struct sink *sink;
	int width; /* of a value */
};

static int value_width(int64_t value, const char *unit, int width)
{
	char text[TEXT_VALUE_WIDTH];
	text_value(value, unit, text);
	int len = (int)strlen(text);
	return len > width ? len : width;
}

static struct table_of table_make(const struct view *view, const struct functions *functions, struct sink *sink)
{
	struct table_of table = {view, functions, view->types[view->type].unit, sink, VALUE_COLUMN};
	for (size_t i = 0; i < functions->n; i++) {
		table.width = value_width(functions->v[i].flat, table.unit, table.width);
		table.width = value_width(functions->v[i].cum, table.unit, table.width);
	}
	return table;
}

static size_t rows_shown(const struct functions *functions, size_t top)
{
	return top > 0 && top < functions->n_used ? top : functions->n_used;
}

static void write_columns(const struct table_of *table, const char *more)
{
	sink_format(table->sink, "%*s   flat%%    sum%% %*s    cum%%%s\n", table->width, "flat", table->width,
		"cum", more);
}

static void write_sums(const struct table_of *table, const struct function_sum *function, int64_t so_far)
{
	char flat[TEXT_VALUE_WIDTH], cum[TEXT_VALUE_WIDTH];
	int64_t total = table->functions->total;
	text_value(function->flat, table->unit, flat);
	text_value(function->cum, table->unit, cum);
	sink_format(table->sink, "%*s %6.2f%% %6.2f%% %*s %6.2f%%", table->width, flat,
		share(function->flat, total), share(so_far, total), table->width, cum,
		share(function->cum, total));
}

static void write_name(const struct table_of *table, const char *before, const char *name)
{
	sink_text(table->sink, before);
	sink_printable(table->sink, name);
	sink_text(table->sink, "\n");
}

static void write_top(const struct table_of *table, const struct text_options *options)
{
	const struct functions *functions = table->functions;
	size_t n = rows_shown(functions, options->top);
	const uint32_t *order = options->by_cum ? functions->by_cum : functions->by_flat;
	int64_t so_far = 0;
	write_columns(table, "");
	for (size_t i = 0; i < n; i++) {
		const struct function_sum *function = &functions->v[order[i]];
		view_add(&so_far, function->flat);
		write_sums(table, function, so_far);
		write_name(table, "  ", function->name);
	}
	if (n < functions->n_used)
		sink_format(table->sink, "%zu more functions; --top 0 shows all\n", functions->n_used - n);
}

/* ---- callers and callees ---- */

static void write_edges(const struct table_of *table, const struct edge *edges, size_t n, bool callers,
	const struct function_sum *function)
{
	size_t shown = n < EDGES_SHOWN ? n : EDGES_SHOWN;
	int indent = 2 * table->width + 25;
	for (size_t i = 0; i < shown; i++) {
		char value[TEXT_VALUE_WIDTH];
		text_value(edges[i].value, table->unit, value);
		sink_format(table->sink, "%*s %*s %6.2f%%", indent, "", table->width, value,
			share(edges[i].value, function->cum));
		write_name(table, callers ? " |   " : " |     ",
			table->functions->v[callers ? edges[i].caller : edges[i].callee].name);
	}
	if (shown < n)
		sink_format(table->sink, "%*s%s%zu more\n", indent + table->width + 9, "",
			callers ? " |   " : " |     ", n - shown);
}

static void write_line(const struct table_of *table)
{
	for (int i = 0; i < 3 * table->width + 35; i++)
		sink_text(table->sink, "-");
	sink_text(table->sink, "+----------------\n");
}

static void write_tree(
	const struct table_of *table, const struct edges *edges, const struct text_options *options)
{
	char more[2 * TEXT_VALUE_WIDTH + 64];
	const struct functions *functions = table->functions;
	size_t n = rows_shown(functions, options->top), n_edges;
	const uint32_t *order = options->by_cum ? functions->by_cum : functions->by_flat;
	int64_t so_far = 0;
	snprintf(more, sizeof more, " %*s  calls%% | callers, FUNCTION, callees", table->width, "calls");
	write_columns(table, more);
	for (size_t i = 0; i < n; i++) {
		const struct function_sum *function = &functions->v[order[i]];
		view_add(&so_far, function->flat);
		write_line(table);
		const struct edge *callers = edges_callers(edges, order[i], &n_edges);
		write_edges(table, callers, n_edges, true, function);
		write_sums(table, function, so_far);
		sink_format(table->sink, "%*s", table->width + 9, "");
		write_name(table, " | ", function->name);
		const struct edge *callees = edges_callees(edges, order[i], &n_edges);
		write_edges(table, callees, n_edges, false, function);
	}
	write_line(table);
	if (n < functions->n_used)
		sink_format(table->sink, "%zu more functions; --top 0 shows all\n", functions->n_used - n);
}

/* ---- the whole ---- */

static int write_functions(
	const struct view *view, const struct text_options *options, struct sink *sink, struct error *err)
{
	struct functions functions;
	struct edges edges = {0};
	int outcome = 0;
	if (functions_sum(view, view->type, &functions) != 0 ||
		(options->tree && edges_sum(view, view->type, &functions, &edges) != 0)) {
		outcome = error_set(err, "memory is out");
	} else {
		struct table_of table = table_make(view, &functions, sink);
		if (options->tree)
			write_tree(&table, &edges, options);
		else
			write_top(&table, options);
	}
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
	int outcome = options->list != NULL ? listing_write(view, options->list, sink, err)
					    : write_functions(view, options, sink, err);
	/* Of what failed there is nothing to read: its head stays unwritten, too. */
	if (outcome == 0)
		outcome = sink_close(sink, err);
	free(sink);
	return outcome;
}
