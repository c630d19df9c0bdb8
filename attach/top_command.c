#include "attach/top_command.h"

#include "attach/diagnose.h"
#include "attach/live.h"
#include "attach/options.h"
#include "attach/page.h"
#include "attach/processes.h"
#include "attach/ui.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
	"Usage: cprof-attach top PID [OPTION]...\n"
	"Watch a running program's hottest functions, its threads, and who calls what, live in a terminal.\n"
	"\n"
	"  -p, --pid PID          the process (also as the only argument)\n"
	"  -n, --name NAME        the process by its name, or a part of it, or a regular expression\n"
	"  -r, --rate HZ          samples a second of each thread (default 99)\n"
	"  -e, --event KIND       cpu: where CPU time goes (default); state: where all time goes, running,\n"
	"                         waiting or asleep. The key e changes it.\n"
	"      --tid TID          only this thread; may be given several times\n"
	"      --debuginfo-path DIR   look for separate debug files here, too; may be given several times\n"
	"      --debuginfod       fetch missing debug files from the servers in DEBUGINFOD_URLS\n"
	"      --no-realtime      never use real-time priority while threads are stopped\n"
	"  -h, --help             this text\n"
	"\n"
	"q quits, ? shows the other keys. Shares are of the last four seconds. The rate is lowered where it "
	"would\n"
	"cost more than 1 % of CPU time; nothing is sampled while names are looked up.\n"
	"Exit status: 0 quit, or the program has ended; 2 nothing was shown; 3 the target was not left as it\n"
	"was found; 64 usage error.\n";

enum { OPTION_TID = 256, OPTION_DEBUGINFO_PATH, OPTION_DEBUGINFOD, OPTION_NO_REALTIME };

