#include "attach/page.h"

#include "encoder/utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	LINE_BYTES = 2048,
	HEADER_ROWS = 3,
	FOOTER_ROWS = 1,
	INDENT_MOST = 40,
	NUMBER_WIDTH = 8, /* a column of per cents */
	EVER_WIDTH = 10,
	MODULE_WIDTH = 16, /* so much of it is left */
	WIDTH_STEP = 8,
	WITHOUT_EVER = 64, /* a screen narrower than this has no column of what was used since the beginning */
	WITHOUT_MODULE = 56,
};

static const double HOT_PERCENT = 5;

/* From a column to the end of the row. */
__attribute__((format(printf, 5, 6))) static void put(
	struct screen *screen, int row, int column, enum screen_style style, const char *format, ...)
{
	char text[LINE_BYTES];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	screen_put(screen, row, column, screen_width(screen), style, text);
}

static double percent(int64_t part, int64_t whole)
{
	return whole > 0 ? 100 * (double)part / (double)whole : 0;
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* ---- above and below the list ---- */

static void draw_process(const struct page *page, struct screen *screen, const struct page_facts *facts)
{
	const struct live_facts *live = &facts->live;
	screen_clear(screen, 0, SCREEN_PLAIN);
	char name[64];
	int width = snprintf(name, sizeof name, "%s (%d)", facts->target->name, facts->target->pid);
	put(screen, 0, 0, SCREEN_STRONG, "%s", name);
	put(screen, 0, width + 2, page->paused ? SCREEN_STRONG : SCREEN_PLAIN,
		"%s%.1f %% of a CPU  %" PRIu64 " thread%s  %s", page->paused ? "PAUSED  " : "",
		100 * live->cpus, live->threads, plural(live->threads),
		facts->kind == PROFILE_CPU ? "by CPU time" : "by all time, asleep or not");
}

/* What all this costs the process, and the machine. */
static void draw_cost(struct screen *screen, const struct ranking *ranking, const struct page_facts *facts)
{
	const struct live_facts *live = &facts->live;
	screen_clear(screen, 1, SCREEN_PLAIN);
	if (facts->naming_seconds > 1 || (facts->naming_seconds > 0 && ranking_windows(ranking) == 0))
		put(screen, 1, 0, SCREEN_PLAIN,
			"names are being looked up; nothing is sampled meanwhile (%.0f s)",
			facts->naming_seconds);
	else if (ranking_windows(ranking) == 0)
		put(screen, 1, 0, SCREEN_PLAIN, "sampling: names come after the first second");
	else if (live->stops == 0)
		put(screen, 1, 0, SCREEN_PLAIN, "no thread was stopped so far; this view uses %.1f %% of a CPU",
			100 * facts->own_cpus);
	else
		put(screen, 1, 0, SCREEN_PLAIN,
			"stopped %.2f %% of its time: %" PRIu64
			" stops of %.0f µs (p99 %.0f); this view uses %.1f %%",
			100 * live->stopped_share, live->stops, (double)live->median_ns / 1e3,
			(double)live->p99_ns / 1e3, 100 * facts->own_cpus);
}

static void draw_keys(const struct page *page, struct screen *screen)
{
	static const char *const keys[] = {
		[PAGE_FUNCTIONS] =
			"q quit  ? help  Enter callers  s t c n sort  T threads  e cpu/state  Space pause",
		[PAGE_THREADS] = "q quit  ? help  T functions  e cpu/state  Space pause",
		[PAGE_CALLERS] = "q quit  ? help  Esc back  Space pause",
		[PAGE_HELP] = "any key: back",
	};
	int row = screen_height(screen) - 1;
	screen_clear(screen, row, SCREEN_PLAIN);
	put(screen, row, 0, SCREEN_WEAK, "%s", keys[page->list]);
}

/* ---- lists ---- */

/* Where the list stands, so that the chosen row is in sight. */
static void scroll_list(struct page *page, const struct screen *screen, size_t rows)
{
	int height = screen_height(screen) - HEADER_ROWS - FOOTER_ROWS;
	page->rows = rows;
	page->height = height > 0 ? (size_t)height : 1;
	if (page->at >= rows)
		page->at = rows > 0 ? rows - 1 : 0;
	if (page->top > page->at)
		page->top = page->at;
	if (page->at - page->top >= page->height)
		page->top = page->at - page->height + 1;
	if (rows <= page->height)
		page->top = 0;
}

static int row_of(const struct page *page, size_t i)
{
	return HEADER_ROWS + (int)(i - page->top);
}

static size_t last_shown(const struct page *page)
{
	return page->top + page->height < page->rows ? page->top + page->height : page->rows;
}

static void draw_header(struct screen *screen)
{
	screen_clear(screen, HEADER_ROWS - 1, SCREEN_HEADER);
}

/* The row is empty, in its colour; the style for what stands in it. */
static enum screen_style begin_row(
	const struct page *page, struct screen *screen, size_t i, enum screen_style otherwise)
{
	enum screen_style style = i == page->at ? SCREEN_CHOSEN : otherwise;
	screen_clear(screen, row_of(page, i), style);
	return style;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

/* Where the columns of the list of functions are. */
struct columns {
	int ever, function, module; /* where they begin; 0: there is no such column */
	int function_width;
};

/* What the names that are shown need: in steps, so that the next column does not move all the time. */
static int wanted_width(size_t widest)
{
	widest = widest < LINE_BYTES ? widest : LINE_BYTES;
	return (int)(widest + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP;
}

static void measure(
	const struct page *page, const struct ranking_function *rows, int *function_width, int *module_width)
{
	size_t function = strlen("FUNCTION"), module = strlen("MODULE");
	for (size_t i = page->top; i < last_shown(page); i++) {
		size_t here = utf8_columns(rows[i].name), there = utf8_columns(base_name(rows[i].module));
		function = here > function ? here : function;
		module = there > module ? there : module;
	}
	*function_width = wanted_width(function);
	*module_width = wanted_width(module);
}

/* What is too long is cut: first the module's name, and then the function's. */
static void lay_out(const struct page *page, const struct screen *screen, const struct ranking_function *rows,
	struct columns *columns)
{
	int width = screen_width(screen), function, module;
	measure(page, rows, &function, &module);
	*columns = (struct columns){.function = 2 * NUMBER_WIDTH};
	if (width >= WITHOUT_EVER) {
		columns->ever = columns->function;
		columns->function += EVER_WIDTH;
	}
	columns->function_width = width - columns->function;
	if (width < WITHOUT_MODULE)
		return;
	int most = columns->function_width - 2 - (module < MODULE_WIDTH ? module : MODULE_WIDTH);
	columns->function_width = function < most ? function : most;
	columns->module = columns->function + columns->function_width + 2;
}

/* Of one column; the one that the list is sorted by is marked. */
static void draw_title(struct screen *screen, int column, const char *text, bool sorted)
{
	put(screen, HEADER_ROWS - 1, column, SCREEN_HEADER, "%s%s", sorted ? "*" : "", text);
}

static void draw_titles(const struct page *page, struct screen *screen, const struct columns *columns)
{
	enum ranking_order order = page->order;
	draw_header(screen);
	draw_title(screen, 1 + (order != RANKING_SELF), "SELF%", order == RANKING_SELF);
	draw_title(screen, NUMBER_WIDTH + (order != RANKING_TOTAL), "TOTAL%", order == RANKING_TOTAL);
	if (columns->ever > 0)
		draw_title(
			screen, columns->ever + 1 + (order != RANKING_EVER), "SELF s", order == RANKING_EVER);
	draw_title(screen, columns->function - (order == RANKING_NAME), "FUNCTION", order == RANKING_NAME);
	if (columns->module > 0)
		draw_title(screen, columns->module, "MODULE", false);
}

static void draw_function(const struct page *page, struct screen *screen, const struct columns *columns,
	size_t i, const struct ranking_function *function, int64_t total)
{
	int row = row_of(page, i);
	double self = percent(function->self, total);
	enum screen_style style = begin_row(page, screen, i,
		function->total == 0  ? SCREEN_WEAK
		: self >= HOT_PERCENT ? SCREEN_STRONG
				      : SCREEN_PLAIN);
	enum screen_style quiet = style == SCREEN_STRONG ? SCREEN_PLAIN : style;
	put(screen, row, 0, style, "%6.1f", self);
	put(screen, row, NUMBER_WIDTH, quiet, "%6.1f", percent(function->total, total));
	if (columns->ever > 0)
		put(screen, row, columns->ever, quiet, "%8.2f", (double)function->self_ever / 1e9);
	screen_put(screen, row, columns->function, columns->function_width, style, function->name);
	if (columns->module > 0)
		put(screen, row, columns->module, quiet, "%s", base_name(function->module));
}

static int draw_functions(struct page *page, struct screen *screen, struct ranking *ranking)
{
	size_t n;
	struct columns columns;
	const struct ranking_function *rows = ranking_functions(ranking, page->order, &n);
	scroll_list(page, screen, n);
	lay_out(page, screen, rows, &columns);
	draw_titles(page, screen, &columns);
	for (size_t i = page->top; i < last_shown(page); i++)
		draw_function(page, screen, &columns, i, &rows[i], ranking_total(ranking));
	if (n > 0 || ranking_windows(ranking) == 0)
		return row_of(page, last_shown(page));
	screen_clear(screen, HEADER_ROWS, SCREEN_PLAIN);
	put(screen, HEADER_ROWS, 0, SCREEN_PLAIN, "it has not used the CPU; press e to see where it waits");
	return HEADER_ROWS + 1;
}

/* Of a CPU profile, whose samples have no state: as /proc shows it now. */
static const char *state_now(const struct page_facts *facts, int64_t tid)
{
	struct thread thread = {.tid = (pid_t)tid, .schedstat_fd = -1, .syscall_fd = -1};
	char letter;
	if (tid == 0 || thread_state(facts->target, &thread, &letter) != 0)
		return "ended";
	switch (letter) {
	case 'R':
		return "running";
	case 'D':
		return "disk";
	case 'T':
	case 't':
		return "stopped";
	default:
		return "sleeping";
	}
}

static int draw_threads(
	struct page *page, struct screen *screen, struct ranking *ranking, const struct page_facts *facts)
{
	size_t n;
	const struct ranking_thread *rows = ranking_threads(ranking, &n);
	double seconds = ranking_seconds(ranking);
	scroll_list(page, screen, n);
	draw_header(screen);
	put(screen, HEADER_ROWS - 1, 0, SCREEN_HEADER, "    TID  %s  STATE     THREAD",
		facts->kind == PROFILE_CPU ? " CPU%" : "BUSY%");
	for (size_t i = page->top; i < last_shown(page); i++) {
		const char *state = rows[i].state[0] != '\0' ? rows[i].state : state_now(facts, rows[i].tid);
		enum screen_style style = begin_row(page, screen, i, SCREEN_PLAIN);
		put(screen, row_of(page, i), 0, style, "%7" PRId64 "  %5.1f  %-8s  %s", rows[i].tid,
			seconds > 0 ? 100 * (double)rows[i].busy_ns / 1e9 / seconds : 0, state, rows[i].name);
	}
	return row_of(page, last_shown(page));
}

static int draw_callers(struct page *page, struct screen *screen, struct ranking *ranking)
{
	size_t n;
	const struct ranking_caller *rows = ranking_callers(ranking, page->function, &n);
	int64_t total = ranking_total(ranking);
	scroll_list(page, screen, n);
	draw_header(screen);
	put(screen, HEADER_ROWS - 1, 0, SCREEN_HEADER, "TOTAL%%  CALLERS OF %s", page->function);
	for (size_t i = page->top; i < last_shown(page); i++) {
		int indent = rows[i].indent < INDENT_MOST ? (int)rows[i].indent : INDENT_MOST;
		enum screen_style style = begin_row(page, screen, i, SCREEN_PLAIN);
		put(screen, row_of(page, i), 0, style, "%6.1f  %*s%s", percent(rows[i].ns, total), indent * 2,
			"", rows[i].name);
	}
	if (n > 0)
		return row_of(page, last_shown(page));
	screen_clear(screen, HEADER_ROWS, SCREEN_PLAIN);
	put(screen, HEADER_ROWS, 0, SCREEN_PLAIN, "not seen in the last seconds");
	return HEADER_ROWS + 1;
}

static int draw_help(struct screen *screen)
{
	static const char *const lines[] = {
		"up down j k PgUp PgDn Home End   choose a row",
		"Enter, right   who calls the function",
		"Esc, left      back",
		"s t c n        sort: self, total, self s, name",
		"T              threads, or functions again",
		"e              CPU time, or all time: asleep, too",
		"Space          pause: nothing is sampled",
		"q, Ctrl-C      quit: the program goes on",
		"Ctrl-Z         let go of it, and come back with fg",
		"",
		"SELF%   in the function itself, of the last four seconds",
		"TOTAL%  with all that it calls",
		"SELF s  in itself, since the beginning",
	};
	enum { N = sizeof lines / sizeof *lines };
	draw_header(screen);
	put(screen, HEADER_ROWS - 1, 0, SCREEN_HEADER, "HELP");
	for (int i = 0; i < N && HEADER_ROWS + i < screen_height(screen) - FOOTER_ROWS; i++) {
		screen_clear(screen, HEADER_ROWS + i, SCREEN_PLAIN);
		put(screen, HEADER_ROWS + i, 0, SCREEN_PLAIN, "%s", lines[i]);
	}
	return HEADER_ROWS + N;
}

void page_draw(
	struct page *page, struct screen *screen, struct ranking *ranking, const struct page_facts *facts)
{
	int end = HEADER_ROWS;
	draw_process(page, screen, facts);
	draw_cost(screen, ranking, facts);
	switch (page->list) {
	case PAGE_FUNCTIONS:
		end = draw_functions(page, screen, ranking);
		break;
	case PAGE_THREADS:
		end = draw_threads(page, screen, ranking, facts);
		break;
	case PAGE_CALLERS:
		end = draw_callers(page, screen, ranking);
		break;
	case PAGE_HELP:
		end = draw_help(screen);
		break;
	}
	for (; end < screen_height(screen) - FOOTER_ROWS; end++)
		screen_clear(screen, end, SCREEN_PLAIN);
	draw_keys(page, screen);
	screen_show(screen);
}

/* ---- keys ---- */

static void go_to(struct page *page, enum page_list list, size_t at)
{
	page->list = list;
	page->at = at;
	page->top = 0;
}

static void enter_callers(struct page *page, struct ranking *ranking)
{
	size_t n;
	const struct ranking_function *rows = ranking_functions(ranking, page->order, &n);
	if (page->at >= n)
		return;
	snprintf(page->function, sizeof page->function, "%s", rows[page->at].name);
	page->back_at = page->at;
	go_to(page, PAGE_CALLERS, 0);
}

static void move_by(struct page *page, int key)
{
	size_t last = page->rows > 0 ? page->rows - 1 : 0, far = page->height;
	switch (key) {
	case SCREEN_UP:
		page->at -= page->at > 0;
		break;
	case SCREEN_DOWN:
		page->at += page->at < last;
		break;
	case SCREEN_PAGE_UP:
		page->at -= page->at < far ? page->at : far;
		break;
	case SCREEN_PAGE_DOWN:
		page->at = last - page->at < far ? last : page->at + far;
		break;
	case SCREEN_HOME:
		page->at = 0;
		break;
	default:
		page->at = last;
		break;
	}
}

static void sort_by(struct page *page, enum ranking_order order)
{
	page->order = order;
	go_to(page, PAGE_FUNCTIONS, 0);
}

enum page_wish page_key(struct page *page, struct ranking *ranking, int key)
{
	if (key == 'q' || key == SCREEN_QUIT)
		return WISH_QUIT;
	if (key == SCREEN_SUSPEND)
		return WISH_SUSPEND;
	if (key == SCREEN_RESIZED)
		return WISH_NOTHING;
	if (page->list == PAGE_HELP) {
		go_to(page, PAGE_FUNCTIONS, 0);
		return WISH_NOTHING;
	}
	switch (key) {
	case SCREEN_UP:
	case SCREEN_DOWN:
	case SCREEN_PAGE_UP:
	case SCREEN_PAGE_DOWN:
	case SCREEN_HOME:
	case SCREEN_END:
		move_by(page, key);
		break;
	case SCREEN_ENTER:
		if (page->list == PAGE_FUNCTIONS)
			enter_callers(page, ranking);
		break;
	case SCREEN_BACK:
		if (page->list != PAGE_FUNCTIONS)
			go_to(page, PAGE_FUNCTIONS, page->list == PAGE_CALLERS ? page->back_at : 0);
		break;
	case 's':
		sort_by(page, RANKING_SELF);
		break;
	case 't':
		sort_by(page, RANKING_TOTAL);
		break;
	case 'c':
		sort_by(page, RANKING_EVER);
		break;
	case 'n':
		sort_by(page, RANKING_NAME);
		break;
	case 'T':
		go_to(page, page->list == PAGE_THREADS ? PAGE_FUNCTIONS : PAGE_THREADS, 0);
		break;
	case ' ':
		page->paused = !page->paused;
		break;
	case '?':
		go_to(page, PAGE_HELP, 0);
		break;
	case 'e':
		return WISH_OTHER_KIND;
	default:
		break;
	}
	return WISH_NOTHING;
}
