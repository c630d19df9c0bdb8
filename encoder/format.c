#include "encoder/format.h"

#include "encoder/diff.h"
#include "encoder/flamegraph.h"
#include "encoder/folded.h"
#include "encoder/json.h"
#include "encoder/speedscope.h"

#include <string.h>

static const struct {
	const char *name, *extension;
	bool is_for_terminals;
} formats[FORMATS] = {
	[FORMAT_PPROF] = {"pprof", ".pb.gz", false},
	[FORMAT_FLAMEGRAPH] = {"flamegraph", ".html", false},
	[FORMAT_FOLDED] = {"folded", ".folded", true},
	/* Before .json, whose end it has. */
	[FORMAT_SPEEDSCOPE] = {"speedscope", ".speedscope.json", true},
	[FORMAT_TEXT] = {"text", ".txt", true},
	[FORMAT_JSON] = {"json", ".json", true},
};

bool format_find(const char *name, enum format *format)
{
	for (size_t i = 0; i < FORMATS; i++)
		if (strcmp(formats[i].name, name) == 0) {
			*format = (enum format)i;
			return true;
		}
	return false;
}

bool format_of_path(const char *path, enum format *format)
{
	size_t len = strlen(path);
	for (size_t i = 0; i < FORMATS; i++) {
		size_t end = strlen(formats[i].extension);
		if (len > end && strcmp(path + len - end, formats[i].extension) == 0) {
			*format = (enum format)i;
			return true;
		}
	}
	return false;
}

const char *format_extension(enum format format)
{
	return formats[format].extension;
}

bool format_is_for_terminals(enum format format)
{
	return formats[format].is_for_terminals;
}

int format_write(const struct view *view, const struct view *before, enum format format,
	const struct text_options *text, int fd, struct error *err)
{
	switch (format) {
	case FORMAT_FLAMEGRAPH:
		return flamegraph_write(view, before, fd, err);
	case FORMAT_FOLDED:
		return folded_write(view, fd, err);
	case FORMAT_SPEEDSCOPE:
		return speedscope_write(view, fd, err);
	case FORMAT_TEXT:
		return before != NULL ? diff_write(view, before, text->top, fd, err)
				      : text_write(view, text, fd, err);
	case FORMAT_JSON:
		return json_write(view, fd, err);
	case FORMAT_PPROF:
	case FORMATS:
		break;
	}
	return error_set(err, "this format is not written from a view");
}
