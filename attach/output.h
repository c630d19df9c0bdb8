/* The file to write: its name, and a temporary beside it, so that a half-written file never bears the final
 * name. */
#ifndef ATTACH_OUTPUT_H
#define ATTACH_OUTPUT_H

#include "unwind/error.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

struct output {
	char path[PATH_MAX]; /* the final name; "-" for standard output */
	char temporary[PATH_MAX]; /* "" when there is none */
	int fd;
};

/* Where no name is given; the format's ending comes behind. */
#define OUTPUT_PATTERN "cprof-%n-%p-%t"

/* Expands %p (PID), %n (name), %t (local time, YYYYmmddTHHMMSS) and %% in `pattern`.
 * What is not fit for a file name in `name` becomes '_'. */
int output_expand(
	const char *pattern, pid_t pid, const char *name, time_t when, char path[PATH_MAX], struct error *err);

/* Opens before anything else is done: a folder that is missing or may not be written is found out now. `path`
 * "-" is standard output, refused when it is a terminal and what comes is not `for_terminals`. */
int output_open(const char *path, bool for_terminals, struct output *output, struct error *err);
/* Makes the written file bear its name. */
int output_commit(struct output *output, struct error *err);
/* Closes, and removes the temporary if it was not committed. Harmless when called again. */
void output_discard(struct output *output);

#endif
