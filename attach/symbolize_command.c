#include "attach/symbolize_command.h"

#include "attach/options.h"
#include "attach/output.h"
#include "attach/places.h"
#include "attach/ui.h"
#include "encoder/pprof_file.h"
#include "symbols/isolated.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: cprof-attach symbolize PROFILE [OPTION]...\n"
	"Name the frames of a profile that was taken where programs had no symbols: functions, files, lines "
	"and\n"
	"inlined calls, from debug files with the build-ids that the profile notes. PROFILE may be any pprof "
	"file.\n"
	"Names that are there already are kept where the debug files say no more.\n"
	"\n"
	"      --debuginfo-path DIR   look for debug files, or the programs with their symbols, here: as "
	"below\n"
	"                         /usr/lib/debug (.build-id/xx/yyyy.debug), under the program's path, or under "
	"its\n"
	"                         name; a file is good as well; may be given several times\n"
	"      --debuginfod       fetch missing debug files from the servers in DEBUGINFOD_URLS\n"
	"  -o, --output FILE      where to write; - is standard output (default: NAME.symbolized.pb.gz beside\n"
	"                         PROFILE)\n"
	"  -q, --quiet            only errors on standard error\n"
	"  -v, --verbose          also name the modules for which there was no file\n"
	"  -h, --help             this text\n"
	"\n"
	"Exit status: 0 written, with names that were missing; 1 written, but there was nothing to add; 2 "
	"nothing was\n"
	"written; 64 usage error.\n";

enum { OPTION_DEBUGINFO_PATH = 256, OPTION_DEBUGINFOD };

