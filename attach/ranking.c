#include "attach/ranking.h"

#include "encoder/functions.h"
#include "encoder/table.h"

#include <stdlib.h>
#include <string.h>

enum {
	FUNCTIONS_MAX = 1 << 16, /* ever seen; when there are more, counting begins anew */
	CALLERS_MAX = 4096,
	CALLERS_DEPTH = 128,
};

struct rows {
	void *v;
	size_t cap; /* bytes */
};

struct ranking {
	struct profile_view windows[RANKING_WINDOWS]; /* the oldest first */
	size_t n_windows;
	struct table names, modules; /* of functions ever seen, by number */
	uint32_t *module_of;
	int64_t *ever; /* by number */
	size_t cap;
	struct rows functions, threads, callers;
};

struct ranking *ranking_new(void)
{
	return calloc(1, sizeof(struct ranking));
}

void ranking_free(struct ranking *ranking)
{
	if (ranking == NULL)
		return;
	for (size_t i = 0; i < ranking->n_windows; i++)
		profile_view_close(&ranking->windows[i]);
	table_free(&ranking->names);
	table_free(&ranking->modules);
	free(ranking->module_of);
	free(ranking->ever);
	free(ranking->functions.v);
	free(ranking->threads.v);
	free(ranking->callers.v);
	free(ranking);
}

/* Zeroed room for rows; NULL when memory is out. */
static void *make_rows(struct rows *rows, size_t n, size_t size)
{
	if (n * size > rows->cap) {
		void *larger = realloc(rows->v, n * size);
		if (larger == NULL)
			return NULL;
		rows->v = larger;
		rows->cap = n * size;
	}
	if (rows->v != NULL)
		memset(rows->v, 0, n * size);
	return rows->v;
}

/* ---- functions by number ---- */

static int make_room(struct ranking *ranking, size_t number)
{
	if (number < ranking->cap)
		return 0;
	size_t cap = ranking->cap > 0 ? ranking->cap * 2 : 256;
	int64_t *ever = realloc(ranking->ever, cap * sizeof *ever);
	if (ever == NULL)
		return -1;
	ranking->ever = ever;
	uint32_t *module_of = realloc(ranking->module_of, cap * sizeof *module_of);
	if (module_of == NULL)
		return -1;
	ranking->module_of = module_of;
	ranking->cap = cap;
	return 0;
}

/* Functions are told apart by their names, as everywhere. TABLE_NONE: memory is out. */
static uint32_t number_of(struct ranking *ranking, const struct view_frame *frame)
{
	size_t known = ranking->names.n;
	if (make_room(ranking, known) != 0)
		return TABLE_NONE;
	uint32_t number = table_intern(&ranking->names, frame->function, strlen(frame->function) + 1);
	if (number != known || number == TABLE_NONE)
		return number;
	ranking->ever[number] = 0;
	ranking->module_of[number] = table_intern(&ranking->modules, frame->module, strlen(frame->module) + 1);
	return number;
}

static const char *text(const struct table *table, uint32_t number)
{
	size_t len;
	return number != TABLE_NONE ? table_key(table, number, &len) : "";
}

/* What the view is made to show: time. */
static int64_t value_of(const struct view *view, const struct view_sample *sample)
{
	return sample->values[view->type];
}

/* ---- a new window ---- */

static void count_ever(struct ranking *ranking, const struct view *view)
{
	for (size_t i = 0; i < view->n_samples; i++) {
		const struct view_sample *sample = &view->samples[i];
		if (sample->n_frames == 0)
			continue;
		uint32_t number = number_of(ranking, &view->frames[sample->frames[sample->n_frames - 1]]);
		if (number != TABLE_NONE)
			view_add(&ranking->ever[number], value_of(view, sample));
	}
}

static void forget_ever(struct ranking *ranking)
{
	table_free(&ranking->names);
	table_free(&ranking->modules);
	ranking->names = ranking->modules = (struct table){0};
}

