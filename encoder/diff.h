/* What has changed between two profiles, as text. */
#ifndef ENCODER_DIFF_H
#define ENCODER_DIFF_H

#include "encoder/view.h"

/* The functions whose own use has changed most, at most `top` of them (0: all): before, now, and the change; of
 * time, where both profiles say how long they took, as per cent of one CPU (or of one thread's time), else as
 * share of each profile's total. -1 with the reason. */
int diff_write(const struct view *view, const struct view *before, size_t top, int fd, struct error *err);

#endif
