#include "attach/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"Usage: cprof-attach -p PID [OPTION]...\n"
	"       cprof-attach [OPTION]... -- COMMAND [ARGUMENT]...\n"
	"       cprof-attach report PROFILE [OPTION]...      (see cprof-attach report --help)\n"
	"       cprof-attach ps [-n NAME]                    lists processes, and what can be profiled\n"
	"       cprof-attach check PID | -n NAME             says whether it can be profiled, touching "
	"nothing\n"
	"       cprof-attach dump PID [OPTION]...            (see cprof-attach dump --help)\n"
	"       cprof-attach top PID [OPTION]...             (see cprof-attach top --help)\n"
	"       cprof-attach symbolize PROFILE [OPTION]...   (see cprof-attach symbolize --help)\n"
	"Profile a running native program (C, C++, Rust, Go) from outside, and write a pprof file.\n"
	"\n"
	"  -p, --pid PID          the process to profile (also as the only argument)\n"
	"  -n, --name NAME        the process by its name, or a part of it, or a regular expression\n"
	"  -d, --duration TIME    how long: 30, 30s, 1m30s, 500ms (default 30s)\n"
	"  -r, --rate HZ          samples a second of each thread (default 99; also -F, --frequency)\n"
	"  -e, --event KIND       cpu: where CPU time goes (default)\n"
	"                         state: where all time goes, running, waiting or asleep (also: wall)\n"
	"  -o, --output FILE      where to write; - is standard output; %p, %n and %t stand for the\n"
	"                         PID, the program's name and the time (default cprof-%n-%p-%t with the\n"
	"                         format's ending)\n"
	"  -f, --format FORMAT    pprof (default), flamegraph, folded, speedscope, text or json; the end of "
	"FILE\n"
	"                         tells it, too: .pb.gz, .html, .folded, .speedscope.json, .txt, .json\n"
	"  -s, --subprocesses     children, too, and theirs: each with its pid and its name as labels\n"
	"      --tid TID          only this thread; may be given several times\n"
	"      --max-overhead SHARE   of CPU time that profiling may cost; the rate is lowered to stay within\n"
	"                         it (default 1%; 100% lifts it)\n"
	"      --max-pause TIME   for how long one thread may be stopped: fewer are stopped together, and\n"
	"                         longer stops are counted (default 1ms)\n"
	"      --no-realtime      never use real-time priority while threads are stopped\n"
	"      --max-depth N      frames kept of one stack, from both its ends (default 16384)\n"
	"      --debuginfo-path DIR   look for separate debug files here, too, by build-id and by name; a "
	"file\n"
	"                         is good as well; may be given several times\n"
	"      --debuginfod       fetch missing debug files from the servers in DEBUGINFOD_URLS\n"
	"      --unwinder KIND    rows (default), libunwind (slow), or both: every stack is walked twice, and\n"
	"                         the summary says how many differ\n"
	"  -q, --quiet            only errors on standard error\n"
	"  -v, --verbose          say what is done, and list the modules and where their names came from\n"
	"  -h, --help             this text\n"
	"  -V, --version          the version\n"
	"\n"
	"With -- COMMAND the program is started and profiled from its first instruction to its end (or for -d "
	"TIME);\n"
	"the exit status is then the program's, or 128 and the signal that killed it; 125 when cprof-attach "
	"itself\n"
	"failed, 126 and 127 when the program could not be run or found.\n"
	"Ctrl-C and SIGTERM end the run early and write what there is.\n"
	"Exit status: 0 a full profile, 1 a partial one (ended early, or some threads could not be\n"
	"sampled), 2 nothing was written, 3 written, but the target was not left as it was found,\n"
	"64 usage error.\n"
	"\n"
	"Then: cprof-attach report FILE (see cprof-attach report --help), or go tool pprof -http=: FILE\n";

static const char welcome[] =
	"cprof-attach profiles a running native program (C, C++, Rust, Go) from outside, without a restart, "
	"and\n"
	"writes a pprof file.\n"
	"\n"
	"  sudo cprof-attach ps                       what runs here, and what can be profiled\n"
	"  cprof-attach ps -n redis                   the same for one program\n"
	"  cprof-attach -p PID -d 10s -f flamegraph   a picture of where its time goes\n"
	"  cprof-attach --help                        all options\n";

