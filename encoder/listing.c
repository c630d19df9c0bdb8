#include "encoder/listing.h"

#include "encoder/table.h"
#include "encoder/text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONTEXT = 5, SOURCE_MAX = 16 * 1024 * 1024, WIDTH_MAX = 200 };

/* One line of one function. Texts by address: frames that are alike share them, others are merged later. */
struct place {
	const char *function, *file;
	int64_t line, flat, cum;
	size_t last; /* the sample that counted it last, + 1 */
};

struct places {
	struct place *v;
	size_t n;
	uint32_t *of_frame; /* by frame of the view: number + 1; 0: does not match */
	struct table keys;
};

/* ---- what the lines used ---- */

static int number_of(struct places *places, const struct view_frame *frame, uint32_t *number)
{
	char key[4096];
	size_t function = strlen(frame->function), file = strlen(frame->file);
	if (function + file + 2 + sizeof frame->line > sizeof key)
		return 0;
	memcpy(key, &frame->line, sizeof frame->line);
	memcpy(key + sizeof frame->line, frame->function, function + 1);
	memcpy(key + sizeof frame->line + function + 1, frame->file, file + 1);
	uint32_t at = table_intern(&places->keys, key, sizeof frame->line + function + file + 2);
	if (at == TABLE_NONE)
		return -1;
	if (at == places->n)
		places->v[places->n++] =
			(struct place){.function = frame->function, .file = frame->file, .line = frame->line};
	*number = at + 1;
	return 0;
}

static int choose(const struct view *view, const regex_t *regex, struct places *places)
{
	places->v = calloc(view->n_frames + 1, sizeof *places->v);
	places->of_frame = calloc(view->n_frames + 1, sizeof *places->of_frame);
	if (places->v == NULL || places->of_frame == NULL)
		return -1;
	for (size_t i = 0; i < view->n_frames; i++) {
		const struct view_frame *frame = &view->frames[i];
		if (frame->named && regexec(regex, frame->function, 0, NULL, 0) == 0 &&
			number_of(places, frame, &places->of_frame[i]) != 0)
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

struct source {
	char *text;
	size_t n;
};

/* The path is from the profile, and may name anything: only regular files are read, up to a limit. */
static struct source source_read(const char *path)
{
	struct source source = {0};
	struct stat st;
	int fd = path[0] == '/' ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
	if (fd < 0)
		return source;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= SOURCE_MAX)
		source.text = malloc((size_t)st.st_size);
	while (source.text != NULL && source.n < (size_t)st.st_size) {
		ssize_t n = read(fd, source.text + source.n, (size_t)st.st_size - source.n);
		if (n <= 0)
			break;
		source.n += (size_t)n;
	}
	close(fd);
	return source;
}

/* Line `number` (from 1 on), without its newline; NULL when there is none. */
static const char *source_line(const struct source *source, int64_t number, size_t *len)
{
	const char *p = source->text, *end = p != NULL ? p + source->n : NULL;
	for (int64_t i = 1; p != NULL && p < end; i++) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		*len = (size_t)((newline != NULL ? newline : end) - p);
		if (i == number)
			return p;
		p = newline != NULL ? newline + 1 : end;
	}
	return NULL;
}

/* ---- writing ---- */

static void write_line(const struct view *view, const struct place *place, int64_t number,
	const struct source *source, struct sink *sink)
{
	char flat[TEXT_VALUE_WIDTH] = ".", cum[TEXT_VALUE_WIDTH] = ".";
	size_t len = 0;
	if (place != NULL && place->flat != 0)
		text_value(place->flat, view->types[view->type].unit, flat);
	if (place != NULL && place->cum != 0)
		text_value(place->cum, view->types[view->type].unit, cum);
	const char *text = source_line(source, number, &len);
	sink_format(sink, "%10s %10s %6" PRId64 "  ", flat, cum, number);
	if (text != NULL)
		sink_bytes(sink, text, len < WIDTH_MAX ? len : WIDTH_MAX);
	sink_text(sink, "\n");
}

/* v[0..n): the lines of one function in one file. */
static void write_function(const struct view *view, const struct place *v, size_t n, struct sink *sink)
{
	struct source source = source_read(v[0].file);
	sink_format(sink, "%s in %s%s\n      flat        cum   line\n", v[0].function,
		v[0].file[0] != '\0' ? v[0].file : "an unknown file",
		source.text == NULL && v[0].file[0] != '\0' ? " (cannot be read here: the lines' numbers only)"
							    : "");
	for (size_t i = 0; i < n; i++) {
		int64_t first = source.text != NULL ? v[i].line - CONTEXT : v[i].line,
			last = source.text != NULL ? v[i].line + CONTEXT : v[i].line;
		if (first < 1)
			first = v[i].line > 0 ? 1 : v[i].line;
		if (i > 0 && first <= v[i - 1].line + CONTEXT && source.text != NULL)
			first = v[i - 1].line + CONTEXT + 1 < v[i].line ? v[i - 1].line + CONTEXT + 1
									: v[i].line;
		else if (i > 0 && source.text != NULL)
			sink_text(sink, "       ...\n");
		if (i + 1 < n && last >= v[i + 1].line)
			last = v[i + 1].line - 1;
		for (int64_t line = first; line <= last; line++) {
			size_t len;
			if (line != v[i].line && source_line(&source, line, &len) == NULL)
				break;
			write_line(view, line == v[i].line ? &v[i] : NULL, line, &source, sink);
		}
	}
	sink_text(sink, "\n");
	free(source.text);
}

static int write_all(const struct view *view, struct places *places, struct sink *sink)
{
	int functions = 0;
	qsort(places->v, places->n, sizeof *places->v, compare);
	for (size_t i = 0, n; i < places->n; i += n) {
		for (n = 1; i + n < places->n; n++)
			if (strcmp(places->v[i].function, places->v[i + n].function) != 0 ||
				strcmp(places->v[i].file, places->v[i + n].file) != 0)
				break;
		write_function(view, places->v + i, n, sink);
		functions++;
	}
	return functions;
}

int listing_write(const struct view *view, const char *pattern, struct sink *sink, struct error *err)
{
	regex_t regex;
	struct places places = {0};
	if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		return error_set(err, "'%s' is not a regular expression: see man 7 regex", pattern);
	int outcome = choose(view, &regex, &places);
	if (outcome != 0)
		error_set(err, "memory is out");
	if (outcome == 0) {
		sum_up(view, &places);
		outcome = write_all(view, &places, sink);
	}
	regfree(&regex);
	table_free(&places.keys);
	free(places.v);
	free(places.of_frame);
	return outcome;
}
