/* The formats that a profile is written in. */
#ifndef ENCODER_FORMAT_H
#define ENCODER_FORMAT_H

#include "encoder/text.h"
#include "encoder/view.h"

enum format {
	FORMAT_PPROF,
	FORMAT_FLAMEGRAPH,
	FORMAT_FOLDED,
	FORMAT_SPEEDSCOPE,
	FORMAT_TEXT,
	FORMAT_JSON,
	FORMATS,
};

/* "pprof", "flamegraph" ...; false when there is none of this name. */
bool format_find(const char *name, enum format *format);
/* By the end of a file's name: .pb.gz, .html, .folded, .speedscope.json, .txt, .json; false when it tells
 * nothing. */
bool format_of_path(const char *path, enum format *format);
const char *format_extension(enum format format); /* ".pb.gz" */
bool format_is_for_terminals(enum format format); /* lines of text */

/* Writes any but FORMAT_PPROF. `before` (or NULL): what it is compared with, for FORMAT_TEXT and
 * FORMAT_FLAMEGRAPH. `text` is for FORMAT_TEXT. -1 with the reason. */
int format_write(const struct view *view, const struct view *before, enum format format,
	const struct text_options *text, int fd, struct error *err);

#endif
