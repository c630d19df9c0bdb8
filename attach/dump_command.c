#include "attach/dump_command.h"

#include "attach/attachment.h"
#include "attach/calls.h"
#include "attach/diagnose.h"
#include "attach/naming.h"
#include "attach/options.h"
#include "attach/output.h"
#include "attach/processes.h"
#include "attach/sampler.h"
#include "attach/syscalls.h"
#include "attach/ui.h"
#include "encoder/dump.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"Usage: cprof-attach dump PID [OPTION]...\n"
	"Print the stack of every thread of a running program, all as of one moment, with what each waits "
	"for.\n"
	"\n"
	"  -p, --pid PID          the process (also as the only argument)\n"
	"  -n, --name NAME        the process by its name, or a part of it, or a regular expression\n"
	"      --json             for programs; docs/formats.md describes it\n"
	"  -o, --output FILE      where to write (default: standard output)\n"
	"      --tid TID          only this thread; may be given several times\n"
	"      --max-depth N      frames kept of one stack, from both its ends (default 16384)\n"
	"      --debuginfo-path DIR   look for separate debug files here, too; may be given several times\n"
	"      --debuginfod       fetch missing debug files from the servers in DEBUGINFOD_URLS\n"
	"      --no-realtime      never use real-time priority while threads are stopped\n"
	"  -q, --quiet            only errors on standard error\n"
	"  -v, --verbose          say what is done\n"
	"  -h, --help             this text\n"
	"\n"
	"Threads that sleep are read without being stopped; those that run are stopped together, for as short "
	"as\n"
	"possible, and go on before a stack is walked or a name looked up.\n"
	"Exit status: 0 all threads at one moment; 1 written, but something is missing: see the notes in it;\n"
	"2 nothing was written; 3 written, but the target was not left as it was found; 64 usage error.\n";

enum {
	OPTION_JSON = 256,
	OPTION_TID,
	OPTION_MAX_DEPTH,
	OPTION_DEBUGINFO_PATH,
	OPTION_DEBUGINFOD,
	OPTION_NO_REALTIME
};

