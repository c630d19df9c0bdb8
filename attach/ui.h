/* What people see on standard error. With main.c the only code that prints. */
#ifndef ATTACH_UI_H
#define ATTACH_UI_H

#include "attach/options.h"
#include "attach/report.h"

/* One line of progress, drawn over the last one; only called when standard error is a terminal. */
void ui_progress(const struct sampler_progress *progress, const struct options *options);
/* Removes the line of progress. */
void ui_progress_end(void);

/* The same while a debug file is fetched: bytes so far, of `total` (0: not known). */
void ui_fetching(const char *build_id, int64_t bytes, int64_t total);

/* The summary after a run. `path` is the file that was written, "-" for standard output. */
void ui_summary(
	const struct report *report, struct profile *profile, const struct options *options, const char *path);

/* "cprof-attach: MESSAGE" in one line. */
void ui_error(const char *message);
/* A line of what was done, unless -q. */
void ui_say(const struct options *options, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line of what was asked for, to standard output. Control characters are shown as '?'. */
void ui_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What was said so far leaves, whatever comes next. */
void ui_flush(void);
/* The size of the terminal that standard output is; false when it is none. */
bool ui_terminal(unsigned *columns, unsigned *rows);
/* To standard error, as it is: what a start without arguments gets. */
void ui_welcome(const char *text);
/* Asked for with --help: to standard output. */
void ui_help(const char *text);
/* A line only with -v. */
void ui_note(const struct options *options, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
