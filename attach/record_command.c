#include "attach/record_command.h"

#include "attach/attachment.h"
#include "attach/diagnose.h"
#include "attach/naming.h"
#include "attach/options.h"
#include "attach/output.h"
#include "attach/processes.h"
#include "attach/report.h"
#include "attach/sampler.h"
#include "attach/spawn.h"
#include "attach/ui.h"
#include "encoder/format.h"
#include "encoder/profile_view.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TOP = 20 }; /* functions, where text is written */

/* Everything that one run owns. */
struct run {
	struct options options;
	struct sampler_options sampling;
	struct attachment attachment;
	struct spawn spawn; /* pid 0: the target ran before */
	struct output output;
	struct profile *profile;
	struct naming naming;
	struct sampler_progress progress;
	struct sampler_result result;
	struct report report;
	bool unharmed; /* the target was seen let go and running */
	int outcome, refusal; /* of sampler_run: its return value and errno */
};

/* ---- sampling, in a thread of its own ---- */

static void *sample(void *argument)
{
	struct run *run = argument;
	run->outcome = sampler_run(run->attachment.family, run->attachment.unwinder, run->profile,
		&run->sampling, &run->progress, &run->result);
	run->refusal = errno;
	return NULL;
}

static void wait_for(pthread_t thread, const struct run *run)
{
	if (run->options.quiet || !isatty(STDERR_FILENO)) {
		pthread_join(thread, NULL);
		return;
	}
	struct timespec until;
	do {
		ui_progress(&run->progress, &run->options);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 250000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
	} while (pthread_timedjoin_np(thread, NULL, &until) != 0);
	ui_progress_end();
}

static void verify_release(struct run *run)
{
	struct target_traces found;
	struct error warning;
	run->unharmed = attachment_is_released(&run->attachment, run->result.job_stopped, &found);
	if (run->unharmed && found.threads == 0) {
		report_add(&run->report, "released  nothing is left: the target has ended");
		return;
	}
	if (run->unharmed) {
		report_add(&run->report, "released  all %zu thread%s: no tracer, none left stopped%s",
			found.threads, found.threads == 1 ? "" : "s",
			run->result.job_stopped ? " but by job control, as before" : "");
		return;
	}
	report_add(&run->report, "HARM      %zu of %zu threads are still traced, %zu are stopped", found.traced,
		found.threads, found.stopped);
	attachment_warn(&run->attachment, &found, &warning);
	ui_error(warning.message);
}

static int sample_target(struct run *run, struct error *err)
{
	pthread_t thread;
	int failure = pthread_create(&thread, NULL, sample, run);
	if (failure != 0)
		return error_set(err, "cannot start a thread: %s: are processes limited here (ulimit -u)?",
			strerror(failure));
	wait_for(thread, run);
	if (run->outcome != 0)
		return diagnose_refusal(
			run->attachment.target.pid, run->attachment.target.name, run->refusal, err);
	report_make(&run->result, &run->sampling, &run->report);
	if (run->options.subprocesses)
		report_add_family(&run->report, run->attachment.family, &run->result);
	if (run->options.unwinder == UNWINDER_BOTH) {
		struct unwinder_comparison comparison = unwinder_comparison(run->attachment.unwinder);
		report_add_comparison(&run->report, &comparison);
	}
	verify_release(run);
	return 0;
}

/* ---- after the target was let go ---- */

static int add_comments(struct run *run)
{
	int failed = profile_comment(run->profile, "cprof-attach " CPROF_VERSION " of %s, PID %d (%s), kind %s",
		run->attachment.target.name, run->attachment.target.pid, run->attachment.target.exe,
		run->options.kind == PROFILE_CPU ? "cpu" : "state");
	for (size_t i = 0; i < run->report.n; i++)
		failed |= profile_comment(run->profile, "%s", run->report.line[i]);
	size_t n;
	int64_t samples, ns;
	const struct profile_module *modules = profile_modules(run->profile, &n);
	profile_totals(run->profile, &samples, &ns);
	for (size_t i = 0; i < n; i++) {
		char text[REPORT_MODULE_WIDTH];
		report_module(&modules[i], samples, text);
		failed |= profile_comment(run->profile, "# module %s", text);
	}
	return failed;
}

static void look_up_names(struct run *run)
{
	if (naming_profile(&run->naming, &run->options, &run->attachment, run->profile) != 0) {
		ui_error("memory ran out while names were looked up: the file has addresses in their place");
		return;
	}
	size_t n;
	int64_t samples, ns;
	const struct profile_module *modules = profile_modules(run->profile, &n);
	profile_totals(run->profile, &samples, &ns);
	report_symbols(&run->report, modules, n, samples);
}

/* Every other format is what `report` would make of the profile: it is made of the same bytes. */
static int write_report(struct run *run, const struct pprof_times *times, struct error *err)
{
	static const struct text_options text = {.top = TOP};
	struct profile_view shown;
	char name[128];
	snprintf(name, sizeof name, "%s, PID %d", run->attachment.target.name, run->attachment.target.pid);
	int outcome = profile_view_open(run->profile, times, name, &shown, err);
	if (outcome == 0)
		outcome = format_write(shown.view, NULL, run->options.format, &text, run->output.fd, err);
	profile_view_close(&shown);
	return outcome;
}

