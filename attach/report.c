#include "attach/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void report_add(struct report *report, const char *format, ...)
{
	if (report->n == REPORT_LINES)
		return;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(report->line[report->n++], REPORT_WIDTH, format, arguments);
	va_end(arguments);
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

static const char *end_words(enum sampler_end end, bool whole_life)
{
	switch (end) {
	case END_SIGNAL:
		return "; ended early by a signal";
	case END_TARGET:
		return whole_life ? "" : "; ended early: the target ended";
	default:
		return "";
	}
}

static void add_samples(
	struct report *report, const struct sampler_result *result, const struct sampler_options *options)
{
	double seconds = (double)result->duration_ns / 1e9;
	report_add(report,
		"samples   %" PRIu64 " in %.2f s from %" PRIu64
		" thread%s (%.1f Hz achieved of %.1f requested, %" PRIu64 " late ticks%s%s)",
		result->samples, seconds, result->threads, result->threads == 1 ? "" : "s",
		seconds > 0 ? (double)result->ticks / seconds : 0, options->rate_hz, result->late_ticks,
		result->lowered_ticks > 0 ? "; lowered to stay within --max-overhead" : "",
		end_words(result->end, options->whole_life));
}

static void add_pauses(
	struct report *report, const struct sampler_result *result, const struct sampler_options *options)
{
	const struct histogram *pauses = &result->pauses;
	if (result->stops == 0) {
		report_add(report, "pauses    none: no thread was stopped");
		return;
	}
	report_add(report,
		"pauses    %" PRIu64
		" stops of one thread, median %.0f µs, p99 %.0f µs, longest %.0f µs, %" PRIu64 " above %g ms",
		result->stops, (double)histogram_percentile(pauses, 50) / 1e3,
		(double)histogram_percentile(pauses, 99) / 1e3, (double)pauses->max_ns / 1e3,
		result->long_pauses, (double)options->max_pause_ns / 1e6);
}

static void add_stacks(struct report *report, const struct sampler_result *result)
{
	char line[REPORT_WIDTH];
	uint64_t complete = result->stacks[STOP_ROOT];
	/* Rounded down: 99.99 % must not read as all. */
	double share = (double)(uint64_t)(percent(complete, result->samples) * 100) / 100;
	int n = snprintf(line, sizeof line, "stacks    %.2f %% complete (%" PRIu64 " of %" PRIu64, share,
		complete, result->samples);
	for (int why = STOP_ROOT + 1; why < STOP_KINDS && n < (int)sizeof line; why++)
		if (result->stacks[why] > 0)
			n += snprintf(line + n, sizeof line - (size_t)n, "; %" PRIu64 " %s",
				result->stacks[why], stop_name((enum stop)why));
	if (result->guessed > 0 && n < (int)sizeof line)
		snprintf(line + n, sizeof line - (size_t)n, "; %" PRIu64 " of the complete ones partly guessed",
			result->guessed);
	report_add(report, "%s)", line);
}

static void add_time(
	struct report *report, const struct sampler_result *result, const struct sampler_options *options)
{
	if (options->kind == PROFILE_STATE) {
		report_add(report,
			"wall      every thread's time by state; %.2f s of CPU charged by the kernel meanwhile",
			(double)result->kernel_cpu_ns / 1e9);
		return;
	}
	report_add(report, "cpu       %.2f s in stacks, %.2f s charged by the kernel (%.1f %% between samples)",
		(double)(result->kernel_cpu_ns - result->between_cpu_ns) / 1e9,
		(double)result->kernel_cpu_ns / 1e9, percent(result->between_cpu_ns, result->kernel_cpu_ns));
}

/* Times that a thread was due and not sampled. */
static void add_skips(struct report *report, const struct sampler_result *result)
{
	uint64_t skips = result->late_stops + result->uninterruptible + result->pending + result->no_room;
	if (skips > 0)
		report_add(report,
			"skipped   %" PRIu64 " times a running thread was not sampled: %" PRIu64
			" got no CPU to stop on, %" PRIu64 " in an uninterruptible wait, %" PRIu64
			" still stopping, %" PRIu64 " without room for the stack",
			skips, result->late_stops, result->uninterruptible, result->pending, result->no_room);
	if (result->short_counts > 0)
		report_add(report,
			"short     %" PRIu64 " system calls returned less than was asked for because of a "
			"stop; their threads were left "
			"alone for %" PRIu64 " samples (label backed_off)",
			result->short_counts, result->backed_off);
}

static void add_losses(struct report *report, const struct sampler_result *result)
{
	if (result->threads_unnamed > 0)
		report_add(report,
			"unnamed   %" PRIu64
			" threads came after so many others that their samples carry no tid label",
			result->threads_unnamed);
	if (result->slid * 100 > result->samples)
		report_add(report,
			"slid      %" PRIu64
			" samples may show the end of a system call instead of work before it: their CPU "
			"could not be held",
			result->slid);
	if (result->orphaned_cpu_ns * 100 > result->kernel_cpu_ns)
		report_add(report,
			"unmet     %.2f s of the CPU time is of threads that ended before a tick met them: it "
			"is "
			"with the stacks of short-lived ones that were met",
			(double)result->orphaned_cpu_ns / 1e9);
	if (result->threads_refused > 0)
		report_add(
			report, "refused   %" PRIu64 " threads could not be sampled", result->threads_refused);
	if (result->out_of_memory)
		report_add(report, "memory    ran out: some samples were lost");
}

void report_make(
	const struct sampler_result *result, const struct sampler_options *options, struct report *report)
{
	report->n = 0;
	add_samples(report, result, options);
	add_pauses(report, result, options);
	add_stacks(report, result);
	add_time(report, result, options);
	add_skips(report, result);
	add_losses(report, result);
	report_add(report,
		"own use   %.2f s of CPU (%.1f %% of one core); %" PRIu64 " interrupted system calls restarted",
		(double)result->own_cpu_ns / 1e9, percent(result->own_cpu_ns, (uint64_t)result->duration_ns),
		result->eintr_repaired);
}

void report_add_comparison(struct report *report, const struct unwinder_comparison *c)
{
	report_add(report,
		"unwinders %" PRIu64 " of %" PRIu64
		" walks contradict each other; complete by rows alone %" PRIu64 ", by libunwind alone %" PRIu64
		", by neither, but ended at different frames %" PRIu64,
		c->contradict, c->walks, c->rows_only, c->library_only, c->ends);
}

void report_add_family(struct report *report, const struct family *family, const struct sampler_result *result)
{
	char line[REPORT_WIDTH];
	const struct {
		size_t n;
		const char *why;
	} unseen[] = {{family->refused, "not ours to trace"}, {family->foreign, "not x86-64 programs"},
		{family->crowded, "too many at once"}};
	int n = snprintf(line, sizeof line, "processes %zu, at most %zu at once", family->met, family->most);
	for (size_t i = 0; i < sizeof unseen / sizeof *unseen && n < (int)sizeof line; i++)
		if (unseen[i].n > 0)
			n += snprintf(line + n, sizeof line - (size_t)n, "; %zu not sampled: %s", unseen[i].n,
				unseen[i].why);
	if (result->unseen_cpu_ns > 0 && n < (int)sizeof line)
		snprintf(line + n, sizeof line - (size_t)n, " (they used %.2f s of CPU)",
			(double)result->unseen_cpu_ns / 1e9);
	report_add(report, "%s", line);
}

/* ---- names ---- */

enum { MODULES_SHOWN = 4 };

static double share(int64_t part, int64_t whole)
{
	/* Rounded down: 99.99 % must not read as all. */
	return whole > 0 ? (double)(int64_t)(1000.0 * (double)part / (double)whole) / 10 : 0;
}

void report_module(const struct profile_module *module, int64_t samples, char text[REPORT_MODULE_WIDTH])
{
	const struct symbol_quality *quality = &module->quality;
	snprintf(text, REPORT_MODULE_WIDTH,
		"%s%s%s: in %.1f %% of the samples; of its frames %.1f %% have a function, %.1f %% a line "
		"(%s)%s%s",
		module->path, module->build_id[0] != '\0' ? " build-id " : "", module->build_id,
		share(module->samples, samples), share(module->named, module->frames),
		share(module->lined, module->frames), quality->source, quality->trouble[0] != '\0' ? "; " : "",
		quality->trouble);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

static bool is_worth_a_line(const struct profile_module *module, int64_t samples)
{
	return module->quality.trouble[0] != '\0' ||
	       (module->samples * 100 > samples && module->named < module->frames);
}

void report_symbols(struct report *report, const struct profile_module *modules, size_t n, int64_t samples)
{
	int64_t frames = 0, lined = 0;
	size_t found = 0;
	for (size_t i = 0; i < n; i++) {
		const struct profile_module *module = &modules[i];
		frames += module->frames;
		lined += module->lined;
		if (!is_worth_a_line(module, samples) || ++found > MODULES_SHOWN)
			continue;
		const char *title = found == 1 ? "symbols " : "        ", *name = base_name(module->path);
		if (module->quality.trouble[0] != '\0')
			report_add(report, "%s  %.60s: %.160s", title, name, module->quality.trouble);
		else
			report_add(report,
				"%s  %.60s: of its frames %.1f %% have a function, %.1f %% a line (%s)", title,
				name, share(module->named, module->frames),
				share(module->lined, module->frames), module->quality.source);
	}
	if (found > MODULES_SHOWN)
		report_add(report, "          and %zu more modules: see -v, or the comments in the file",
			found - MODULES_SHOWN);
	else if (found == 0 && frames > 0)
		report_add(report,
			"symbols   every module that matters is named; %.1f %% of the frames have a line",
			share(lined, frames));
}

bool report_is_partial(const struct sampler_result *result)
{
	return result->end != END_DURATION || result->threads_refused > 0 || result->out_of_memory;
}
