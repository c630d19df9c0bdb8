/* Text for proto3, whose strings are UTF-8: readers refuse a file with others, and names come from the target.
 */
#ifndef ENCODER_UTF8_H
#define ENCODER_UTF8_H

#include <stddef.h>

/* How many bytes the character at `text` has; 0 when it is none, or the end. */
size_t utf8_sequence(const char *text);
/* The same, and 0 for what a terminal may obey: control characters, but the tab (ECMA-48: C0, DEL, C1). */
size_t utf8_visible(const char *text);
/* Each byte that is not part of a valid sequence becomes '?' (RFC 3629, section 4). */
void utf8_clean(char *text);

/* The same, and control characters (C0, DEL, C1) become '?' as well: what others chose as a name must not steer
 * a terminal. */
void utf8_printable(char *text);
/* The length in bytes of the first `columns` characters of valid UTF-8, each taken as one column wide. */
size_t utf8_cut(const char *text, size_t columns);
/* How many characters they are. */
size_t utf8_columns(const char *text);

#endif
