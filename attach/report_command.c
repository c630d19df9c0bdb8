#include "attach/report_command.h"

#include "attach/options.h"
#include "attach/output.h"
#include "attach/ui.h"
#include "encoder/filter.h"
#include "encoder/format.h"
#include "encoder/pprof_merge.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOP = 20, TYPES_WIDTH = 256, INPUT_NAME = 256 };

static const char help[] =
	"Usage: cprof-attach report PROFILE... [OPTION]...\n"
	"       cprof-attach report --diff BEFORE AFTER [OPTION]...\n"
	"Show a profile in pprof's format, whoever wrote it: without options the hottest functions, as text.\n"
	"Several profiles are made one first; -f pprof writes it.\n"
	"\n"
	"  -f, --format FORMAT    text (default), flamegraph, folded, speedscope, json, pprof\n"
	"  -o, --output FILE      where to write; its end tells the format, too: .txt, .html, .folded,\n"
	"                         .speedscope.json, .json, .pb.gz (default: standard output)\n"
	"      --diff BEFORE      compare with this profile: as text, or as a differential flame graph\n"
	"      --top N            so many functions (default 20; 0: all)\n"
	"      --cum              sorted by what functions use with all that they call\n"
	"      --tree             each function with its callers and callees\n"
	"      --list REGEX       the source of these functions, with what each line used\n"
	"      --focus REGEX      only stacks with a function, file or module that matches\n"
	"      --ignore REGEX     only stacks without one\n"
	"      --tid TID          only this thread\n"
	"      --thread NAME      only threads of this name\n"
	"      --process NAME     only processes of this name, of a profile with several (-s)\n"
	"      --state STATE      only samples in this state: running, runnable, sleeping, disk, stopped\n"
	"      --type TYPE        what is counted, where a profile has several kinds: cpu, samples ...\n"
	"  -h, --help             this text\n"
	"\n"
	"Exit status: 0 written; 1 written, but no sample was left to show; 2 nothing was written; 64 usage "
	"error.\n"
	"\n"
	"Then: cprof-attach report PROFILE -o profile.html, and open that in a browser\n";

enum {
	OPTION_DIFF = 256,
	OPTION_TOP,
	OPTION_CUM,
	OPTION_TREE,
	OPTION_LIST,
	OPTION_FOCUS,
	OPTION_IGNORE,
	OPTION_TID,
	OPTION_THREAD,
	OPTION_PROCESS,
	OPTION_STATE,
	OPTION_TYPE
};

static const struct option long_options[] = {
	{"format", required_argument, NULL, 'f'},
	{"output", required_argument, NULL, 'o'},
	{"diff", required_argument, NULL, OPTION_DIFF},
	{"top", required_argument, NULL, OPTION_TOP},
	{"cum", no_argument, NULL, OPTION_CUM},
	{"tree", no_argument, NULL, OPTION_TREE},
	{"list", required_argument, NULL, OPTION_LIST},
	{"focus", required_argument, NULL, OPTION_FOCUS},
	{"ignore", required_argument, NULL, OPTION_IGNORE},
	{"tid", required_argument, NULL, OPTION_TID},
	{"thread", required_argument, NULL, OPTION_THREAD},
	{"process", required_argument, NULL, OPTION_PROCESS},
	{"state", required_argument, NULL, OPTION_STATE},
	{"type", required_argument, NULL, OPTION_TYPE},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* One profile that was read, or several that were made one. */
struct input {
	char *const *paths; /* borrowed from argv; n 0: nothing to read */
	size_t n;
	char name[INPUT_NAME];
	struct pprof_file *file;
	struct view *whole, *shown;
};

/* Everything that one run owns. */
struct run {
	struct input input, before; /* before.n 0: nothing to compare with */
	struct filter filter;
	bool has_filter;
	regex_t list;
	struct text_options text;
	enum format format;
	bool has_format, help;
	const char *type, *focus, *ignore, *pattern; /* pattern: of --list */
	char *before_path; /* NULL: none */
	const char *path; /* of the output */
	struct output output;
};

/* ---- arguments ---- */

static int parse_number(const char *text, long max, const char *what, int64_t *number, struct error *err)
{
	char *end;
	errno = 0;
	long value = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < 0 || value > max)
		return error_set(err, "'%s' is not %s: give a number from 0 to %ld", text, what, max);
	*number = value;
	return 0;
}

