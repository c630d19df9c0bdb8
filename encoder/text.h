/* A view as text for people and tickets: what `go tool pprof -top`, `-peek` and `-list` show, for those without
 * Go. */
#ifndef ENCODER_TEXT_H
#define ENCODER_TEXT_H

#include "encoder/view.h"

#include <regex.h>

struct text_options {
	size_t top; /* functions in the table; 0: all */
	bool by_cum; /* sorted by what functions use with all that they call */
	bool tree; /* each function with its callers and callees */
	const regex_t *list; /* annotated source of the functions that match; NULL: the table */
};

/* A head that says what the profile is and how good it is, then what was chosen. -1 with the reason. */
int text_write(const struct view *view, const struct text_options *options, int fd, struct error *err);

/* A value for people: "1.25s", "340ms", "12.5MB", "17". */
enum { TEXT_VALUE_WIDTH = 32 };
void text_value(int64_t value, const char *unit, char text[TEXT_VALUE_WIDTH]);

#endif
