#include "encoder/listing.h"

#include "encoder/table.h"
#include "encoder/text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* SOURCE_MAX of one file, SOURCES_MAX of all: a profile can name the same file for each of many functions. */
enum { CONTEXT = 5, SOURCE_MAX = 16 * 1024 * 1024, SOURCES_MAX = 256 * 1024 * 1024, WIDTH_MAX = 200 };

/* One line of one function. */
struct place {
	const char *function, *file;
	int64_t line, flat, cum; /* line: 0 unknown */
	size_t last; /* the sample that counted it last, + 1 */
};

/* The same as numbers of texts: equal keys are the same line. */
struct place_key {
	uint32_t function, file;
	int64_t line;
};

struct places {
	struct place *v;
	size_t n;
	uint32_t *of_frame; /* by frame of the view: number + 1; 0: does not match */
	struct table texts, keys;
};

/* ---- what the lines used ---- */

static int add_place(struct places *places, const struct view_frame *frame, uint32_t *number)
{
	struct place_key key = {table_intern(&places->texts, frame->function, strlen(frame->function)),
		table_intern(&places->texts, frame->file, strlen(frame->file)), frame->line};
	if (key.function == TABLE_NONE || key.file == TABLE_NONE)
		return -1;
	uint32_t at = table_intern(&places->keys, &key, sizeof key);
	if (at == TABLE_NONE)
		return -1;
	if (at == places->n)
		places->v[places->n++] =
			(struct place){.function = frame->function, .file = frame->file, .line = frame->line};
	*number = at + 1;
	return 0;
}

static int choose(const struct view *view, const regex_t *pattern, struct places *places)
{
	places->v = calloc(view->n_frames + 1, sizeof *places->v);
	places->of_frame = calloc(view->n_frames + 1, sizeof *places->of_frame);
	if (places->v == NULL || places->of_frame == NULL)
		return -1;
	for (size_t i = 0; i < view->n_frames; i++) {
		const struct view_frame *frame = &view->frames[i];
		if (frame->named && regexec(pattern, frame->function, 0, NULL, 0) == 0 &&
			add_place(places, frame, &places->of_frame[i]) != 0)
			return -1;
	}
	return 0;
}

static void sum_up(const struct view *view, struct places *places)
{
	for (size_t i = 0; i < view->n_samples; i++) {
		const struct view_sample *sample = &view->samples[i];
		int64_t value = sample->values[view->type];
		for (size_t k = 0; k < sample->n_frames; k++) {
			uint32_t number = places->of_frame[sample->frames[k]];
			if (number == 0)
				continue;
			struct place *place = &places->v[number - 1];
			if (place->last != i + 1)
				view_add(&place->cum, value);
			place->last = i + 1;
			if (k + 1 == sample->n_frames)
				view_add(&place->flat, value);
		}
	}
}

static int compare(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int order = strcmp(x->function, y->function);
	if (order == 0)
		order = strcmp(x->file, y->file);
	return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

/* ---- the source ---- */

/* A file, and how far it was read: lines are asked for in ascending order. */
struct source {
	char *text; /* NULL: it cannot be read */
	size_t n, at; /* text[at] is the first byte of line `line` */
	int64_t line; /* from 1 on */
};

/* The path is from the profile, and may name anything: only regular files are read, up to a limit. */
static struct source source_read(const char *path, size_t *budget)
{
	struct source source = {.line = 1};
	struct stat st;
	int fd = path[0] == '/' ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
	if (fd < 0)
		return source;
	size_t size = 0;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= SOURCE_MAX)
		size = (size_t)st.st_size;
	if (size > 0 && size <= *budget)
		source.text = malloc(size);
	while (source.text != NULL && source.n < size) {
		ssize_t n = read(fd, source.text + source.n, size - source.n);
		if (n <= 0)
			break;
		source.n += (size_t)n;
	}
	close(fd);
	*budget -= source.n;
	return source;
}

/* Line `number`, without its newline; false when there is none, or when a later one was asked for before. */
static bool source_line(struct source *source, int64_t number, const char **line, size_t *len)
{
	while (source->text != NULL && source->at < source->n && source->line <= number) {
		const char *newline = memchr(source->text + source->at, '\n', source->n - source->at);
		size_t end = newline != NULL ? (size_t)(newline - source->text) : source->n;
		if (source->line == number) {
			*line = source->text + source->at;
			*len = end - source->at;
			return true;
		}
		source->at = end + 1;
		source->line++;
	}
	return false;
}

/* ---- writing ---- */