static int write_profile(struct run *run, struct error *err)
{
	const struct sampler_result *result = &run->result;
	struct pprof_times times = {.time_ns = result->time_ns,
		.duration_ns = result->duration_ns,
		.period_ns = result->ticks > 0 ? result->duration_ns / (int64_t)result->ticks
					       : (int64_t)(1e9 / run->options.rate_hz)};
	look_up_names(run);
	if (add_comments(run) != 0)
		return error_set(err, "memory ran out before the profile could be written");
	int outcome = run->options.format == FORMAT_PPROF
			      ? pprof_write(run->profile, &times, run->output.fd, err)
			      : write_report(run, &times, err);
	if (outcome != 0)
		return -1;
	return output_commit(&run->output, err);
}

static void note_cost(const struct run *run)
{
	struct rusage usage, children;
	getrusage(RUSAGE_SELF, &usage);
	getrusage(RUSAGE_CHILDREN, &children);
	int64_t end = run->result.time_ns + run->result.duration_ns;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	ui_note(&run->options,
		"written   %.2f s after the last sample; peak memory %.1f MB, %.1f MB of a process that reads "
		"symbols; %zu distinct stacks",
		(double)(now.tv_sec * INT64_C(1000000000) + now.tv_nsec - end) / 1e9,
		(double)usage.ru_maxrss / 1024, (double)children.ru_maxrss / 1024,
		profile_stacks(run->profile));
}

/* ---- before ---- */

static int prepare(struct run *run, struct error *err)
{
	char path[PATH_MAX];
	const struct options *options = &run->options;
	if (options->name != NULL && processes_choose(options->name, &run->options.pid, err) != 0)
		return -1;
	const char *program = run->spawn.pid != 0 ? run->spawn.path : NULL;
	if (attachment_open(options, program, &run->attachment, err) != 0)
		return -1;
	char pattern[64];
	snprintf(pattern, sizeof pattern, "%s%s", OUTPUT_PATTERN, format_extension(options->format));
	if (output_expand(options->output != NULL ? options->output : pattern, run->attachment.target.pid,
		    run->attachment.target.name, time(NULL), path, err) != 0 ||
		output_open(path, format_is_for_terminals(options->format), &run->output, err) != 0)
		return -1;
	run->profile = profile_new(options->kind);
	if (run->profile == NULL)
		return error_set(err, "not enough memory to start");
	run->sampling = (struct sampler_options){.kind = options->kind,
		.duration_ns = options->duration_ns,
		.rate_hz = options->rate_hz,
		.tids = options->tids,
		.n_tids = options->n_tids,
		.max_overhead = options->max_overhead,
		.max_pause_ns = (uint64_t)options->max_pause_ns,
		.realtime = !options->no_realtime,
		.whole_life = options->until_end,
		.go_fd = run->spawn.pid != 0 ? run->spawn.go_fd : -1};
	return 0;
}

static void release(struct run *run)
{
	spawn_close(&run->spawn);
	output_discard(&run->output);
	profile_free(run->profile);
	naming_close(&run->naming);
	attachment_close(&run->attachment);
	free(run);
}

static int profile_process(struct run *run)
{
	struct error err;
	const struct target *target = &run->attachment.target;
	if (prepare(run, &err) != 0) {
		ui_error(err.message);
		return EXIT_NOTHING;
	}
	ui_note(&run->options, "profiling %d (%s) into %s", target->pid, target->name, run->output.path);
	if (sample_target(run, &err) != 0 || write_profile(run, &err) != 0) {
		ui_error(err.message);
		return EXIT_NOTHING;
	}
	note_cost(run);
	ui_summary(&run->report, run->profile, &run->options, run->output.path);
	if (!run->unharmed)
		return EXIT_HARM;
	bool partial = report_is_partial(&run->result) || naming_was_stopped(&run->naming);
	return partial ? EXIT_PARTIAL : EXIT_FULL;
}

/* The command's own end is ours: its exit code, and what happened to its profile was told. */
static int finish_command(struct run *run, int code)
{
	int status = run->result.status;
	struct error err;
	spawn_close_go(&run->spawn);
	if (!run->result.exited && waitpid(run->spawn.pid, &status, 0) != run->spawn.pid)
		return SPAWN_FAILED;
	int failure = spawn_failure(&run->spawn);
	if (failure != 0) {
		error_set(&err, "cannot run %s: %s", run->spawn.path, strerror(failure));
		ui_error(err.message);
	}
	return code == EXIT_NOTHING ? SPAWN_FAILED : code == EXIT_HARM ? code : spawn_exit_code(status);
}

/* Before our own signals are set up: the program begins with those that we were given. */
static int start_command(struct run *run)
{
	struct error err;
	if (run->options.output != NULL && strcmp(run->options.output, "-") == 0) {
		ui_error("standard output is the program's: name a file with -o");
		return EXIT_USAGE;
	}
	int failed = spawn_start(run->options.argv, &run->spawn, &err);
	if (failed != 0)
		ui_error(err.message);
	run->options.pid = run->spawn.pid;
	return failed;
}

int record_command(const struct options *options)
{
	struct run *run = calloc(1, sizeof *run);
	if (run == NULL) {
		ui_error("not enough memory to start");
		return EXIT_NOTHING;
	}
	run->options = *options;
	run->output.fd = run->spawn.go_fd = run->spawn.failure_fd = -1;
	attachment_init(&run->attachment);
	naming_init(&run->naming);
	int code = options->argv != NULL ? start_command(run) : EXIT_FULL;
	if (code == EXIT_FULL) {
		attachment_block_signals();
		code = profile_process(run);
		if (options->argv != NULL)
			code = finish_command(run, code);
	}
	release(run);
	return code;
}