static const struct option long_options[] = {
	{"pid", required_argument, NULL, 'p'},
	{"name", required_argument, NULL, 'n'},
	{"json", no_argument, NULL, OPTION_JSON},
	{"output", required_argument, NULL, 'o'},
	{"tid", required_argument, NULL, OPTION_TID},
	{"max-depth", required_argument, NULL, OPTION_MAX_DEPTH},
	{"debuginfo-path", required_argument, NULL, OPTION_DEBUGINFO_PATH},
	{"debuginfod", no_argument, NULL, OPTION_DEBUGINFOD},
	{"no-realtime", no_argument, NULL, OPTION_NO_REALTIME},
	{"quiet", no_argument, NULL, 'q'},
	{"verbose", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* What is said of one thread; the texts that struct dump_thread borrows. */
struct words {
	struct dump_call call;
	char text[CALL_WIDTH];
};

/* Everything that one run owns. */
struct run {
	struct options options;
	bool json;
	struct attachment attachment;
	struct output output;
	struct moment moment;
	struct sampler_result result;
	int outcome, refusal; /* of sampler_moment: its return value and errno */
	bool unharmed;
	struct profile *profile;
	struct naming naming;
	struct dump dump;
	struct dump_thread *threads;
	struct words *words;
};

/* ---- arguments ---- */

static int parse_option(int option, struct run *run, struct error *err)
{
	struct options *options = &run->options;
	switch (option) {
	case 'p':
		return options_pid(optarg, &options->pid, err);
	case 'n':
		options->name = optarg;
		return *optarg != '\0' ? 0 : error_set(err, "the name is empty: give one, such as -n redis");
	case 'o':
		options->output = optarg;
		return *optarg != '\0' ? 0 : error_set(err, "the output file's name is empty");
	case OPTION_JSON:
		run->json = true;
		return 0;
	case OPTION_TID:
		return options_tid(optarg, options, err);
	case OPTION_MAX_DEPTH:
		return options_depth(optarg, &options->max_depth, err);
	case OPTION_DEBUGINFO_PATH:
		return options_debug_path(optarg, options, err);
	case OPTION_DEBUGINFOD:
		options->debuginfod = true;
		return 0;
	case OPTION_NO_REALTIME:
		options->no_realtime = true;
		return 0;
	case 'h':
		options->command = COMMAND_HELP;
		return 0;
	default:
		*(option == 'q' ? &options->quiet : &options->verbose) = true;
		return 0;
	}
}

static int parse(int argc, char **argv, struct run *run, struct error *err)
{
	struct options *options = &run->options;
	int option;
	options->max_depth = OPTIONS_DEPTH;
	opterr = 0;
	optind = 0;
	while ((option = getopt_long(argc, argv, ":p:n:o:qvh", long_options, NULL)) != -1) {
		if (option == ':')
			return error_set(
				err, "%s needs an argument; see cprof-attach dump --help", argv[optind - 1]);
		if (option == '?')
			return error_set(err,
				"%s is not an option, or takes no argument; see cprof-attach dump --help",
				argv[optind - 1]);
		if (parse_option(option, run, err) != 0)
			return -1;
	}
	if (options->command == COMMAND_HELP)
		return 0;
	for (int i = optind; i < argc; i++)
		if (options_pid(argv[i], &options->pid, err) != 0)
			return -1;
	if (options->pid != 0 && options->name != NULL)
		return error_set(
			err, "one process at a time: %d and '%s' were given", options->pid, options->name);
	if (options->pid == 0 && options->name == NULL)
		return error_set(
			err, "which process? Give its PID: cprof-attach dump PID, or its name: -n NAME");
	return 0;
}

/* ---- the moment, in a thread of its own ---- */

static void *take(void *argument)
{
	struct run *run = argument;
	const struct options *options = &run->options;
	struct sampler_options sampling = {.kind = PROFILE_STATE,
		.tids = options->tids,
		.n_tids = options->n_tids,
		.max_overhead = 1,
		.realtime = !options->no_realtime,
		.go_fd = -1};
	run->outcome = sampler_moment(
		run->attachment.family, run->attachment.unwinder, &sampling, &run->result, &run->moment);
	run->refusal = errno;
	return NULL;
}

static int take_moment(struct run *run, struct error *err)
{
	pthread_t thread;
	const struct target *target = &run->attachment.target;
	int failure = pthread_create(&thread, NULL, take, run);
	if (failure != 0)
		return error_set(err, "cannot start a thread: %s: are processes limited here (ulimit -u)?",
			strerror(failure));
	pthread_join(thread, NULL);
	if (run->outcome != 0 && run->refusal == ENOMEM)
		return error_set(err, "not enough memory for the stacks of %d (%s)", target->pid, target->name);
	if (run->outcome != 0)
		return diagnose_refusal(target->pid, target->name, run->refusal, err);
	if (run->moment.n == 0)
		return error_set(err, "process %d (%s) ended before its stacks could be read", target->pid,
			target->name);
	return 0;
}

static void verify_release(struct run *run)
{
	struct target_traces found;
	struct error warning;
	run->unharmed = attachment_is_released(&run->attachment, run->result.job_stopped, &found);
	if (run->unharmed)
		return;
	attachment_warn(&run->attachment, &found, &warning);
	ui_error(warning.message);
}

/* ---- what is said of it ---- */

static const char *taken_word(enum moment_how how)
{
	static const char *const words[] = {[MOMENT_ASLEEP] = "asleep",
		[MOMENT_STOPPED] = "stopped",
		[MOMENT_MISSED] = "missed",
		[MOMENT_ENDED] = "ended"};
	return words[how];
}

static const char *note_on(const struct moment_thread *thread)
{
	switch (thread->how) {
	case MOMENT_MISSED:
		return "not stopped: it got no CPU to stop on, or may not be traced";
	case MOMENT_ENDED:
		return "it has ended and has no stack";
	default:
		return NULL;
	}
}

/* Right after the threads went on: what their calls wait for is looked up now. */
static int describe(struct run *run)
{
	const struct moment *moment = &run->moment;
	run->threads = calloc(moment->n, sizeof *run->threads);
	run->words = calloc(moment->n, sizeof *run->words);
	if (run->threads == NULL || run->words == NULL)
		return -1;
	for (size_t i = 0; i < moment->n; i++) {
		const struct moment_thread *from = &moment->v[i];
		struct words *words = &run->words[i];
		run->threads[i] = (struct dump_thread){.tid = from->tid,
			.name = from->name,
			.state = from->how == MOMENT_ENDED ? "ended" : from->state,
			.taken = taken_word(from->how),
			.note = note_on(from),
			.cpu_ns = from->run_ns,
			.cpu = from->cpu,
			.stack = &from->stack};
		if (!from->in_call)
			continue;
		call_words(&run->attachment.target, from->tid, &from->call, words->text);
		words->call = (struct dump_call){
			.number = from->call.nr, .name = syscall_name(from->call.nr), .words = words->text};
		memcpy(words->call.argument, from->call.argument, sizeof words->call.argument);
		run->threads[i].call = &words->call;
	}
	run->dump = (struct dump){.pid = run->attachment.target.pid,
		.name = run->attachment.target.name,
		.exe = run->attachment.target.exe,
		.time_ns = run->result.time_ns,
		.whole = moment->whole,
		.within_ns = moment->width_ns,
		.longest_stop_ns = run->result.pauses.max_ns,
		.stopped = moment->stopped,
		.threads = run->threads,
		.n = moment->n};
	return 0;
}

static int write_dump(struct run *run, struct error *err)
{
	if (describe(run) != 0 || dump_add(run->profile, &run->dump) != 0)
		return error_set(err, "memory ran out before the stacks could be written");
	if (naming_profile(&run->naming, &run->options, &run->attachment, run->profile) != 0)
		ui_error("memory ran out while names were looked up: there are addresses in their place");
	int outcome = run->json ? dump_write_json(run->profile, &run->dump, run->output.fd, err)
				: dump_write_text(run->profile, &run->dump, run->output.fd, err);
	return outcome == 0 ? output_commit(&run->output, err) : -1;
}

/* In words: how long the one was stopped that was longest; those that had no CPU then lost nothing. */
static void stop_words(const struct run *run, char text[96])
{
	uint64_t longest = run->result.pauses.max_ns;
	if (run->moment.stopped == 0)
		snprintf(text, 96, "none was stopped");
	else if (longest == 0)
		snprintf(text, 96, "%zu stopped, while without a CPU", run->moment.stopped);
	else
		snprintf(text, 96, "%zu stopped, at most %.0f µs", run->moment.stopped, (double)longest / 1e3);
}

static void say_cost(const struct run *run)
{
	const struct moment *moment = &run->moment;
	const struct options *options = &run->options;
	char stops[96];
	stop_words(run, stops);
	if (moment->whole)
		ui_say(options, "all %zu threads at one moment, found within %.2f ms; %s", moment->n,
			(double)moment->width_ns / 1e6, stops);
	else
		ui_say(options, "%zu threads, not all at one moment; %s", moment->n, stops);
	if (run->result.short_counts > 0)
		ui_say(options, "%lu system calls returned less than was asked for because of the stop",
			(unsigned long)run->result.short_counts);
	ui_note(options, "%u attempts; %lu interrupted system calls restarted", moment->attempts,
		(unsigned long)run->result.eintr_repaired);
	if (strcmp(run->output.path, "-") != 0)
		ui_say(options, "%s", run->output.path);
}

/* ---- */

static int dump_process(struct run *run, struct error *err)
{
	const char *path = run->options.output != NULL ? run->options.output : "-";
	attachment_block_signals();
	if (run->options.name != NULL && processes_choose(run->options.name, &run->options.pid, err) != 0)
		return EXIT_NOTHING;
	if (attachment_open(&run->options, NULL, &run->attachment, err) != 0 ||
		output_open(path, true, &run->output, err) != 0)
		return EXIT_NOTHING;
	run->profile = profile_new(PROFILE_STATE);
	if (run->profile == NULL) {
		error_set(err, "not enough memory to start");
		return EXIT_NOTHING;
	}
	if (take_moment(run, err) != 0)
		return EXIT_NOTHING;
	verify_release(run);
	if (write_dump(run, err) != 0)
		return EXIT_NOTHING;
	say_cost(run);
	if (!run->unharmed)
		return EXIT_HARM;
	bool partial = !run->moment.whole || run->result.threads_refused > 0 || run->result.out_of_memory ||
		       naming_was_stopped(&run->naming);
	return partial ? EXIT_PARTIAL : EXIT_FULL;
}

static void release(struct run *run)
{
	output_discard(&run->output);
	profile_free(run->profile);
	naming_close(&run->naming);
	moment_free(&run->moment);
	attachment_close(&run->attachment);
	free(run->threads);
	free(run->words);
	free(run);
}

int dump_command(int argc, char **argv)
{
	struct error err;
	struct run *run = calloc(1, sizeof *run);
	if (run == NULL) {
		ui_error("not enough memory to start");
		return EXIT_NOTHING;
	}
	run->output.fd = -1;
	attachment_init(&run->attachment);
	naming_init(&run->naming);
	int code = EXIT_FULL;
	if (parse(argc, argv, run, &err) != 0)
		code = EXIT_USAGE;
	else if (run->options.command == COMMAND_HELP)
		ui_help(help);
	else
		code = dump_process(run, &err);
	if (code == EXIT_USAGE || code == EXIT_NOTHING)
		ui_error(err.message);
	release(run);
	return code;
}
