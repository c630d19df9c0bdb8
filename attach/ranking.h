/* What `top` shows: the functions, threads and callers of the last seconds, largest first. Pure: it is given
 * views, one for each second, and knows nothing of where they come from or how rows are drawn. */
#ifndef ATTACH_RANKING_H
#define ATTACH_RANKING_H

#include "encoder/profile_view.h"

enum { RANKING_WINDOWS = 4 }; /* of which shares are made: a second alone has too few samples */

enum ranking_order { RANKING_SELF, RANKING_TOTAL, RANKING_EVER, RANKING_NAME };

/* Nanoseconds: of the last windows, and (`ever`) since the beginning. */
struct ranking_function {
	const char *name; /* owned by the ranking until the next ranking_add() */
	const char *module; /* "" unknown; likewise */
	int64_t self, total;
	int64_t self_ever;
};

struct ranking_thread {
	int64_t tid; /* 0: threads that have ended, together */
	const char *name;
	int64_t ns;
	int64_t busy_ns; /* of it running, or waiting for a CPU; all of it where samples have no state */
	const char *state; /* in which it was longest; "" unknown */
};

/* A line of a tree of callers: who called, that way, for how long. indent 0 is the function itself, 1 who
 * called it, 2 who called that; from there on it is 1 more where ways part, and 1 more behind that place. */
struct ranking_caller {
	const char *name;
	unsigned indent;
	int64_t ns;
};

struct ranking;

struct ranking *ranking_new(void); /* NULL when memory is out */
void ranking_free(struct ranking *ranking);

/* The next window. Takes *window over. */
void ranking_add(struct ranking *ranking, struct profile_view *window);
/* How many windows the shares are of, and all nanoseconds in them. */
size_t ranking_windows(const struct ranking *ranking);
int64_t ranking_total(const struct ranking *ranking);
/* How long the windows were, by their own word. */
double ranking_seconds(const struct ranking *ranking);

/* Rows, owned by the ranking and valid until it is called again or changed. Functions that were seen before but
 * not lately have 0 but in `self_ever`. *n is 0 when memory is out. */
const struct ranking_function *ranking_functions(struct ranking *ranking, enum ranking_order order, size_t *n);
const struct ranking_thread *ranking_threads(struct ranking *ranking, size_t *n);
/* All ways to the function of this name, by its stacks of the last windows: a caller's lines stand below it,
 * largest first. A stack counts from its innermost frame of that name. Ways beyond some thousand are left out.
 */
const struct ranking_caller *ranking_callers(struct ranking *ranking, const char *name, size_t *n);

#endif
