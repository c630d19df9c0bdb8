/* The symbols of one image as bytes, on their way from the confined child that found them: written by it, read
 * by us. The reader trusts nothing: every count, number and length is checked, and what is left of a text is
 * printable UTF-8. */
#ifndef SYMBOLS_ANSWERS_H
#define SYMBOLS_ANSWERS_H

#include "symbols/arena.h"
#include "symbols/symbolizer.h"

/* The bytes for answers[0..n) and what is known of their origin, on the heap: the caller frees them. NULL when
 * memory is out. */
uint8_t *answers_encode(
	const struct symbolized *answers, size_t n, const struct symbol_quality *quality, size_t *len);

/* Fills out[0..n) and *quality, counting itself what is named; everything is owned by `arena`. -1, with nothing
 * filled, when the bytes are not answers to n questions; *no_memory becomes true when they could not be kept.
 */
int answers_decode(const uint8_t *bytes, size_t len, struct arena *arena, struct symbolized *out, size_t n,
	struct symbol_quality *quality, bool *no_memory);

#endif