static int parse_option(int option, struct run *run, struct error *err)
{
	int64_t number = 0;
	switch (option) {
	case 'f':
		run->has_format = true;
		if (format_find(optarg, &run->format))
			return 0;
		return error_set(err,
			"'%s' is not a format: give text, flamegraph, folded, speedscope, json or pprof",
			optarg);
	case 'o':
		run->path = optarg;
		return *optarg != '\0' ? 0 : error_set(err, "the output file's name is empty");
	case OPTION_DIFF:
		run->before_path = optarg;
		return 0;
	case OPTION_TOP:
		if (parse_number(optarg, 1000000, "a number of functions", &number, err) != 0)
			return -1;
		run->text.top = (size_t)number;
		return 0;
	case OPTION_CUM:
		run->text.by_cum = true;
		return 0;
	case OPTION_TREE:
		run->text.tree = true;
		return 0;
	case OPTION_LIST:
		run->pattern = optarg;
		return 0;
	case OPTION_FOCUS:
		run->focus = optarg;
		return 0;
	case OPTION_IGNORE:
		run->ignore = optarg;
		return 0;
	case OPTION_TID:
		return parse_number(optarg, INT32_MAX, "a thread's ID", &run->filter.tid, err);
	case OPTION_THREAD:
		run->filter.thread = optarg;
		return 0;
	case OPTION_PROCESS:
		run->filter.process = optarg;
		return 0;
	case OPTION_STATE:
		run->filter.state = optarg;
		return 0;
	case OPTION_TYPE:
		run->type = optarg;
		return 0;
	default:
		run->help = true;
		return 0;
	}
}

/* What only some formats can do. */
static int check(struct run *run, struct error *err)
{
	if (!run->has_format && (run->path == NULL || !format_of_path(run->path, &run->format)))
		run->format = FORMAT_TEXT;
	if (run->format == FORMAT_PPROF && (run->has_filter || run->before_path != NULL))
		return error_set(err,
			"a profile in pprof's format is written whole: choose samples with go tool pprof "
			"-proto -focus, or another format");
	if (run->before_path != NULL && run->format != FORMAT_TEXT && run->format != FORMAT_FLAMEGRAPH)
		return error_set(
			err, "--diff is shown as text or as a flame graph: give -f text or -f flamegraph");
	if (run->before_path != NULL && (run->text.tree || run->pattern != NULL))
		return error_set(err, "--diff shows functions: it goes with neither --tree nor --list");
	if (run->format != FORMAT_TEXT && (run->text.tree || run->pattern != NULL))
		return error_set(err, "--tree and --list are text: leave -f out, or give -f text");
	return 0;
}

static int compile(struct run *run, struct error *err)
{
	if (run->pattern != NULL) {
		if (filter_pattern(&run->list, run->pattern, err) != 0)
			return -1;
		run->text.list = &run->list;
	}
	return filter_compile(&run->filter, run->focus, run->ignore, err);
}

static int parse(int argc, char **argv, struct run *run, struct error *err)
{
	int option;
	run->text.top = TOP;
	opterr = 0;
	optind = 0;
	while ((option = getopt_long(argc, argv, ":f:o:h", long_options, NULL)) != -1) {
		if (option == ':')
			return error_set(
				err, "%s needs an argument; see cprof-attach report --help", argv[optind - 1]);
		if (option == '?')
			return error_set(err,
				"%s is not an option, or takes no argument; see cprof-attach report --help",
				argv[optind - 1]);
		if (parse_option(option, run, err) != 0)
			return -1;
	}
	if (run->help)
		return 0;
	if (optind >= argc)
		return error_set(err,
			"which profile? Give a file: cprof-attach report PROFILE (see cprof-attach report "
			"--help)");
	run->input = (struct input){.paths = argv + optind, .n = (size_t)(argc - optind)};
	if (run->before_path != NULL)
		run->before = (struct input){.paths = &run->before_path, .n = 1};
	run->has_filter = run->focus != NULL || run->ignore != NULL || run->filter.tid != 0 ||
			  run->filter.thread != NULL || run->filter.process != NULL ||
			  run->filter.state != NULL;
	if (check(run, err) != 0)
		return -1;
	return compile(run, err);
}

/* ---- reading ---- */

/* Their names, as many as fit. */
static void list_types(const struct view *view, char list[TYPES_WIDTH])
{
	size_t n = 0;
	for (size_t i = 0; i < view->n_types; i++) {
		const char *type = view->types[i].type;
		if (TYPES_WIDTH - n <= strlen(type) + 3)
			break;
		for (const char *p = i > 0 ? ", " : ""; *p != '\0'; p++)
			list[n++] = *p;
		for (size_t k = 0; type[k] != '\0'; k++)
			list[n++] = type[k];
	}
	list[n] = '\0';
}

/* What is counted, by the name of its kind. */
static int choose_type(struct view *view, const char *type, struct error *err)
{
	char list[TYPES_WIDTH];
	for (size_t i = 0; i < view->n_types; i++)
		if (strcmp(view->types[i].type, type) == 0) {
			view->type = i;
			return 0;
		}
	list_types(view, list);
	return error_set(err, "%s does not count '%s', but: %s", view->name, type, list);
}