static const struct option long_options[] = {
	{"pid", required_argument, NULL, 'p'},
	{"name", required_argument, NULL, 'n'},
	{"rate", required_argument, NULL, 'r'},
	{"event", required_argument, NULL, 'e'},
	{"tid", required_argument, NULL, OPTION_TID},
	{"debuginfo-path", required_argument, NULL, OPTION_DEBUGINFO_PATH},
	{"debuginfod", no_argument, NULL, OPTION_DEBUGINFOD},
	{"no-realtime", no_argument, NULL, OPTION_NO_REALTIME},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

enum { WAIT_MS = 1000 };

/* Everything that one run owns. */
struct run {
	struct options options;
	struct attachment attachment;
	struct live *live;
	struct screen *screen;
	struct ranking *ranking;
	struct page page;
	struct page_facts facts;
	uint64_t last_ns, last_own_ns; /* when our own CPU time was read last */
	bool unharmed;
	struct error warning; /* when it is not */
};

/* ---- arguments ---- */

static int parse_option(int option, struct options *options, struct error *err)
{
	switch (option) {
	case 'p':
		return options_pid(optarg, &options->pid, err);
	case 'n':
		options->name = optarg;
		return *optarg != '\0' ? 0 : error_set(err, "the name is empty: give one, such as -n redis");
	case 'r':
		return options_rate(optarg, &options->rate_hz, err);
	case 'e':
		return options_event(optarg, &options->kind, err);
	case OPTION_TID:
		return options_tid(optarg, options, err);
	case OPTION_DEBUGINFO_PATH:
		return options_debug_path(optarg, options, err);
	case OPTION_DEBUGINFOD:
		options->debuginfod = true;
		return 0;
	case OPTION_NO_REALTIME:
		options->no_realtime = true;
		return 0;
	default:
		options->command = COMMAND_HELP;
		return 0;
	}
}

static int parse(int argc, char **argv, struct options *options, struct error *err)
{
	int option;
	*options = (struct options){.rate_hz = 99,
		.kind = PROFILE_CPU,
		.max_depth = OPTIONS_DEPTH,
		.max_overhead = 0.01,
		.max_pause_ns = 1000000,
		.quiet = true /* the screen is drawn on */};
	opterr = 0;
	optind = 0;
	while ((option = getopt_long(argc, argv, ":p:n:r:e:h", long_options, NULL)) != -1) {
		if (option == ':')
			return error_set(
				err, "%s needs an argument; see cprof-attach top --help", argv[optind - 1]);
		if (option == '?')
			return error_set(err,
				"%s is not an option, or takes no argument; see cprof-attach top --help",
				argv[optind - 1]);
		if (parse_option(option, options, err) != 0)
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
			err, "which process? Give its PID: cprof-attach top PID, or its name: -n NAME");
	return 0;
}

/* ---- what is seen ---- */

static uint64_t microseconds(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

/* Since the last window. */
static void note_own_cost(struct run *run)
{
	struct rusage own, children;
	struct timespec t;
	getrusage(RUSAGE_SELF, &own);
	getrusage(RUSAGE_CHILDREN, &children);
	clock_gettime(CLOCK_MONOTONIC, &t);
	uint64_t now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	uint64_t used = 1000 * (microseconds(&own.ru_utime) + microseconds(&own.ru_stime) +
				       microseconds(&children.ru_utime) + microseconds(&children.ru_stime));
	if (run->last_ns > 0 && now > run->last_ns)
		run->facts.own_cpus = (double)(used - run->last_own_ns) / (double)(now - run->last_ns);
	run->last_ns = now;
	run->last_own_ns = used;
}

/* True when there is something new to be seen. */
static bool take_news(struct run *run)
{
	struct profile_view window = {0};
	if (run->page.paused)
		return false;
	if (!live_take(run->live, &window, &run->facts.live))
		return ranking_windows(run->ranking) == 0;
	ranking_add(run->ranking, &window);
	note_own_cost(run);
	return true;
}

static void draw(struct run *run)
{
	run->facts.naming_seconds = run->page.paused ? 0 : live_naming_seconds(run->live);
	page_draw(&run->page, run->screen, run->ranking, &run->facts);
}

/* ---- what is asked for ---- */

/* Lets go of the target; from then on it must be seen unharmed. */
static void let_go(struct run *run)
{
	struct error warning;
	if (live_stop(run->live, &warning) || !run->unharmed)
		return;
	run->unharmed = false;
	run->warning = warning;
}

static int change_kind(struct run *run, struct error *err)
{
	struct ranking *fresh = ranking_new();
	if (fresh == NULL)
		return error_set(err, "not enough memory to go on");
	let_go(run);
	ranking_free(run->ranking);
	run->ranking = fresh;
	run->facts.kind = run->facts.kind == PROFILE_CPU ? PROFILE_STATE : PROFILE_CPU;
	run->facts.live = (struct live_facts){0};
	run->page.paused = false;
	return live_start(run->live, run->facts.kind, err);
}

static int suspend(struct run *run, struct error *err)
{
	let_go(run);
	screen_suspend(run->screen);
	return live_start(run->live, run->facts.kind, err);
}

enum outcome { OUTCOME_GO_ON, OUTCOME_QUIT, OUTCOME_FAILED };

static enum outcome take_keys(struct run *run, bool *any, struct error *err)
{
	int key, failed = 0;
	while ((key = screen_key(run->screen)) != SCREEN_NO_KEY && failed == 0) {
		*any = true;
		switch (page_key(&run->page, run->ranking, key)) {
		case WISH_QUIT:
			return OUTCOME_QUIT;
		case WISH_OTHER_KIND:
			failed = change_kind(run, err);
			break;
		case WISH_SUSPEND:
			failed = suspend(run, err);
			break;
		case WISH_NOTHING:
			break;
		}
	}
	return failed != 0 ? OUTCOME_FAILED : OUTCOME_GO_ON;
}

/* ---- the run ---- */

/* Until someone quits, or sampling ends by itself. */
static enum outcome watch(struct run *run, struct error *err)
{
	struct pollfd fds[] = {
		{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = live_fd(run->live), .events = POLLIN}};
	draw(run);
	for (;;) {
		/* Paused, a window waits to be taken, and its descriptor is readable all the time. */
		fds[1].fd = run->page.paused ? -1 : live_fd(run->live);
		int ready = poll(fds, 2, WAIT_MS);
		if (ready < 0 && errno != EINTR)
			return OUTCOME_QUIT;
		if (ready > 0 && (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
			return OUTCOME_QUIT; /* the terminal has gone */
		bool any = take_news(run) || (ready == 0 && !run->page.paused);
		enum outcome outcome = take_keys(run, &any, err);
		if (outcome != OUTCOME_GO_ON || live_end(run->live) != LIVE_GOES_ON)
			return outcome;
		if (any)
			draw(run);
	}
}

/* After the screen was given back. Of what ended by itself one line is said. */
static int say_end(const struct run *run, struct error *err)
{
	const struct target *target = &run->attachment.target;
	switch (live_end(run->live)) {
	case LIVE_TARGET_ENDED:
		ui_line("%s (%d) has ended", target->name, target->pid);
		return EXIT_FULL;
	case LIVE_REFUSED:
		diagnose_refusal(target->pid, target->name, live_refusal(run->live), err);
		return EXIT_NOTHING;
	case LIVE_NO_MEMORY:
		error_set(err, "memory ran out; cprof-attach -p %d needs less", target->pid);
		return EXIT_NOTHING;
	default:
		return EXIT_FULL;
	}
}

static int watch_process(struct run *run, struct error *err)
{
	struct options *options = &run->options;
	attachment_block_signals();
	if (options->name != NULL && processes_choose(options->name, &options->pid, err) != 0)
		return EXIT_NOTHING;
	if (attachment_open(options, NULL, &run->attachment, err) != 0)
		return EXIT_NOTHING;
	run->facts = (struct page_facts){.target = &run->attachment.target, .kind = options->kind};
	run->ranking = ranking_new();
	run->live = live_new(&run->attachment, options, err);
	if (run->ranking == NULL || run->live == NULL) {
		error_set(err, "not enough memory to start");
		return EXIT_NOTHING;
	}
	run->screen = screen_open(err);
	if (run->screen == NULL || live_start(run->live, options->kind, err) != 0)
		return EXIT_NOTHING;
	enum outcome outcome = watch(run, err);
	let_go(run);
	screen_close(run->screen);
	run->screen = NULL;
	if (outcome == OUTCOME_FAILED)
		return EXIT_NOTHING;
	int code = say_end(run, err);
	if (run->unharmed)
		return code;
	ui_error(run->warning.message);
	return EXIT_HARM;
}

static void release(struct run *run)
{
	screen_close(run->screen);
	live_free(run->live);
	ranking_free(run->ranking);
	attachment_close(&run->attachment);
	free(run);
}

int top_command(int argc, char **argv)
{
	struct error err;
	struct run *run = calloc(1, sizeof *run);
	if (run == NULL) {
		ui_error("not enough memory to start");
		return EXIT_NOTHING;
	}
	run->unharmed = true;
	attachment_init(&run->attachment);
	int code = EXIT_FULL;
	if (parse(argc, argv, &run->options, &err) != 0)
		code = EXIT_USAGE;
	else if (run->options.command == COMMAND_HELP)
		ui_help(help);
	else
		code = watch_process(run, &err);
	if (code == EXIT_USAGE || code == EXIT_NOTHING) {
		screen_close(run->screen);
		run->screen = NULL;
		ui_error(err.message);
	}
	release(run);
	return code;
}
