/* A view as folded stacks, one line each: `thread;root;...;leaf VALUE`, as flamegraph.pl, inferno and
 * speedscope read them. Source: the README of https://github.com/brendangregg/FlameGraph. */
#ifndef ENCODER_FOLDED_H
#define ENCODER_FOLDED_H

#include "encoder/view.h"

/* Stacks alike are one line; lines are in order of threads and stacks. The format knows no values below 1: such
 * lines are left out. -1 with the reason. */
int folded_write(const struct view *view, int fd, struct error *err);

#endif
