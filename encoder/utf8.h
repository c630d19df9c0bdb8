/* Text for proto3, whose strings are UTF-8: readers refuse a file with others, and names come from the target.
 */
#ifndef ENCODER_UTF8_H
#define ENCODER_UTF8_H

/* Each byte that is not part of a valid sequence becomes '?' (RFC 3629, section 4). */
void utf8_clean(char *text);

#endif
