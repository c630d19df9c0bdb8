/* A profile that was just taken, as a view: through the bytes of its file, so that it shows what a reader of
 * the file would see. */
#ifndef ENCODER_PROFILE_VIEW_H
#define ENCODER_PROFILE_VIEW_H

#include "encoder/pprof.h"
#include "encoder/view.h"

struct profile_view {
	struct pprof_file *file; /* whose texts the view borrows */
	struct view *view;
};

/* `name` is copied; the profile may be freed afterwards. -1 with the reason; *out goes to profile_view_close()
 * in any case. */
int profile_view_open(const struct profile *profile, const struct pprof_times *times, const char *name,
	struct profile_view *out, struct error *err);
void profile_view_close(struct profile_view *view);

#endif