const char *options_welcome(void)
{
	return welcome;
}

const char *options_help(void)
{
	return help;
}

/* The units of a duration, longest first, as they must appear. */
static const struct unit {
	const char *name;
	int64_t ns;
} units[] = {
	{"h", 3600 * INT64_C(1000000000)},
	{"m", 60 * INT64_C(1000000000)},
	{"s", INT64_C(1000000000)},
	{"ms", 1000000},
	{"us", 1000},
};

enum { N_UNITS = sizeof units / sizeof *units };

static const int64_t longest_ns = 30 * 24 * 3600 * INT64_C(1000000000);

/* The index of the unit at `text`, or N_UNITS; *after is set behind it. A bare number at the end means seconds.
 */
static size_t unit_at(const char *text, const char **after)
{
	size_t len = strspn(text, "hmsu");
	*after = text + len;
	if (len == 0)
		return *text == '\0' ? 2 : N_UNITS;
	for (size_t i = 0; i < N_UNITS; i++)
		if (strlen(units[i].name) == len && strncmp(text, units[i].name, len) == 0)
			return i;
	return N_UNITS;
}

bool options_duration(const char *text, int64_t *ns)
{
	double total = 0;
	size_t least = 0; /* the smallest unit still allowed: "30s1m" is refused */
	if (*text == '\0')
		return false;
	while (*text != '\0') {
		/* strtod alone would also take "1e5", "0x10" and "nan". */
		const char *digits_end = text + strspn(text, "0123456789.");
		char *end;
		double number = strtod(text, &end);
		const char *after;
		size_t unit = unit_at(end, &after);
		if (end == text || end != digits_end || unit == N_UNITS || unit < least)
			return false;
		total += number * (double)units[unit].ns;
		least = unit + 1;
		text = after;
	}
	if (!(total >= 1) || total > (double)longest_ns)
		return false;
	*ns = (int64_t)total;
	return true;
}

/* A whole number in [min, max]; the whole text must be it. */
static bool parse_number(const char *text, long min, long max, long *value)
{
	char *end;
	errno = 0;
	long number = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || number < min || number > max)
		return false;
	*value = number;
	return true;
}

int options_pid(const char *text, pid_t *pid, struct error *err)
{
	long number;
	if (!parse_number(text, 1, INT32_MAX, &number))
		return error_set(err,
			"'%s' is not a PID: give the number that cprof-attach ps shows, or a name with -n",
			text);
	if (*pid != 0 && *pid != (pid_t)number)
		return error_set(err, "one process at a time: %d and %ld were given", *pid, number);
	*pid = (pid_t)number;
	return 0;
}

int options_rate(const char *text, double *rate, struct error *err)
{
	char *end;
	double number = strtod(text, &end);
	if (end == text || *end != '\0' || !isfinite(number) || number < 0.1 || number > 10000)
		return error_set(
			err, "'%s' is not a rate: give samples a second from 0.1 to 10000, such as 99", text);
	*rate = number;
	return 0;
}

/* "1%", "0.5%"; without the sign it means per cent as well. */
static int parse_share(const char *text, double *share, struct error *err)
{
	char *end;
	double percent = strtod(text, &end);
	bool whole = strcmp(end, "%") == 0 || *end == '\0';
	if (end == text || !whole || !(percent >= 0.01) || percent > 100)
		return error_set(
			err, "'%s' is not a share: give per cent from 0.01%% to 100%%, such as 1%%", text);
	*share = percent / 100;
	return 0;
}

int options_event(const char *text, enum profile_kind *kind, struct error *err)
{
	if (strcmp(text, "cpu") == 0)
		*kind = PROFILE_CPU;
	else if (strcmp(text, "state") == 0 || strcmp(text, "wall") == 0)
		*kind = PROFILE_STATE;
	else
		return error_set(err, "'%s' is not a kind of profile: give cpu or state", text);
	return 0;
}

int options_tid(const char *text, struct options *options, struct error *err)
{
	long number;
	if (!parse_number(text, 1, INT32_MAX, &number))
		return error_set(err, "'%s' is not a thread's ID: give a number from /proc/PID/task", text);
	if (options->n_tids == OPTIONS_MAX_TIDS)
		return error_set(
			err, "more than %d threads were named: leave --tid out to take all", OPTIONS_MAX_TIDS);
	options->tids[options->n_tids++] = (pid_t)number;
	return 0;
}