static const struct option long_options[] = {
	{"debuginfo-path", required_argument, NULL, OPTION_DEBUGINFO_PATH},
	{"debuginfod", no_argument, NULL, OPTION_DEBUGINFOD},
	{"output", required_argument, NULL, 'o'},
	{"quiet", no_argument, NULL, 'q'},
	{"verbose", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* Everything that one run owns. */
struct run {
	struct options options; /* what both commands have */
	const char *input;
	struct pprof_file *file;
	struct places places;
	struct isolated *isolated;
	struct output output;
	size_t named; /* addresses that got better names */
};

static int parse(int argc, char **argv, struct run *run, struct error *err)
{
	struct options *options = &run->options;
	int option;
	opterr = 0;
	optind = 0;
	while ((option = getopt_long(argc, argv, ":o:qvh", long_options, NULL)) != -1) {
		if (option == ':')
			return error_set(err, "%s needs an argument; see cprof-attach symbolize --help",
				argv[optind - 1]);
		if (option == '?')
			return error_set(err,
				"%s is not an option, or takes no argument; see cprof-attach "
				"symbolize --help",
				argv[optind - 1]);
		if (option == OPTION_DEBUGINFO_PATH && options->n_debug_paths == OPTIONS_MAX_PATHS)
			return error_set(
				err, "more than %d folders of debug files were named", OPTIONS_MAX_PATHS);
		if (option == OPTION_DEBUGINFO_PATH)
			options->debug_paths[options->n_debug_paths++] = optarg;
		else if (option == OPTION_DEBUGINFOD)
			options->debuginfod = true;
		else if (option == 'o')
			options->output = optarg;
		else if (option == 'h')
			options->command = COMMAND_HELP;
		else
			*(option == 'q' ? &options->quiet : &options->verbose) = true;
	}
	if (options->command == COMMAND_HELP)
		return 0;
	if (optind != argc - 1)
		return error_set(err, "which profile? Give one file: cprof-attach symbolize PROFILE "
				      "--debuginfo-path DIR");
	run->input = argv[optind];
	return 0;
}

static int read_input(struct run *run, struct error *err)
{
	/* parse() has set it. */
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
	int fd = open(run->input, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return error_set(err, "cannot read %s: %s", run->input, strerror(errno));
	run->file = pprof_file_read(fd, run->input, err);
	close(fd);
	return run->file != NULL ? 0 : -1;
}

static int open_output(struct run *run, struct error *err)
{
	static const char ending[] = ".pb.gz";
	char path[PATH_MAX];
	if (run->options.output != NULL)
		return output_open(run->options.output, false, &run->output, err);
	size_t len = strlen(run->input), ending_len = strlen(ending);
	if (len > ending_len && strcmp(run->input + len - ending_len, ending) == 0)
		len -= ending_len;
	if (len >= sizeof path || snprintf(path, sizeof path, "%.*s.symbolized%s", (int)len, run->input,
					  ending) >= (int)sizeof path)
		return error_set(err, "the output file's name is too long: give a shorter one with -o");
	return output_open(path, false, &run->output, err);
}

/* The addresses of one module that lie in its file, in the file's own terms. */
struct asked {
	uint64_t *vaddrs;
	size_t *numbers; /* of the module's addresses */
	struct symbolized *found;
	size_t n;
};

static int ask(const struct run *run, size_t number, const struct image *image, struct asked *asked)
{
	struct pprof_module module = pprof_file_module(run->file, number);
	asked->vaddrs = calloc(module.n + 1, sizeof *asked->vaddrs);
	asked->numbers = calloc(module.n + 1, sizeof *asked->numbers);
	asked->found = calloc(module.n + 1, sizeof *asked->found);
	if (asked->vaddrs == NULL || asked->numbers == NULL || asked->found == NULL)
		return -1;
	for (size_t i = 0; i < module.n; i++) {
		uint64_t vaddr;
		if (!image_mapped_to_vaddr(image, module.start, module.limit, module.offset,
			    pprof_file_address(run->file, number, i), &vaddr))
			continue;
		asked->vaddrs[asked->n] = vaddr;
		asked->numbers[asked->n++] = i;
	}
	return 0;
}

static int take(struct run *run, size_t number, const struct asked *asked, size_t *named)
{
	for (size_t i = 0; i < asked->n; i++) {
		int outcome = pprof_file_name(run->file, number, asked->numbers[i], &asked->found[i]);
		if (outcome < 0)
			return -1;
		*named += (size_t)outcome;
	}
	return 0;
}

static int name_from(struct run *run, size_t number, const struct image *image)
{
	struct pprof_module module = pprof_file_module(run->file, number);
	struct asked asked = {0};
	struct symbol_quality quality;
	size_t named = 0;
	int outcome = ask(run, number, image, &asked);
	if (outcome == 0)
		outcome = isolated_image(run->isolated, image, asked.vaddrs, asked.n, asked.found, &quality);
	if (outcome == 0)
		outcome = take(run, number, &asked, &named);
	if (outcome == 0) {
		if (quality.complete)
			pprof_file_complete(run->file, number);
		ui_say(&run->options, "module    %s: %zu of %zu addresses named anew, from %s (%s)",
			module.path, named, module.n, image_path(image), quality.source);
		outcome = pprof_file_comment(run->file,
			"# symbolized %s build-id %s: %zu of %zu addresses named anew (%s)", module.path,
			module.build_id, named, module.n, quality.source);
	}
	run->named += named;
	free(asked.vaddrs);
	free(asked.numbers);
	free(asked.found);
	return outcome;
}

static int name_module(struct run *run, size_t number)
{
	struct pprof_module module = pprof_file_module(run->file, number);
	if (module.n == 0)
		return 0;
	struct image *image = module.build_id[0] != '\0'
				      ? debug_places_find(run->places.folders, module.build_id, module.path)
				      : NULL;
	if (image == NULL) {
		ui_note(&run->options, "module    %s: %s%s; its names stay as they are", module.path,
			module.build_id[0] != '\0' ? "no file with build-id " : "the profile notes no build-id",
			module.build_id);
		return 0;
	}
	int outcome = name_from(run, number, image);
	image_free(image);
	return outcome;
}

static int prepare(struct run *run, struct error *err)
{
	const struct options *options = &run->options;
	if (read_input(run, err) != 0 || open_output(run, err) != 0)
		return -1;
	run->isolated = isolated_new(&isolated_defaults, -1);
	if (run->isolated == NULL || places_open(options, -1, &run->places) != 0)
		return error_set(err, "not enough memory to start");
	isolated_places(run->isolated, run->places.folders);
	return 0;
}

static int name_and_write(struct run *run, struct error *err)
{
	for (size_t i = 0; i < pprof_file_modules(run->file); i++)
		if (name_module(run, i) != 0)
			return error_set(err, "memory ran out while names were looked up");
	if (pprof_file_write(run->file, run->output.fd, err) != 0 || output_commit(&run->output, err) != 0)
		return -1;
	if (run->named == 0)
		ui_say(&run->options,
			"nothing to add: no debug file for what has no names yet; -v says what was "
			"looked for");
	if (strcmp(run->output.path, "-") != 0)
		ui_say(&run->options, "%s", run->output.path);
	return 0;
}

int symbolize_command(int argc, char **argv)
{
	struct error err;
	struct run *run = calloc(1, sizeof *run);
	if (run == NULL) {
		ui_error("not enough memory to start");
		return EXIT_NOTHING;
	}
	run->output.fd = -1;
	run->input = "";
	int code = EXIT_NOTHING;
	signal(SIGPIPE, SIG_IGN);
	if (parse(argc, argv, run, &err) != 0) {
		ui_error(err.message);
		code = EXIT_USAGE;
	} else if (run->options.command == COMMAND_HELP) {
		ui_help(help);
		code = EXIT_FULL;
	} else if (prepare(run, &err) != 0 || name_and_write(run, &err) != 0) {
		ui_error(err.message);
	} else {
		code = run->named > 0 ? EXIT_FULL : EXIT_PARTIAL;
	}
	output_discard(&run->output);
	isolated_free(run->isolated);
	places_close(&run->places);
	pprof_file_free(run->file);
	free(run);
	return code;
}
