/* A profile as reports show it: samples with their stacks of named frames. Made of any pprof file, whoever
 * wrote it; every format but pprof itself is written from this. Plain data, read-only, in memory at once. */
#ifndef ENCODER_VIEW_H
#define ENCODER_VIEW_H

#include "encoder/pprof_file.h"

/* What one number of each sample counts: {"samples", "count"}, {"cpu", "nanoseconds"}. */
struct view_type {
	const char *type, *unit;
};

/* One function at one place in a stack, with an address's inlined calls as frames of their own. Frames are
 * distinct: equal ones have the same number. Texts are "" when unknown. */
struct view_frame {
	const char *function; /* for people, never "": without a name "[MODULE]", or the address "0x..." */
	const char *system_name, *file;
	const char *module; /* the mapping's path; "" of a made-up frame such as "[truncated: REASON]" */
	int64_t line, start_line; /* 0 unknown; at most INT32_MAX */
	uint64_t address; /* of the location; 0 unknown */
	bool inlined; /* into the frame that called it */
	bool named; /* the file had a name for it */
};

/* A label: `text`, or when that is NULL `number` with its unit ("" none). */
struct view_label {
	const char *key, *text, *unit;
	int64_t number;
};

struct view_sample {
	const uint32_t *frames; /* numbers of view.frames, root first */
	size_t n_frames;
	const struct view_label *labels;
	size_t n_labels;
	const int64_t *values; /* one for each type */
};

struct view {
	const char *name; /* of the file */
	const struct view_type *types;
	size_t n_types;
	size_t type; /* the one to show, unless told otherwise: the file's default, else the last */
	const struct view_frame *frames;
	size_t n_frames;
	const struct view_sample *samples;
	size_t n_samples;
	const char *const *comments;
	size_t n_comments;
	int64_t time_ns, duration_ns; /* start since the epoch, length; 0 unknown */
};

/* Borrows texts from `file`, which must outlive the result. `name` is copied. A stack is cut (with a made-up
 * frame that says so) where it has more frames than any reader shows. NULL with the reason in *err. */
struct view *view_new(const struct pprof_file *file, const char *name, struct error *err);
void view_free(struct view *view);

/* *sum += value; stays at the largest or smallest number instead of running over: values come from files. */
static inline void view_add(int64_t *sum, int64_t value)
{
	if (__builtin_add_overflow(*sum, value, sum))
		*sum = value > 0 ? INT64_MAX : INT64_MIN;
}

/* The label's text, or NULL; for the number labels `tid` and `pid` view_number. */
const char *view_text(const struct view_sample *sample, const char *key);
/* false when there is none. */
bool view_number(const struct view_sample *sample, const char *key, int64_t *number);

#endif
