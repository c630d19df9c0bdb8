/* Text on its way to a file: buffered, with the first failure remembered. */
#ifndef ENCODER_SINK_H
#define ENCODER_SINK_H

#include "unwind/error.h"

#include <stddef.h>

enum { SINK_BYTES = 32768 };

struct sink {
	int fd, failure; /* errno of the first write that failed, 0 none */
	size_t n;
	char buffer[SINK_BYTES];
};

void sink_open(struct sink *sink, int fd); /* borrows `fd` */
void sink_bytes(struct sink *sink, const char *bytes, size_t n);
void sink_text(struct sink *sink, const char *text);
/* For terminals, from a file: each byte that is part of a control character, or of none, becomes '?'. */
void sink_printable(struct sink *sink, const char *text);
/* Up to 4 KB at once; what is longer is cut. */
void sink_format(struct sink *sink, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes (RFC 8259, section 7). Safe inside a <script> element, too: `<` is escaped.
 * What is not UTF-8 becomes '?'. */
void sink_json(struct sink *sink, const char *text);
/* Writes what is left. -1 with the reason if anything could not be written since sink_open. */
int sink_close(struct sink *sink, struct error *err);

#endif