void ranking_add(struct ranking *ranking, struct profile_view *window)
{
	if (ranking->n_windows == RANKING_WINDOWS) {
		profile_view_close(&ranking->windows[0]);
		memmove(&ranking->windows[0], &ranking->windows[1],
			(RANKING_WINDOWS - 1) * sizeof ranking->windows[0]);
		ranking->n_windows--;
	}
	if (ranking->names.n > FUNCTIONS_MAX)
		forget_ever(ranking);
	ranking->windows[ranking->n_windows++] = *window;
	*window = (struct profile_view){0};
	count_ever(ranking, ranking->windows[ranking->n_windows - 1].view);
}

double ranking_seconds(const struct ranking *ranking)
{
	double seconds = 0;
	for (size_t i = 0; i < ranking->n_windows; i++)
		seconds += (double)ranking->windows[i].view->duration_ns / 1e9;
	return seconds;
}

size_t ranking_windows(const struct ranking *ranking)
{
	return ranking->n_windows;
}

int64_t ranking_total(const struct ranking *ranking)
{
	int64_t total = 0;
	for (size_t i = 0; i < ranking->n_windows; i++) {
		const struct view *view = ranking->windows[i].view;
		for (size_t k = 0; k < view->n_samples; k++)
			view_add(&total, value_of(view, &view->samples[k]));
	}
	return total;
}

/* ---- functions ---- */

static int descending(int64_t x, int64_t y)
{
	return (x < y) - (x > y);
}

static int compare_functions(const void *a, const void *b, void *context)
{
	const struct ranking_function *x = a, *y = b;
	const enum ranking_order *order = context;
	int outcome = 0;
	if (*order == RANKING_TOTAL)
		outcome = descending(x->total, y->total);
	if (*order == RANKING_EVER)
		outcome = descending(x->self_ever, y->self_ever);
	if (outcome == 0 && *order != RANKING_NAME)
		outcome = descending(x->self, y->self);
	if (outcome == 0 && *order != RANKING_NAME)
		outcome = descending(x->total, y->total);
	return outcome != 0 ? outcome : strcmp(x->name, y->name);
}

/* Adds a window's sums to the rows, which are in the order of numbers. -1 when memory is out. */
static int add_window(struct ranking *ranking, const struct view *view, struct ranking_function *rows)
{
	struct functions sums;
	int outcome = functions_sum(view, view->type, &sums);
	for (size_t i = 0; outcome == 0 && i < view->n_frames; i++) {
		/* Each function once, by any of its frames. */
		struct function_sum *sum = &sums.v[sums.of_frame[i]];
		uint32_t number =
			sum->flat != 0 || sum->cum != 0 ? number_of(ranking, &view->frames[i]) : TABLE_NONE;
		if (number == TABLE_NONE)
			continue;
		view_add(&rows[number].self, sum->flat);
		view_add(&rows[number].total, sum->cum);
		sum->flat = sum->cum = 0;
	}
	functions_free(&sums);
	return outcome;
}

/* Every function gets its number first, so that there are rows enough. */
static void number_all(struct ranking *ranking)
{
	for (size_t i = 0; i < ranking->n_windows; i++)
		for (size_t k = 0; k < ranking->windows[i].view->n_frames; k++)
			number_of(ranking, &ranking->windows[i].view->frames[k]);
}

const struct ranking_function *ranking_functions(struct ranking *ranking, enum ranking_order order, size_t *n)
{
	*n = 0;
	number_all(ranking);
	size_t all = ranking->names.n;
	struct ranking_function *rows = make_rows(&ranking->functions, all + 1, sizeof *rows);
	if (rows == NULL)
		return NULL;
	for (size_t i = 0; i < ranking->n_windows; i++)
		if (add_window(ranking, ranking->windows[i].view, rows) != 0)
			return NULL;
	for (uint32_t i = 0; i < all; i++) {
		rows[i].name = text(&ranking->names, i);
		rows[i].module = text(&ranking->modules, ranking->module_of[i]);
		rows[i].self_ever = ranking->ever[i];
	}
	qsort_r(rows, all, sizeof *rows, compare_functions, &order);
	*n = all;
	return rows;
}

/* ---- threads ---- */

static const char *const states[] = {"running", "runnable", "sleeping", "disk", "stopped"};

enum { STATES = sizeof states / sizeof *states };

