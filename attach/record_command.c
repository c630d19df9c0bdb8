#include "attach/record_command.h"

#include "attach/diagnose.h"
#include "attach/options.h"
#include "attach/output.h"
#include "attach/places.h"
#include "attach/processes.h"
#include "attach/report.h"
#include "attach/sampler.h"
#include "attach/spawn.h"
#include "attach/target.h"
#include "attach/ui.h"
#include "encoder/format.h"
#include "encoder/pprof.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TOP = 20 }; /* functions, where text is written */

/* Everything that one run owns. */
struct run {
	struct options options;
	struct sampler_options sampling;
	struct target target;
	struct spawn spawn; /* pid 0: the target ran before */
	struct output output;
	struct space *space;
	struct unwinder *unwinder;
	struct profile *profile;
	struct places places;
	struct isolated *isolated;
	int perfmap_fd; /* opened before and, if it was not there yet, after sampling; -1 none */
	int stop_fd; /* signals that come while names are looked up */
	struct sampler_progress progress;
	struct sampler_result result;
	struct report report;
	bool unharmed; /* the target was seen let go and running */
	int outcome, refusal; /* of sampler_run: its return value and errno */
};

/* ---- what the sampler's address space needs of the target ---- */

static int open_mapped_file(void *context, const struct map *map)
{
	return target_open_file(context, map);
}

static size_t read_target_memory(void *context, uint64_t address, void *buffer, size_t len)
{
	const struct target *target = context;
	return target_read(target->live_tid, address, buffer, len);
}

/* ---- sampling, in a thread of its own ---- */

