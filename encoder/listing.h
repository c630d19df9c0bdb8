/* Annotated source: what each line of a function used, beside the line. */
#ifndef ENCODER_LISTING_H
#define ENCODER_LISTING_H

#include "encoder/sink.h"
#include "encoder/view.h"

#include <regex.h>

/* For each function whose name matches `pattern`: its file, and its lines with their flat and cumulative sums;
 * the source is read from where the profile says it is, if it can be. -1 with the reason, also when no function
 * matches. */
int listing_write(const struct view *view, const regex_t *pattern, struct sink *sink, struct error *err);

#endif