/* While it is summed up. */
struct thread_sum {
	struct ranking_thread row;
	int64_t by_state[STATES];
};

static size_t state_number(const char *state)
{
	for (size_t i = 0; state != NULL && i < STATES; i++)
		if (strcmp(states[i], state) == 0)
			return i;
	return STATES;
}

static void add_sample(struct thread_sum *sum, const struct view *view, const struct view_sample *sample)
{
	int64_t value = value_of(view, sample);
	size_t state = state_number(view_text(sample, "state"));
	const char *name = view_text(sample, "thread");
	view_number(sample, "tid", &sum->row.tid);
	sum->row.name = name != NULL ? name : "";
	view_add(&sum->row.ns, value);
	if (state == STATES || state < 2)
		view_add(&sum->row.busy_ns, value);
	if (state < STATES)
		view_add(&sum->by_state[state], value);
}

static int compare_threads(const void *a, const void *b)
{
	const struct thread_sum *x = a, *y = b;
	int outcome = descending(x->row.busy_ns, y->row.busy_ns);
	if (outcome == 0)
		outcome = descending(x->row.ns, y->row.ns);
	return outcome != 0 ? outcome : (x->row.tid > y->row.tid) - (x->row.tid < y->row.tid);
}

static void name_state(struct thread_sum *sum)
{
	size_t longest = 0;
	for (size_t i = 1; i < STATES; i++)
		if (sum->by_state[i] > sum->by_state[longest])
			longest = i;
	sum->row.state = sum->by_state[longest] > 0 ? states[longest] : "";
}

/* The samples of all windows, each to the row of its thread's ID. */
static size_t sum_threads(struct ranking *ranking, struct table *tids, struct thread_sum *sums, size_t cap)
{
	for (size_t i = 0; i < ranking->n_windows; i++) {
		const struct view *view = ranking->windows[i].view;
		for (size_t k = 0; k < view->n_samples; k++) {
			int64_t tid = 0;
			view_number(&view->samples[k], "tid", &tid);
			uint32_t number = table_intern(tids, &tid, sizeof tid);
			if (number < cap)
				add_sample(&sums[number], view, &view->samples[k]);
		}
	}
	return tids->n < cap ? tids->n : cap;
}

const struct ranking_thread *ranking_threads(struct ranking *ranking, size_t *n)
{
	struct table tids = {0};
	size_t samples = 0;
	*n = 0;
	for (size_t i = 0; i < ranking->n_windows; i++)
		samples += ranking->windows[i].view->n_samples;
	struct thread_sum *sums = calloc(samples + 1, sizeof *sums);
	struct ranking_thread *rows = make_rows(&ranking->threads, samples + 1, sizeof *rows);
	if (sums != NULL && rows != NULL) {
		*n = sum_threads(ranking, &tids, sums, samples);
		for (size_t i = 0; i < *n; i++)
			name_state(&sums[i]);
		qsort(sums, *n, sizeof *sums, compare_threads);
		for (size_t i = 0; i < *n; i++)
			rows[i] = sums[i].row;
	}
	table_free(&tids);
	free(sums);
	return rows;
}

/* ---- callers ---- */

/* A way to the function: its last step is `name`, the rest of it `parent`. */
struct way {
	uint32_t parent, indent;
	bool begins; /* others go elsewhere from where it comes from */
	const char *name;
	int64_t ns;
	uint32_t first_child, next; /* lists of numbers + 1, for the walk; 0 ends */
};

struct ways {
	struct table keys; /* {parent, name's number} -> number of the way */
	struct table names;
	struct way *v; /* CALLERS_MAX */
};

/* The way that goes one step further; TABLE_NONE when there are too many, or memory is out. */
static uint32_t step(struct ways *ways, uint32_t parent, const char *name)
{
	size_t known = ways->keys.n;
	uint32_t key[2] = {parent, table_intern(&ways->names, name, strlen(name) + 1)};
	if (key[1] == TABLE_NONE)
		return TABLE_NONE;
	uint32_t number = table_intern(&ways->keys, key, sizeof key);
	if (number == TABLE_NONE || number >= CALLERS_MAX)
		return TABLE_NONE;
	if (number == known)
		ways->v[number] = (struct way){.parent = parent, .name = name};
	return number;
}

