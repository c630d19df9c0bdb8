/* Text for proto3, whose strings are UTF-8: readers refuse a file with others, and names come from the target.
 */
#ifndef ENCODER_UTF8_H
#define ENCODER_UTF8_H

#include <stddef.h>

/* How many bytes the character at `text` has; 0 when it is none, or the end. */
size_t utf8_sequence(const char *text);
/* Each byte that is not part of a valid sequence becomes '?' (RFC 3629, section 4). */
void utf8_clean(char *text);

#endif
