/* Answers that are kept: what an address of an image is called does not change, and who asks again and again
 * need not start a process for it each time. */
#ifndef SYMBOLS_KNOWN_H
#define SYMBOLS_KNOWN_H

#include "symbols/symbolizer.h"

struct known;

struct known *known_new(void); /* NULL when memory is out */
void known_free(struct known *known);

/* false when it was not kept. *out is borrowed until known_free(). The image is told by its address alone: it
 * must outlive `known`. */
bool known_find(const struct known *known, const struct image *image, uint64_t vaddr, struct symbolized *out);
/* Copies the answer, texts included. -1 when memory is out. */
int known_keep(struct known *known, const struct image *image, uint64_t vaddr, const struct symbolized *answer);
/* When there are very many, all are forgotten: whoever has answers has done with them. */
void known_tidy(struct known *known);

/* How often a process that read the image has failed: what it could not stand is not asked for once more. */
unsigned known_failures(const struct known *known, const struct image *image);
void known_failed(struct known *known, const struct image *image);

#endif
