#include "encoder/diff.h"

#include "encoder/functions.h"
#include "encoder/sink.h"
#include "encoder/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Per cent. */
struct change {
	const char *name;
	double flat[2], cum[2]; /* before, now */
};

struct changes {
	struct change *v;
	struct table names;
};

static bool is_time(const struct view *view)
{
	return view->duration_ns > 0 && strcmp(view->types[view->type].unit, "nanoseconds") == 0;
}

static int add(const struct view *view, int when, bool by_time, struct changes *changes)
{
	struct functions functions;
	int outcome = functions_sum(view, view->type, &functions);
	double whole = by_time ? (double)view->duration_ns : (double)functions.total;
	for (size_t i = 0; outcome == 0 && i < functions.n; i++) {
		const struct function_sum *function = &functions.v[i];
		uint32_t number = table_intern(&changes->names, function->name, strlen(function->name));
		if (number == TABLE_NONE) {
			outcome = -1;
			break;
		}
		changes->v[number].name = function->name;
		changes->v[number].flat[when] = whole != 0 ? 100 * (double)function->flat / whole : 0;
		changes->v[number].cum[when] = whole != 0 ? 100 * (double)function->cum / whole : 0;
	}
	functions_free(&functions);
	return outcome;
}

static int compare(const void *a, const void *b)
{
	const struct change *x = a, *y = b;
	double dx = fabs(x->flat[1] - x->flat[0]), dy = fabs(y->flat[1] - y->flat[0]);
	if (dx == dy) {
		dx = fabs(x->cum[1] - x->cum[0]);
		dy = fabs(y->cum[1] - y->cum[0]);
	}
	return dx != dy ? (dx < dy) - (dx > dy) : strcmp(x->name, y->name);
}

static bool is_used(const struct change *change)
{
	return change->flat[0] != 0 || change->flat[1] != 0 || change->cum[0] != 0 || change->cum[1] != 0;
}

static void write_rows(const struct changes *changes, size_t top, struct sink *sink)
{
	size_t n = changes->names.n, used = 0;
	qsort(changes->v, n, sizeof *changes->v, compare);
	sink_text(sink, "    change    before       now   cum: change    before       now\n");
	for (size_t i = 0; i < n; i++) {
		const struct change *change = &changes->v[i];
		if (!is_used(change) || (++used > top && top > 0))
			continue;
		sink_format(sink, "%+9.2f%% %8.2f%% %8.2f%%    %+9.2f%% %8.2f%% %8.2f%%  ",
			change->flat[1] - change->flat[0], change->flat[0], change->flat[1],
			change->cum[1] - change->cum[0], change->cum[0], change->cum[1]);
		sink_printable(sink, change->name);
		sink_text(sink, "\n");
	}
	if (top > 0 && used > top)
		sink_format(sink, "%zu more functions; --top 0 shows all\n", used - top);
}

static void write_head(const struct view *view, const struct view *before, bool by_time, struct sink *sink)
{
	sink_text(sink, "before    ");
	sink_printable(sink, before->name);
	sink_text(sink, "\nnow       ");
	sink_printable(sink, view->name);
	sink_format(sink, "\nunit      %s; the functions' own use, and with all that they call\n\n",
		by_time ? "per cent of the time that each profile lasted: 100 % is one CPU or one thread"
			: "per cent of each profile's total");
}

int diff_write(const struct view *view, const struct view *before, size_t top, int fd, struct error *err)
{
	struct changes changes = {.v = calloc(view->n_frames + before->n_frames + 1, sizeof *changes.v)};
	struct sink *sink = malloc(sizeof *sink);
	bool by_time = is_time(view) && is_time(before);
	int outcome = -1;
	if (changes.v == NULL || sink == NULL || add(before, 0, by_time, &changes) != 0 ||
		add(view, 1, by_time, &changes) != 0) {
		error_set(err, "memory is out");
	} else {
		sink_open(sink, fd);
		write_head(view, before, by_time, sink);
		write_rows(&changes, top, sink);
		outcome = sink_close(sink, err);
	}
	table_free(&changes.names);
	free(changes.v);
	free(sink);
	return outcome;
}