/* The innermost frame of that name; n_frames when there is none. */
static size_t innermost(const struct view *view, const struct view_sample *sample, const char *name)
{
	for (size_t i = sample->n_frames; i-- > 0;)
		if (strcmp(view->frames[sample->frames[i]].function, name) == 0)
			return i;
	return sample->n_frames;
}

static void add_ways(struct ways *ways, const struct view *view, const struct view_sample *sample, size_t at)
{
	uint32_t parent = TABLE_NONE;
	for (uint32_t depth = 0; depth < CALLERS_DEPTH; depth++) {
		uint32_t number = step(ways, parent, view->frames[sample->frames[at]].function);
		if (number == TABLE_NONE)
			return;
		view_add(&ways->v[number].ns, value_of(view, sample));
		parent = number;
		if (at-- == 0)
			return;
	}
}

static int compare_ways(const void *a, const void *b, void *context)
{
	const struct way *ways = context, *x = &ways[*(const uint32_t *)a], *y = &ways[*(const uint32_t *)b];
	int outcome = descending(x->ns, y->ns);
	return outcome != 0 ? outcome : strcmp(x->name, y->name);
}

/* Hangs each way into its parent's list: the smallest first, since each goes to the front. */
static bool make_lists(struct ways *ways, uint32_t *root)
{
	size_t n = ways->keys.n < CALLERS_MAX ? ways->keys.n : CALLERS_MAX;
	uint32_t *order = calloc(n + 1, sizeof *order);
	if (order == NULL)
		return false;
	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	qsort_r(order, n, sizeof *order, compare_ways, ways->v);
	for (size_t i = n; i-- > 0;) {
		struct way *way = &ways->v[order[i]];
		uint32_t *head = way->parent == TABLE_NONE ? root : &ways->v[way->parent].first_child;
		way->next = *head;
		*head = order[i] + 1;
	}
	free(order);
	return true;
}

/* Where ways part, each begins further in, and its rest one step further; without that, deep stacks would leave
 * the screen. */
static void indent(const struct ways *ways, struct way *way)
{
	if (way->parent == TABLE_NONE)
		return;
	const struct way *parent = &ways->v[way->parent];
	way->begins = parent->parent == TABLE_NONE || ways->v[parent->first_child - 1].next != 0;
	way->indent = parent->indent + (way->begins || parent->begins);
}

/* In the order of lines: a way, then its children. */
static size_t write_callers(struct ways *ways, uint32_t root, struct ranking_caller *rows)
{
	size_t n = 0;
	uint32_t at = root;
	while (at != 0) {
		struct way *way = &ways->v[at - 1];
		indent(ways, way);
		rows[n++] = (struct ranking_caller){way->name, way->indent, way->ns};
		if (way->first_child != 0) {
			at = way->first_child;
			continue;
		}
		while (way->next == 0 && way->parent != TABLE_NONE)
			way = &ways->v[way->parent];
		at = way->next;
	}
	return n;
}

static void find_ways(struct ranking *ranking, struct ways *ways, const char *name)
{
	for (size_t i = 0; i < ranking->n_windows; i++) {
		const struct view *view = ranking->windows[i].view;
		for (size_t k = 0; k < view->n_samples; k++) {
			const struct view_sample *sample = &view->samples[k];
			size_t at = innermost(view, sample, name);
			if (at < sample->n_frames)
				add_ways(ways, view, sample, at);
		}
	}
}

const struct ranking_caller *ranking_callers(struct ranking *ranking, const char *name, size_t *n)
{
	struct ways ways = {.v = calloc(CALLERS_MAX, sizeof *ways.v)};
	struct ranking_caller *rows = make_rows(&ranking->callers, CALLERS_MAX, sizeof *rows);
	uint32_t root = 0;
	*n = 0;
	if (ways.v != NULL && rows != NULL) {
		find_ways(ranking, &ways, name);
		if (make_lists(&ways, &root))
			*n = write_callers(&ways, root, rows);
	}
	table_free(&ways.keys);
	table_free(&ways.names);
	free(ways.v);
	return rows;
}
