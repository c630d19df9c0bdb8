#include "attach/ui.h"

#include "encoder/utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { HOTTEST = 5 };

void ui_progress(const struct sampler_progress *progress, const struct options *options)
{
	char of[32] = "";
	if (!options->until_end)
		snprintf(of, sizeof of, " of %.1f s", (double)options->duration_ns / 1e9);
	fprintf(stderr,
		"\r\033[K%.1f s%s   %" PRIu64 " samples   %" PRIu64 " threads   %" PRIu64
		" late ticks   (Ctrl-C ends and writes)",
		(double)atomic_load_explicit(&progress->elapsed_ns, memory_order_relaxed) / 1e9, of,
		atomic_load_explicit(&progress->samples, memory_order_relaxed),
		atomic_load_explicit(&progress->threads, memory_order_relaxed),
		atomic_load_explicit(&progress->late_ticks, memory_order_relaxed));
	fflush(stderr);
}

void ui_progress_end(void)
{
	fputs("\r\033[K", stderr);
}

void ui_fetching(const char *build_id, int64_t bytes, int64_t total)
{
	fprintf(stderr, "\r\033[Kfetching debug information %.12s: %.1f MB", build_id, (double)bytes / 1e6);
	if (total > 0)
		fprintf(stderr, " of %.1f MB", (double)total / 1e6);
	fprintf(stderr, "   (Ctrl-C goes on without)");
	fflush(stderr);
}

static void print_hottest(struct profile *profile)
{
	struct profile_top top[HOTTEST];
	int64_t count, total;
	profile_totals(profile, &count, &total);
	size_t n = profile_top(profile, top, HOTTEST);
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, "%s  %5.1f %%  %8.2f s  %s\n", i == 0 ? "hottest " : "        ",
			total > 0 ? 100.0 * (double)top[i].ns / (double)total : 0, (double)top[i].ns / 1e9,
			top[i].function);
}

static void print_modules(const struct profile *profile)
{
	size_t n;
	int64_t samples, ns;
	const struct profile_module *modules = profile_modules(profile, &n);
	profile_totals(profile, &samples, &ns);
	for (size_t i = 0; i < n; i++) {
		char text[REPORT_MODULE_WIDTH];
		report_module(&modules[i], samples, text);
		fprintf(stderr, "module    %s\n", text);
	}
}

void ui_summary(
	const struct report *report, struct profile *profile, const struct options *options, const char *path)
{
	if (options->quiet)
		return;
	for (size_t i = 0; i < report->n; i++)
		fprintf(stderr, "%s\n", report->line[i]);
	print_hottest(profile);
	if (options->verbose)
		print_modules(profile);
	int64_t count, ns;
	profile_totals(profile, &count, &ns);
	if (count == 0 && options->kind == PROFILE_CPU)
		fprintf(stderr,
			"The process hardly used the CPU. To see where it waits: cprof-attach -p %d -e state\n",
			options->pid);
	if (strcmp(path, "-") == 0)
		return;
	if (options->format == FORMAT_FLAMEGRAPH)
		fprintf(stderr, "next      open %s in a browser\n", path);
	if (options->format == FORMAT_PPROF)
		fprintf(stderr,
			"next      go tool pprof -top %s\n"
			"or        cprof-attach report %s -o flamegraph.html\n",
			path, path);
	fprintf(stderr, "%s\n", path);
}

void ui_error(const char *message)
{
	/* Names of processes and files are in it, which may hold anything. */
	char text[sizeof(struct error)];
	snprintf(text, sizeof text, "%s", message);
	utf8_printable(text);
	fprintf(stderr, "cprof-attach: %s\n", text);
}

void ui_line(const char *format, ...)
{
	char *text;
	va_list arguments;
	va_start(arguments, format);
	int len = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (len < 0)
		return;
	utf8_printable(text);
	puts(text);
	free(text);
}

void ui_flush(void)
{
	fflush(stdout);
}

bool ui_terminal(unsigned *columns, unsigned *rows)
{
	struct winsize size;
	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 ||
		size.ws_row == 0)
		return false;
	*columns = size.ws_col;
	*rows = size.ws_row;
	return true;
}

void ui_welcome(const char *text)
{
	fputs(text, stderr);
}

void ui_help(const char *text)
{
	fputs(text, stdout);
}

void ui_say(const struct options *options, const char *format, ...)
{
	if (options->quiet)
		return;
	va_list arguments;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

void ui_note(const struct options *options, const char *format, ...)
{
	if (!options->verbose || options->quiet)
		return;
	va_list arguments;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}