static void write_source(const char *line, size_t len, struct sink *sink)
{
	char text[WIDTH_MAX + 1];
	size_t n = len < WIDTH_MAX ? len : WIDTH_MAX;
	/* Not through the middle of a character. */
	while (n > 0 && n < len && ((unsigned char)line[n] & 0xc0) == 0x80)
		n--;
	if (n > 0 && n == len && line[n - 1] == '\r')
		n--;
	for (size_t i = 0; i < n; i++)
		text[i] = line[i];
	text[n] = '\0';
	sink_printable(sink, text);
}

static void write_sums(const struct view *view, const struct place *place, int64_t line, struct sink *sink)
{
	char flat[TEXT_VALUE_WIDTH] = ".", cum[TEXT_VALUE_WIDTH] = ".", number[TEXT_VALUE_WIDTH] = "?";
	const char *unit = view->types[view->type].unit;
	if (place != NULL && place->flat != 0)
		text_value(place->flat, unit, flat);
	if (place != NULL && place->cum != 0)
		text_value(place->cum, unit, cum);
	if (line > 0)
		text_value(line, "", number);
	sink_format(sink, "%10s %10s %6s  ", flat, cum, number);
}

/* Lines first .. last of a function's source, of which the last that exists may be an earlier one. Returns
 * the last that was written. */
static int64_t write_around(const struct view *view, const struct place *place, int64_t first, int64_t last,
	struct source *source, struct sink *sink)
{
	for (int64_t line = first; line <= last; line++) {
		const char *text = NULL;
		size_t len = 0;
		if (!source_line(source, line, &text, &len) && line != place->line) {
			if (line > place->line)
				return line - 1;
			continue; /* the file is shorter than it was */
		}
		write_sums(view, line == place->line ? place : NULL, line, sink);
		write_source(text, len, sink);
		sink_text(sink, "\n");
	}
	return last;
}

static void write_lines(
	const struct view *view, const struct place *v, size_t n, struct source *source, struct sink *sink)
{
	int64_t shown = 0; /* all up to this one that will ever be */
	for (size_t i = 0; i < n; i++) {
		int64_t around = source->text != NULL && v[i].line > 0 ? CONTEXT : 0;
		int64_t first = v[i].line - around, last = v[i].line + around;
		if (first <= shown)
			first = shown < v[i].line ? shown + 1 : v[i].line;
		else if (shown > 0 && first > shown + 1 && around > 0)
			sink_text(sink, "       ...\n");
		if (i + 1 < n && last >= v[i + 1].line)
			last = v[i + 1].line - 1;
		shown = write_around(view, &v[i], first, last, source, sink);
	}
}

/* v[0..n): the lines of one function in one file. */
static void write_function(
	const struct view *view, const struct place *v, size_t n, size_t *budget, struct sink *sink)
{
	struct source source = source_read(v[0].file, budget);
	bool has_file = v[0].file[0] != '\0';
	sink_printable(sink, v[0].function);
	sink_text(sink, " in ");
	sink_printable(sink, has_file ? v[0].file : "an unknown file");
	sink_text(
		sink, has_file && source.text == NULL ? " (cannot be read here: the lines' numbers only)" : "");
	sink_text(sink, "\n      flat        cum   line\n");
	write_lines(view, v, n, &source, sink);
	sink_text(sink, "\n");
	free(source.text);
}

/* Returns how many functions. */
static size_t write_all(const struct view *view, struct places *places, struct sink *sink)
{
	size_t functions = 0, budget = SOURCES_MAX;
	qsort(places->v, places->n, sizeof *places->v, compare);
	for (size_t i = 0, n; i < places->n; i += n) {
		bool used = places->v[i].cum != 0;
		for (n = 1; i + n < places->n; n++) {
			if (strcmp(places->v[i].function, places->v[i + n].function) != 0 ||
				strcmp(places->v[i].file, places->v[i + n].file) != 0)
				break;
			used |= places->v[i + n].cum != 0;
		}
		if (!used)
			continue;
		write_function(view, places->v + i, n, &budget, sink);
		functions++;
	}
	return functions;
}

int listing_write(const struct view *view, const regex_t *pattern, struct sink *sink, struct error *err)
{
	struct places places = {0};
	int outcome = choose(view, pattern, &places);
	if (outcome == 0) {
		sum_up(view, &places);
		if (write_all(view, &places, sink) == 0)
			outcome = error_set(err,
				"no function in the samples that are shown matches: without --list the hottest "
				"are named");
	} else {
		error_set(err, "memory is out");
	}
	table_free(&places.texts);
	table_free(&places.keys);
	free(places.v);
	free(places.of_frame);
	return outcome;
}
