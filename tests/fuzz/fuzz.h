/* What every fuzz target defines; libFuzzer calls it, and so does once.c. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Gives the bytes to one parser. Returns 0; whatever is wrong with the parser shows as a crash or a sanitizer's
 * report. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
