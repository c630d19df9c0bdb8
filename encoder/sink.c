#include "encoder/sink.h"

#include "encoder/pprof.h"
#include "encoder/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FORMAT_WIDTH = 4096 };

void sink_open(struct sink *sink, int fd)
{
	sink->fd = fd;
	sink->failure = 0;
	sink->n = 0;
}

static void flush(struct sink *sink)
{
	size_t done = 0;
	while (sink->failure == 0 && done < sink->n) {
		ssize_t n = write(sink->fd, sink->buffer + done, sink->n - done);
		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			sink->failure = errno;
	}
	sink->n = 0;
}

void sink_bytes(struct sink *sink, const char *bytes, size_t n)
{
	while (n > 0) {
		size_t room = SINK_BYTES - sink->n, part = n < room ? n : room;
		memcpy(sink->buffer + sink->n, bytes, part);
		sink->n += part;
		bytes += part;
		n -= part;
		if (sink->n == SINK_BYTES)
			flush(sink);
	}
}

void sink_text(struct sink *sink, const char *text)
{
	sink_bytes(sink, text, strlen(text));
}

void sink_printable(struct sink *sink, const char *text)
{
	for (size_t i = 0, len; text[i] != '\0'; i += len > 0 ? len : 1) {
		len = utf8_visible(text + i);
		sink_bytes(sink, len > 0 ? text + i : "?", len > 0 ? len : 1);
	}
}

void sink_format(struct sink *sink, const char *format, ...)
{
	char text[FORMAT_WIDTH];
	va_list arguments;
	va_start(arguments, format);
	int n = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (n > 0)
		sink_bytes(sink, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void sink_json(struct sink *sink, const char *text)
{
	sink_text(sink, "\"");
	for (size_t i = 0, len; text[i] != '\0'; i += len) {
		unsigned char c = (unsigned char)text[i];
		len = utf8_sequence(text + i);
		if (len == 0) {
			sink_text(sink, "?");
			len = 1;
		} else if (c == '"' || c == '\\') {
			char escaped[2] = {'\\', (char)c};
			sink_bytes(sink, escaped, 2);
		} else if (c < ' ' || c == '<' || c == 0x7f) {
			sink_format(sink, "\\u%04x", c);
		} else {
			sink_bytes(sink, text + i, len);
		}
	}
	sink_text(sink, "\"");
}

int sink_close(struct sink *sink, struct error *err)
{
	flush(sink);
	return sink->failure == 0 ? 0 : pprof_write_failed(sink->failure, err);
}
