/* A profile in a file, as every report shows it. What is written must be well-formed, whatever the file says.
 */
#include "encoder/filter.h"
#include "encoder/format.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the view ---- */

static void check_frame(const struct view_frame *frame)
{
	if (frame->function[0] == '\0' || frame->line < 0 || frame->line > INT32_MAX || frame->start_line < 0 ||
		frame->start_line > INT32_MAX)
		abort();
	if (strlen(frame->system_name) + strlen(frame->file) + strlen(frame->module) > 1u << 30)
		abort();
}

static void check_view(const struct view *view)
{
	if (view->type >= view->n_types)
		abort();
	for (size_t i = 0; i < view->n_frames; i++)
		check_frame(&view->frames[i]);
	for (size_t i = 0; i < view->n_samples; i++) {
		const struct view_sample *sample = &view->samples[i];
		for (size_t k = 0; k < sample->n_frames; k++)
			if (sample->frames[k] >= view->n_frames)
				abort();
		for (size_t k = 0; k < sample->n_labels; k++)
			if (strlen(sample->labels[k].key) > 1u << 30 || sample->labels[k].unit == NULL)
				abort();
	}
}

/* ---- what was written ---- */

/* No byte that a terminal obeys. */
static void check_text(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((unsigned char)text[i] < ' ' && text[i] != '\n' && text[i] != '\t') || text[i] == 0x7f)
			abort();
}

/* Brackets match outside of strings, and strings have what they may have. */
static void check_json(const char *text, size_t n)
{
	char open[64];
	size_t depth = 0;
	bool quoted = false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];
		if (quoted && (c < ' ' || c == '<'))
			abort();
		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '[' || c == '{'))
			open[depth++] = c == '[' ? ']' : '}';
		else if (!quoted && (c == ']' || c == '}') && (depth == 0 || open[--depth] != (char)c))
			abort();
		if (depth == sizeof open)
			abort();
	}
	if (quoted || depth > 0)
		abort();
}

/* The data is the page's only element of its kind, and ends with it. */
static void check_page(const char *text, size_t n)
{
	static const char mark[] = "id=\"data\">";
	const char *data = memmem(text, n, mark, sizeof mark - 1);
	if (data == NULL)
		abort();
	data += sizeof mark - 1;
	const char *end = memmem(data, n - (size_t)(data - text), "</script>", 9);
	if (end == NULL)
		abort();
	check_json(data, (size_t)(end - data));
}

static void check_output(enum format format, int fd)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		abort();
	size_t n = (size_t)st.st_size;
	const char *text = n > 0 ? mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0) : "";
	if (text == MAP_FAILED)
		abort();
	if (format == FORMAT_TEXT || format == FORMAT_FOLDED)
		check_text(text, n);
	else if (format == FORMAT_FLAMEGRAPH)
		check_page(text, n);
	else
		check_json(text, n);
	if (n > 0)
		munmap((void *)text, n);
}

/* Lists may match no function; the rest can be written of any view. */
static void write_one(const struct view *view, const struct view *before, enum format format,
	const struct text_options *options)
{
	struct error err;
	int fd = memfd_create("out", MFD_CLOEXEC);
	if (fd < 0)
		abort();
	int outcome = format_write(view, before, format, options, fd, &err);
	if (outcome == 0)
		check_output(format, fd);
	else if (options->list == NULL)
		abort();
	close(fd);
}

static void write_all(const struct view *view, const struct view *before, const regex_t *any)
{
	const struct text_options top = {0}, tree = {.top = 3, .tree = true, .by_cum = true},
				  list = {.list = any};
	for (int format = FORMAT_PPROF + 1; format < FORMATS; format++)
		write_one(view, NULL, (enum format)format, &top);
	write_one(view, NULL, FORMAT_TEXT, &tree);
	write_one(view, NULL, FORMAT_TEXT, &list);
	write_one(view, before, FORMAT_FLAMEGRAPH, &top);
	if (before->n_types > view->type)
		write_one(view, before, FORMAT_TEXT, &top);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct error err;
	struct filter filter = {.state = "running"};
	regex_t any;
	int in = memfd_create("in", MFD_CLOEXEC);
	if (in < 0 || write(in, bytes, len) != (ssize_t)len || lseek(in, 0, SEEK_SET) != 0 ||
		filter_pattern(&any, ".", &err) != 0 || filter_compile(&filter, "a", "zz*[^z]", &err) != 0)
		abort();
	struct pprof_file *file = pprof_file_read(in, "fuzz", &err);
	struct view *view = file != NULL ? view_new(file, "fuzz\033[2J</script>", &err) : NULL;
	struct view *shown = view != NULL ? filter_apply(&filter, view) : NULL;
	if (shown != NULL) {
		check_view(view);
		check_view(shown);
		write_all(view, shown, &any);
		write_all(shown, view, &any);
	}
	filter_view_free(shown);
	view_free(view);
	pprof_file_free(file);
	filter_free(&filter);
	regfree(&any);
	close(in);
	return 0;
}