static void *sample(void *argument)
{
	struct run *run = argument;
	run->outcome = sampler_run(&run->target, run->space, run->unwinder, run->profile, &run->sampling,
		&run->progress, &run->result);
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

/* The kernel detaches when the sampling thread has ended, a moment after it was joined. Group stops of job
 * control are over, or not, as they were without us: a target that was stopped stays so. */
static bool left_unharmed(const struct run *run, struct target_traces *found)
{
	struct timespec moment = {0, 1000000};
	for (int i = 0; i < 2000; i++) {
		target_inspect(&run->target, found);
		if (found->traced == 0 && (found->stopped == 0 || run->result.job_stopped))
			return true;
		nanosleep(&moment, NULL);
	}
	return false;
}

static void verify_release(struct run *run)
{
	struct target_traces found;
	run->unharmed = left_unharmed(run, &found);
	if (run->unharmed) {
		report_add(&run->report, "released  all %zu threads: no tracer, none left stopped%s",
			found.threads, run->result.job_stopped ? " but by job control, as before" : "");
		return;
	}
	report_add(&run->report, "HARM      %zu of %zu threads are still traced, %zu are stopped", found.traced,
		found.threads, found.stopped);
	struct error warning;
	error_set(&warning,
		"WARNING: the target was not left as it was found: %zu of its %zu threads are still traced, "
		"%zu "
		"stopped; it is let go when this program ends; if it stays stopped, and nobody else stopped "
		"it: "
		"kill -CONT %d",
		found.traced, found.threads, found.stopped, run->target.pid);
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
		return diagnose_refusal(run->target.pid, run->target.name, run->refusal, err);
	report_make(&run->result, &run->sampling, &run->report);
	if (run->options.unwinder == UNWINDER_BOTH) {
		struct unwinder_comparison comparison = unwinder_comparison(run->unwinder);
		report_add_comparison(&run->report, &comparison);
	}
	verify_release(run);
	return 0;
}

/* ---- after the target was let go ---- */

static int add_comments(struct run *run)
{
	int failed = profile_comment(run->profile, "cprof-attach " CPROF_VERSION " of %s, PID %d (%s), kind %s",
		run->target.name, run->target.pid, run->target.exe,
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

/* What ended the sampling may have come more than once, in a shell's hurry. A signal from here on means that
 * the file is wanted without names. */
static int open_stop(void)
{
	static const struct timespec now = {0, 0};
	sigset_t ending;
	sigemptyset(&ending);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGHUP);
	while (sigtimedwait(&ending, NULL, &now) > 0)
		;
	return signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void look_up_names(struct run *run)
{
	run->stop_fd = open_stop();
	run->isolated = isolated_new(&isolated_defaults, run->stop_fd);
	int ready = places_open(&run->options, run->stop_fd, &run->places);
	if (run->perfmap_fd < 0)
		run->perfmap_fd = target_open_perfmap(&run->target);
	if (run->isolated != NULL)
		isolated_places(run->isolated, run->places.folders);
	if (run->isolated == NULL || ready != 0 ||
		profile_symbolize(run->profile, run->space, run->isolated, run->perfmap_fd) != 0) {
		ui_error("memory ran out while names were looked up: the file has addresses in their place");
		return;
	}
	size_t n;
	int64_t samples, ns;
	const struct profile_module *modules = profile_modules(run->profile, &n);
	profile_totals(run->profile, &samples, &ns);
	report_symbols(&run->report, modules, n, samples);
	if (isolated_weakness(run->isolated)[0] != '\0')
		ui_note(&run->options,
			"symbols   are read by a process that is confined less than intended: %s",
			isolated_weakness(run->isolated));
}

/* Every other format is what `report` would make of the profile: it is made of the same bytes. */
static int write_report(struct run *run, const struct pprof_times *times, struct error *err)
{
	static const struct text_options text = {.top = TOP};
	int fd = memfd_create("profile", MFD_CLOEXEC);
	struct pprof_file *file = NULL;
	struct view *view = NULL;
	char name[128];
	snprintf(name, sizeof name, "%s, PID %d", run->target.name, run->target.pid);
	int outcome = fd >= 0 ? pprof_write(run->profile, times, fd, err) : error_set(err, "memory is out");
	if (outcome == 0 && lseek(fd, 0, SEEK_SET) == 0)
		file = pprof_file_read(fd, name, err);
	if (file != NULL)
		view = view_new(file, name, err);
	outcome = view != NULL ? format_write(view, NULL, run->options.format, &text, run->output.fd, err) : -1;
	view_free(view);
	pprof_file_free(file);
	if (fd >= 0)
		close(fd);
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

static int check_tids(const struct run *run, struct error *err)
{
	for (size_t i = 0; i < run->options.n_tids; i++) {
		char path[64];
		snprintf(path, sizeof path, "/proc/%d/task/%d", run->target.pid, run->options.tids[i]);
		if (access(path, F_OK) != 0)
			return error_set(err,
				"process %d (%s) has no thread %d: ls /proc/%d/task shows which it has",
				run->target.pid, run->target.name, run->options.tids[i], run->target.pid);
	}
	return 0;
}

/* Two descriptors are kept open for each thread of the target, as many as are allowed. The table of
 * descriptors grows now, while we have a single thread: later every growth would wait for all CPUs
 * (synchronize_rcu in the kernel's expand_fdtable), and ticks would be late. */
static void make_room_for_files(struct target *target)
{
	struct rlimit limit;
	int threads = target_thread_count(target);
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	target->files = limit.rlim_cur < INT_MAX ? (int)limit.rlim_cur : INT_MAX;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || threads < 0)
		return;
	target->files = limit.rlim_cur < INT_MAX ? (int)limit.rlim_cur : INT_MAX;
	rlim_t wanted = 4 * (rlim_t)threads + 1024;
	int highest = fcntl(
		target->task_fd, F_DUPFD_CLOEXEC, (int)(wanted < limit.rlim_max ? wanted : limit.rlim_max - 1));
	if (highest >= 0)
		close(highest);
}

/* The child that waits for its exec still looks like us. */
static void name_after_program(struct run *run)
{
	run->target.is_ours = true;
	const char *path = run->spawn.path, *slash = strrchr(path, '/');
	snprintf(run->target.name, sizeof run->target.name, "%.15s", slash != NULL ? slash + 1 : path);
	char *absolute = realpath(path, NULL);
	snprintf(run->target.exe, sizeof run->target.exe, "%s", absolute != NULL ? absolute : path);
	free(absolute);
}

static int prepare(struct run *run, struct error *err)
{
	char path[PATH_MAX];
	const struct options *options = &run->options;
	if (options->name != NULL && processes_choose(options->name, &run->options.pid, err) != 0)
		return -1;
	if (target_open(options->pid, &run->target, err) != 0 || check_tids(run, err) != 0)
		return -1;
	if (run->spawn.pid != 0)
		name_after_program(run);
	make_room_for_files(&run->target);
	run->perfmap_fd = target_open_perfmap(&run->target);
	char pattern[64];
	snprintf(pattern, sizeof pattern, "%s%s", OUTPUT_PATTERN, format_extension(options->format));
	if (output_expand(options->output != NULL ? options->output : pattern, run->target.pid,
		    run->target.name, time(NULL), path, err) != 0 ||
		output_open(path, format_is_for_terminals(options->format), &run->output, err) != 0)
		return -1;
	struct space_source source = {&run->target, open_mapped_file, read_target_memory};
	run->space = space_new(&source, run->target.exe);
	run->unwinder = run->space != NULL ? unwinder_new(run->space, options->max_depth) : NULL;
	run->profile = profile_new(options->kind);
	if (run->unwinder == NULL || run->profile == NULL ||
		unwinder_use(run->unwinder, options->unwinder) != 0)
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
	isolated_free(run->isolated);
	places_close(&run->places);
	if (run->stop_fd >= 0)
		close(run->stop_fd);
	if (run->perfmap_fd >= 0)
		close(run->perfmap_fd);
	unwinder_free(run->unwinder);
	space_free(run->space);
	target_close(&run->target);
	free(run);
}

/* The signals that end a run are taken by the sampling thread (sigtimedwait), so none of ours may get them
 * otherwise. They stay blocked until the file is written: what was collected is never lost. */
static void set_signals(void)
{
	sigset_t blocked;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	signal(SIGPIPE, SIG_IGN); /* write(2) then says EPIPE, and we say what it means */
}

static int profile_process(struct run *run)
{
	struct error err;
	if (prepare(run, &err) != 0) {
		ui_error(err.message);
		return EXIT_NOTHING;
	}
	ui_note(&run->options, "profiling %d (%s) into %s", run->target.pid, run->target.name,
		run->output.path);
	if (sample_target(run, &err) != 0 || write_profile(run, &err) != 0) {
		ui_error(err.message);
		return EXIT_NOTHING;
	}
	note_cost(run);
	ui_summary(&run->report, run->profile, &run->options, run->output.path);
	if (!run->unharmed)
		return EXIT_HARM;
	bool partial =
		report_is_partial(&run->result) || (run->isolated != NULL && isolated_stopped(run->isolated));
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
	run->target.task_fd = run->output.fd = run->stop_fd = run->perfmap_fd = -1;
	run->spawn.go_fd = run->spawn.failure_fd = -1;
	int code = options->argv != NULL ? start_command(run) : EXIT_FULL;
	if (code == EXIT_FULL) {
		set_signals();
		code = profile_process(run);
		if (options->argv != NULL)
			code = finish_command(run, code);
	}
	release(run);
	return code;
}
