/* Which samples of a view are shown: as pprof's -focus, -ignore and -tagfocus choose them. */
#ifndef ENCODER_FILTER_H
#define ENCODER_FILTER_H

#include "encoder/view.h"

#include <regex.h>

struct filter {
	regex_t focus, ignore; /* over functions, files and modules of a stack */
	bool has_focus, has_ignore;
	const char *state, *thread, *process; /* labels; NULL: any */
	int64_t tid; /* 0: any */
};

/* A pattern as people give them: POSIX extended. -1 with what is wrong in *err; else it goes to regfree(). */
int filter_pattern(regex_t *regex, const char *pattern, struct error *err);

/* NULL leaves one out. -1 with what is wrong in *err. */
int filter_compile(struct filter *filter, const char *focus, const char *ignore, struct error *err);
void filter_free(struct filter *filter);

/* A view of those samples; shares everything else with `view`, which must outlive it. NULL when memory is out.
 */
struct view *filter_apply(const struct filter *filter, const struct view *view);
void filter_view_free(struct view *view);

#endif