int options_depth(const char *text, size_t *depth, struct error *err)
{
	long number;
	if (!parse_number(text, 2, 65536, &number))
		return error_set(err, "'%s' is not a depth: give a number of frames from 2 to 65536", text);
	*depth = (size_t)number;
	return 0;
}

static int parse_unwinder(const char *text, enum unwinder_kind *kind, struct error *err)
{
	static const char *const names[] = {
		[UNWINDER_ROWS] = "rows", [UNWINDER_LIBUNWIND] = "libunwind", [UNWINDER_BOTH] = "both"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(text, names[i]) == 0) {
			*kind = (enum unwinder_kind)i;
			return 0;
		}
	return error_set(err, "'%s' is not an unwinder: give rows, libunwind or both", text);
}

enum {
	OPTION_TID = 256,
	OPTION_MAX_DEPTH,
	OPTION_MAX_OVERHEAD,
	OPTION_MAX_PAUSE,
	OPTION_NO_REALTIME,
	OPTION_DEBUGINFO_PATH,
	OPTION_DEBUGINFOD,
	OPTION_UNWINDER
};

static const struct option long_options[] = {
	{"pid", required_argument, NULL, 'p'},
	{"name", required_argument, NULL, 'n'},
	{"duration", required_argument, NULL, 'd'},
	{"rate", required_argument, NULL, 'r'},
	{"frequency", required_argument, NULL, 'F'},
	{"event", required_argument, NULL, 'e'},
	{"output", required_argument, NULL, 'o'},
	{"format", required_argument, NULL, 'f'},
	{"subprocesses", no_argument, NULL, 's'},
	{"tid", required_argument, NULL, OPTION_TID},
	{"max-depth", required_argument, NULL, OPTION_MAX_DEPTH},
	{"max-overhead", required_argument, NULL, OPTION_MAX_OVERHEAD},
	{"max-pause", required_argument, NULL, OPTION_MAX_PAUSE},
	{"no-realtime", no_argument, NULL, OPTION_NO_REALTIME},
	{"debuginfo-path", required_argument, NULL, OPTION_DEBUGINFO_PATH},
	{"debuginfod", no_argument, NULL, OPTION_DEBUGINFOD},
	{"unwinder", required_argument, NULL, OPTION_UNWINDER},
	{"quiet", no_argument, NULL, 'q'},
	{"no-progress", no_argument, NULL, 'q'},
	{"verbose", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

int options_debug_path(const char *text, struct options *options, struct error *err)
{
	if (*text == '\0')
		return error_set(err, "the folder of debug files has an empty name");
	if (options->n_debug_paths == OPTIONS_MAX_PATHS)
		return error_set(err, "more than %d folders of debug files were named", OPTIONS_MAX_PATHS);
	options->debug_paths[options->n_debug_paths++] = text;
	return 0;
}

static int parse_option(int option, struct options *options, struct error *err)
{
	switch (option) {
	case 'p':
		return options_pid(optarg, &options->pid, err);
	case 'n':
		options->name = optarg;
		return *optarg != '\0'
			       ? 0
			       : error_set(err, "the process's name is empty: give one, such as -n redis");
	case 'd':
		if (options_duration(optarg, &options->duration_ns) && options->duration_ns >= 1000000)
			return 0;
		return error_set(err, "'%s' is not a duration: give 30, 30s, 1m30s or 500ms", optarg);
	case 'r':
	case 'F':
		return options_rate(optarg, &options->rate_hz, err);
	case 'e':
		return options_event(optarg, &options->kind, err);
	case 'o':
		options->output = optarg;
		return *optarg != '\0' ? 0 : error_set(err, "the output file's name is empty");
	case 'f':
		options->has_format = true;
		if (format_find(optarg, &options->format))
			return 0;
		return error_set(err,
			"'%s' is not a format: give pprof, flamegraph, folded, speedscope, text or json",
			optarg);
	case 's':
		options->subprocesses = true;
		return 0;
	case OPTION_TID:
		return options_tid(optarg, options, err);
	case OPTION_MAX_DEPTH:
		return options_depth(optarg, &options->max_depth, err);
	case OPTION_MAX_OVERHEAD:
		return parse_share(optarg, &options->max_overhead, err);
	case OPTION_MAX_PAUSE:
		if (options_duration(optarg, &options->max_pause_ns))
			return 0;
		return error_set(err, "'%s' is not a pause: give a time such as 500us or 1ms", optarg);
	case OPTION_NO_REALTIME:
		options->no_realtime = true;
		return 0;
	case OPTION_DEBUGINFO_PATH:
		return options_debug_path(optarg, options, err);
	case OPTION_DEBUGINFOD:
		options->debuginfod = true;
		return 0;
	case OPTION_UNWINDER:
		return parse_unwinder(optarg, &options->unwinder, err);
	case 'q':
		options->quiet = true;
		return 0;
	case 'v':
		options->verbose = true;
		return 0;
	default:
		options->command = option == 'h' ? COMMAND_HELP : COMMAND_VERSION;
		return 0;
	}
}

/* What getopt_long refused: an unknown option or a missing argument. */
static int refuse_option(int result, char **argv, struct error *err)
{
	const char *word = argv[optind - 1];
	if (result == ':')
		return error_set(err, "%s needs an argument; see cprof-attach --help", word);
	if (optopt != 0 && optopt < OPTION_TID)
		return error_set(err, "there is no option -%c; see cprof-attach --help", optopt);
	return error_set(err, "%s is not an option, or takes no argument; see cprof-attach --help", word);
}

static int find_command(int argc, char **argv)
{
	int i = 1;
	while (i < argc && strcmp(argv[i], "--") != 0)
		i++;
	return i;
}

/* Either a process, or a program to start. */
static int check_target(struct options *options, bool has_duration, struct error *err)
{
	bool is_running = options->pid != 0 || options->name != NULL;
	if (options->subprocesses && options->n_tids > 0)
		return error_set(err, "--tid chooses threads of one process: leave out --tid, or -s");
	if (options->argv == NULL) {
		if (options->pid != 0 && options->name != NULL)
			return error_set(err, "one process at a time: %d and '%s' were given", options->pid,
				options->name);
		if (!is_running)
			return error_set(err,
				"which process? Give its PID: cprof-attach -p PID, or its name: -n NAME "
				"(cprof-attach ps lists all)");
		return 0;
	}
	if (options->argv[0] == NULL)
		return error_set(
			err, "which program? Give its command line behind --: cprof-attach -- COMMAND ARGS...");
	if (is_running || options->n_tids > 0)
		return error_set(err, "either a running process or a program to start: leave out the PID "
				      "(name, --tid), or -- "
				      "and what follows");
	options->until_end = !has_duration;
	if (options->until_end)
		options->duration_ns = longest_ns;
	return 0;
}

int options_parse(int argc, char **argv, struct options *options, struct error *err)
{
	*options = (struct options){.duration_ns = 30 * INT64_C(1000000000),
		.rate_hz = 99,
		.kind = PROFILE_CPU,
		.max_depth = OPTIONS_DEPTH,
		.max_overhead = 0.01,
		.max_pause_ns = 1000000};
	optind = 0; /* glibc: start anew, so that tests can call this more than once */
	opterr = 0;
	/* Behind -- stands another program's command line, which getopt_long would permute with ours. */
	int end = find_command(argc, argv);
	if (end < argc)
		options->argv = argv + end + 1;
	argc = end;
	int option;
	bool has_duration = false;
	while ((option = getopt_long(argc, argv, ":p:n:d:r:F:e:o:f:sqvhV", long_options, NULL)) != -1) {
		if (option == ':' || option == '?')
			return refuse_option(option, argv, err);
		if (parse_option(option, options, err) != 0)
			return -1;
		has_duration |= option == 'd';
	}
	if (options->command != COMMAND_PROFILE)
		return 0;
	if (!options->has_format &&
		(options->output == NULL || !format_of_path(options->output, &options->format)))
		options->format = FORMAT_PPROF;
	for (int i = optind; i < argc; i++)
		if (options_pid(argv[i], &options->pid, err) != 0)
			return -1;
	return check_target(options, has_duration, err);
}
