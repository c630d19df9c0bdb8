/* A view as a flame graph: one HTML file that opens in any browser and asks no network for anything. */
#ifndef ENCODER_FLAMEGRAPH_H
#define ENCODER_FLAMEGRAPH_H

#include "encoder/view.h"

/* `before` (or NULL): frames are coloured by how their share has changed since. -1 with the reason. */
int flamegraph_write(const struct view *view, const struct view *before, int fd, struct error *err);

#endif
