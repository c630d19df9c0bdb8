/* A view as JSON for other programs; docs/formats.md describes it. */
#ifndef ENCODER_JSON_H
#define ENCODER_JSON_H

#include "encoder/view.h"

/* -1 with the reason. */
int json_write(const struct view *view, int fd, struct error *err);

#endif
