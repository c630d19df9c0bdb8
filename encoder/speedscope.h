/* A view for https://www.speedscope.app: one profile of all threads, and one of each. Source: its
 * file-format-schema.json, "sampled" profiles. */
#ifndef ENCODER_SPEEDSCOPE_H
#define ENCODER_SPEEDSCOPE_H

#include "encoder/view.h"

/* -1 with the reason. */
int speedscope_write(const struct view *view, int fd, struct error *err);

#endif