static struct pprof_file *read_profile(const char *path, struct error *err)
{
	int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		error_set(err, "cannot read %s: %s", path, strerror(errno));
		return NULL;
	}
	struct pprof_file *file = pprof_file_read(fd, path, err);
	close(fd);
	return file;
}

static int add_profile(struct pprof_merge *merge, const char *path, struct error *err)
{
	struct pprof_file *file = read_profile(path, err);
	int outcome = file != NULL ? pprof_merge_add(merge, file, path, err) : -1;
	pprof_file_free(file);
	return outcome;
}

/* One after the other: only the result is held whole. */
static struct pprof_file *read_merged(const struct input *input, struct error *err)
{
	struct pprof_merge *merge = pprof_merge_new();
	struct pprof_file *file = NULL;
	int outcome = merge != NULL ? 0 : error_set(err, "memory is out");
	for (size_t i = 0; i < input->n && outcome == 0; i++)
		outcome = add_profile(merge, input->paths[i], err);
	if (outcome == 0)
		file = pprof_merge_finish(merge, err);
	pprof_merge_free(merge);
	return file;
}

static int read_input(const struct run *run, struct input *input, struct error *err)
{
	/* parse() has set them. */
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	snprintf(input->name, sizeof input->name, "%s", input->paths[0]);
	if (input->n > 1)
		snprintf(input->name, sizeof input->name, "%.*s and %zu more", INPUT_NAME - 32, input->paths[0],
			input->n - 1);
	input->file = input->n == 1 ? read_profile(input->paths[0], err) : read_merged(input, err);
	if (input->file == NULL)
		return -1;
	if (run->format == FORMAT_PPROF)
		return 0;
	input->whole = view_new(input->file, input->name, err);
	if (input->whole == NULL || (run->type != NULL && choose_type(input->whole, run->type, err) != 0))
		return -1;
	input->shown = filter_apply(&run->filter, input->whole);
	return input->shown != NULL ? 0 : error_set(err, "memory is out");
}

/* The same kind of samples in both, if the other has it. */
static int read_before(struct run *run, struct error *err)
{
	struct error ignored;
	if (run->before.n == 0)
		return 0;
	if (read_input(run, &run->before, err) != 0)
		return -1;
	const struct view *view = run->input.shown;
	if (choose_type(run->before.shown, view->types[view->type].type, &ignored) != 0)
		return error_set(err, "%s does not count what %s does: choose another kind with --type",
			run->before.name, run->input.name);
	return 0;
}

static void input_free(struct input *input)
{
	filter_view_free(input->shown);
	view_free(input->whole);
	pprof_file_free(input->file);
}

/* ---- writing ---- */

static int write_report(struct run *run, struct error *err)
{
	int outcome = run->format == FORMAT_PPROF ? pprof_file_write(run->input.file, run->output.fd, err)
						  : format_write(run->input.shown, run->before.shown,
							    run->format, &run->text, run->output.fd, err);
	return outcome == 0 ? output_commit(&run->output, err) : -1;
}

static int run_report(struct run *run, struct error *err)
{
	static const struct options spoken = {0};
	const char *path = run->path != NULL ? run->path : "-";
	if (read_input(run, &run->input, err) != 0 || read_before(run, err) != 0 ||
		output_open(path, format_is_for_terminals(run->format), &run->output, err) != 0 ||
		write_report(run, err) != 0)
		return EXIT_NOTHING;
	if (run->format == FORMAT_FLAMEGRAPH && strcmp(path, "-") != 0)
		ui_say(&spoken, "next      open %s in a browser", path);
	if (strcmp(path, "-") != 0)
		ui_say(&spoken, "%s", path);
	if (run->input.shown == NULL || run->input.shown->n_samples > 0)
		return EXIT_FULL;
	ui_say(&spoken, run->has_filter ? "no sample was left: the filters fit none of them"
					: "the profile has no samples");
	return EXIT_PARTIAL;
}

int report_command(int argc, char **argv)
{
	struct error err;
	struct run *run = calloc(1, sizeof *run);
	if (run == NULL) {
		ui_error("not enough memory to start");
		return EXIT_NOTHING;
	}
	run->output.fd = -1;
	signal(SIGPIPE, SIG_IGN);
	int code = EXIT_FULL;
	if (parse(argc, argv, run, &err) != 0)
		code = EXIT_USAGE;
	else if (run->help)
		ui_help(help);
	else
		code = run_report(run, &err);
	if (code == EXIT_USAGE || code == EXIT_NOTHING)
		ui_error(err.message);
	output_discard(&run->output);
	input_free(&run->input);
	input_free(&run->before);
	filter_free(&run->filter);
	if (run->text.list != NULL)
		regfree(&run->list);
	free(run);
	return code;
}
