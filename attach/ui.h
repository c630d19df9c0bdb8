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
/* Asked for with --help: to standard output. */
void ui_help(const char *text);
/* A line only with -v. */
void ui_note(const struct options *options, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
