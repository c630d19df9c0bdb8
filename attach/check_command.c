#include "attach/check_command.h"

#include "attach/diagnose.h"
#include "attach/modules.h"
#include "attach/options.h"
#include "attach/places.h"
#include "attach/processes.h"
#include "attach/runtime.h"
#include "attach/target.h"
#include "attach/ui.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: cprof-attach check PID [OPTION]...\n"
	"       cprof-attach check -n NAME [OPTION]...\n"
	"Say whether a process can be profiled, and if not, which rule forbids it and what to do; and what "
	"there "
	"will\n"
	"be to see. Nothing is stopped or traced: the kernel is only asked for the right to.\n"
	"\n"
	"  -p, --pid PID          the process; also as the only argument\n"
	"  -n, --name NAME        the process by its name, or a part of it, or a regular expression\n"
	"      --debuginfo-path DIR   look for separate debug files here, too; may be given several times\n"
	"  -q, --quiet            say nothing; the exit status tells\n"
	"  -v, --verbose          name every module\n"
	"  -h, --help             this text\n"
	"\n"
	"Exit status: 0 it can be profiled; 1 it can, but stacks will be missing or guessed; 2 it cannot, or "
	"there is\n"
	"no such process; 64 usage error.\n";

enum { OPTION_DEBUGINFO_PATH = 256 };

static const struct option long_options[] = {
	{"pid", required_argument, NULL, 'p'},
	{"name", required_argument, NULL, 'n'},
	{"debuginfo-path", required_argument, NULL, OPTION_DEBUGINFO_PATH},
	{"quiet", no_argument, NULL, 'q'},
	{"verbose", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* Everything that one check owns. */
struct check {
	struct options options; /* what the commands have in common */
	struct ourselves us;
	struct situation situation;
	struct target target;
	struct maps maps;
	struct modules modules;
	struct runtime runtime;
	struct places places;
	bool partial;
};

static int parse_option(int option, struct options *options, struct error *err)
{
	switch (option) {
	case 'p':
		return options_pid(optarg, &options->pid, err);
	case 'n':
		options->name = optarg;
		return *optarg != '\0' ? 0 : error_set(err, "the name is empty: give one, such as -n redis");
	case OPTION_DEBUGINFO_PATH:
		if (options->n_debug_paths == OPTIONS_MAX_PATHS)
			return error_set(
				err, "more than %d folders of debug files were named", OPTIONS_MAX_PATHS);
		options->debug_paths[options->n_debug_paths++] = optarg;
		return 0;
	case 'q':
		options->quiet = true;
		return 0;
	case 'v':
		options->verbose = true;
		return 0;
	case 'h':
		options->command = COMMAND_HELP;
		return 0;
	case ':':
		return error_set(err, "an option lacks its argument; see cprof-attach check --help");
	default:
		return error_set(err, "there is no such option; see cprof-attach check --help");
	}
}

static int parse(int argc, char **argv, struct options *options, struct error *err)
{
	int option;
	opterr = 0;
	optind = 0;
	while ((option = getopt_long(argc, argv, ":p:n:qvh", long_options, NULL)) != -1)
		if (parse_option(option, options, err) != 0)
			return -1;
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
			err, "which process? Give its PID: cprof-attach check PID, or its name: -n NAME");
	return 0;
}

/* ---- what is said ---- */

/* "title     text" */
static void say(const struct check *check, const char *title, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void say(const struct check *check, const char *title, const char *format, ...)
{
	char text[2048];
	va_list arguments;
	if (check->options.quiet)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	ui_line("%-9s %s", title, text);
}

static void say_process(const struct check *check)
{
	char user[USER_NAME], runtime[RUNTIME_TEXT];
	const struct identity *id = &check->situation.them;
	user_name(id->uid[1], user);
	runtime_text(&check->runtime, runtime);
	say(check, "process", "%d %s (%s), user %s, %s", id->pid, id->name,
		check->target.exe[0] != '\0' ? check->target.exe : "its program may not be read", user,
		runtime);
}

static bool in_other_namespace(pid_t pid, const char *kind)
{
	char path[64], ours[64], theirs[64];
	snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, kind);
	ssize_t m = readlink(path, theirs, sizeof theirs);
	snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
	ssize_t n = readlink(path, ours, sizeof ours);
	return n > 0 && m > 0 && (n != m || memcmp(ours, theirs, (size_t)n) != 0);
}

/* Namespaces that are not ours: what it is called there, and why its files are others (namespaces(7)). */
static void say_namespaces(const struct check *check)
{
	static const char *const kinds[] = {"pid", "mnt", "net", "user", "uts", "ipc", "cgroup"};
	char text[128] = "";
	size_t len = 0;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (in_other_namespace(check->situation.pid, kinds[i]))
			len += (size_t)snprintf(
				text + len, sizeof text - len, "%s%s", len > 0 ? ", " : "", kinds[i]);
	const struct identity *id = &check->situation.them;
	if (len > 0 && id->own_pid != id->pid)
		say(check, "where", "in other namespaces than ours, as in a container: %s; its PID there is %d",
			text, id->own_pid);
	else if (len > 0)
		say(check, "where", "in other namespaces than ours: %s", text);
}

struct thread_count {
	size_t running, sleeping, waiting, stopped, traced, other, n;
	pid_t tracer;
};

static void count_thread(void *context, pid_t tid)
{
	struct thread_count *count = context;
	struct identity id;
	if (identity_read(tid, &id) != 0)
		return;
	count->n++;
	if (id.tracer != 0) {
		count->traced++;
		count->tracer = id.tracer;
	}
	if (id.state == 'R')
		count->running++;
	else if (id.state == 'S')
		count->sleeping++;
	else if (id.state == 'D')
		count->waiting++;
	else if (id.state == 'T' || id.state == 't')
		count->stopped++;
	else
		count->other++;
}

static void add_count(char *text, size_t cap, size_t count, const char *word)
{
	size_t len = strlen(text);
	if (count > 0)
		snprintf(text + len, cap - len, "%s%zu %s", len > 0 ? ", " : "", count, word);
}

static void say_threads(struct check *check)
{
	struct thread_count count = {0};
	char text[256] = "";
	if (target_each_thread(&check->target, count_thread, &count) <= 0)
		return;
	add_count(text, sizeof text, count.running, "running");
	add_count(text, sizeof text, count.sleeping, "sleeping");
	add_count(text, sizeof text, count.waiting, "in an uninterruptible wait");
	add_count(text, sizeof text, count.stopped, "stopped");
	add_count(text, sizeof text, count.other, "ending");
	say(check, "threads", "%zu: %s%s", count.n, text,
		count.running == 0 ? "; to see where it waits: -e state" : "");
	if (count.stopped == count.n)
		say(check, "stopped",
			"it is stopped (by job control, or a debugger) and does nothing: kill -CONT %d",
			check->situation.pid);
	if (count.traced > 0) {
		check->partial = true;
		say(check, "traced", "%zu of the threads %s traced by process %d: %s cannot be sampled",
			count.traced, count.traced == 1 ? "is" : "are", count.tracer,
			count.traced == 1 ? "it" : "they");
	}
}

static void say_module(const struct check *check, const struct module *module)
{
	say(check, "", "%-14s %s%s%s%s", module->readable ? presence_name(module->presence) : "not readable",
		module->path, module->build_id[0] != '\0' ? "  build-id " : "", module->build_id,
		module->readable && !module->unwindable ? "  (no unwind information)" : "");
}

static bool lacks_names(const struct module *module)
{
	return !module->readable || module->presence == PRESENCE_STRIPPED;
}

enum { MODULES_LISTED = 8 };

/* Which packages the stripped files came with. */
static void say_packages(const struct check *check)
{
	char text[1024] = "", name[128];
	size_t asked = 0;
	/* Of another file system our lists say nothing. */
	bool foreign = in_other_namespace(check->situation.pid, "mnt");
	for (size_t i = 0; !foreign && i < check->modules.n && asked < MODULES_LISTED; i++) {
		const struct module *module = &check->modules.v[i];
		if (!lacks_names(module))
			continue;
		asked++;
		if (!module_package(module->path, name, sizeof name) || strstr(text, name) != NULL)
			continue;
		size_t len = strlen(text);
		snprintf(text + len, sizeof text - len, "%s%s", len > 0 ? ", " : "", name);
	}
	say(check, "names",
		"more of them: debug files of %s (Debian: PACKAGE-dbgsym or -dbg; Fedora: dnf "
		"debuginfo-install), "
		"--debuginfod, --debuginfo-path DIR; or later: cprof-attach symbolize",
		text[0] != '\0' ? text : "these files");
}

static void say_symbols(const struct check *check)
{
	const struct modules *modules = &check->modules;
	size_t counts[PRESENCE_DWARF + 1] = {0}, unreadable = 0, lacking = 0, listed = 0;
	char text[256] = "";
	for (size_t i = 0; i < modules->n; i++) {
		if (modules->v[i].readable)
			counts[modules->v[i].presence]++;
		else
			unreadable++;
		lacking += lacks_names(&modules->v[i]);
	}
	for (enum presence p = PRESENCE_DWARF + 1; p-- > PRESENCE_STRIPPED;)
		add_count(text, sizeof text, counts[p], presence_name(p));
	add_count(text, sizeof text, unreadable, "not readable");
	say(check, "symbols", "%zu files%s: %s", modules->n,
		modules->more ? ", and more that were not looked at" : "", text);
	for (size_t i = 0; i < modules->n; i++)
		if (check->options.verbose ||
			(listed < MODULES_LISTED && (i == 0 || lacks_names(&modules->v[i])))) {
			say_module(check, &modules->v[i]);
			listed++;
		}
	if (lacking > 0)
		say_packages(check);
}

static void say_unwind(struct check *check)
{
	const struct modules *modules = &check->modules;
	size_t without = 0, readable = 0;
	for (size_t i = 0; i < modules->n; i++) {
		readable += modules->v[i].readable;
		without += modules->v[i].readable && !modules->v[i].unwindable;
	}
	if (modules->n > 0 && modules->v[0].readable && !modules->v[0].unwindable) {
		check->partial = true;
		say(check, "unwind",
			"the program has no unwind information (.eh_frame): stacks follow frame pointers, "
			"and are partly guessed");
	} else if (without > 0) {
		say(check, "unwind",
			"%zu of %zu files have no unwind information: there stacks follow frame pointers",
			without, readable);
	} else if (readable > 0) {
		say(check, "unwind", "all files have unwind information: stacks will be whole");
	}
}

/* Code that was compiled at run time has names only in a perf map. */
static void say_generated(const struct check *check)
{
	const char *advice = runtime_perfmap_advice(&check->runtime);
	if (check->modules.generated_bytes == 0)
		return;
	int fd = target_open_perfmap(&check->target);
	if (fd >= 0) {
		close(fd);
		say(check, "jit", "%llu KB of code compiled at run time; a perf map is there to name it",
			(unsigned long long)check->modules.generated_bytes / 1024);
		return;
	}
	say(check, "jit",
		"%llu KB of code compiled at run time, and no perf map (/tmp/perf-%d.map) to name it%s%s",
		(unsigned long long)check->modules.generated_bytes / 1024, check->situation.them.own_pid,
		advice != NULL ? ": " : "", advice != NULL ? advice : "");
}

/* ---- looking ---- */

/* A leader that has ended, while its threads go on, has no maps. */
static void find_living(void *context, pid_t tid)
{
	struct target *target = context;
	struct identity id;
	if (target->live_tid == 0 && identity_read(tid, &id) == 0 && id.state != 'Z' && id.state != 'X')
		target->live_tid = tid;
}

static int look(struct check *check, struct error *err)
{
	const struct options *options = &check->options;
	size_t len;
	if (target_open(options->pid, &check->target, err) != 0)
		return -1;
	check->target.live_tid = 0;
	target_each_thread(&check->target, find_living, &check->target);
	if (check->target.live_tid == 0)
		check->target.live_tid = options->pid;
	char *text = target_maps(&check->target, check->target.live_tid, &len);
	int outcome = text != NULL ? maps_parse(text, len, &check->maps) : 0;
	free(text);
	if (outcome != 0 || places_open(options, -1, &check->places) != 0 ||
		modules_look(&check->target, &check->maps, check->places.folders, &check->modules) != 0)
		return error_set(err, "not enough memory to look at the process");
	return 0;
}

/* The program's file tells in which language it was written. */
static void recognise(struct check *check)
{
	struct error err;
	struct image *image = NULL;
	for (size_t i = 0; i < check->maps.n && image == NULL; i++) {
		const struct map *map = &check->maps.v[i];
		if (!map->exec || strcmp(map->path, check->target.exe) != 0)
			continue;
		int fd = target_open_file(&check->target, map);
		image = fd >= 0 ? image_open(fd, map->path, &err) : NULL;
	}
	runtime_recognise(check->target.exe[0] != '\0' ? check->target.exe : check->situation.them.name,
		&check->maps, image, &check->runtime);
	image_free(image);
}

static void say_what_there_will_be(struct check *check)
{
	say_threads(check);
	if (check->us.readv_forbidden) {
		check->partial = true;
		say(check, "stacks",
			"a seccomp filter forbids us process_vm_readv: each stack will have only its first "
			"frame; run the container with --security-opt seccomp=unconfined, or cprof-attach on "
			"the host");
	}
	if (check->modules.n > 0) {
		say_symbols(check);
		if (!check->us.readv_forbidden)
			say_unwind(check);
	}
	say_generated(check);
}

static int judge(struct check *check, struct error *err)
{
	struct error reason;
	struct verdict verdict;
	if (diagnose(&check->situation, NULL, &reason) != 0 && check->situation.visible) {
		say(check, "attach", "no: %s", reason.message);
		return EXIT_NOTHING;
	}
	if (look(check, err) != 0)
		return -1;
	recognise(check);
	say_process(check);
	say_namespaces(check);
	situation_ask(&check->situation);
	if (diagnose(&check->situation, &verdict, &reason) != 0) {
		say(check, "attach", "no: %s", reason.message);
		return EXIT_NOTHING;
	}
	say(check, "attach", "yes: the kernel allows it");
	say_what_there_will_be(check);
	if (!check->options.quiet)
		ui_line("%s", "");
	say(check, "next", "cprof-attach -p %d -d 10s -f flamegraph", check->situation.pid);
	return check->partial ? EXIT_PARTIAL : EXIT_FULL;
}

static int run(struct check *check, struct error *err)
{
	if (check->options.name != NULL && processes_choose(check->options.name, &check->options.pid, err) != 0)
		return -1;
	/* A filter on us may kill who calls ptrace: then these are the last words. */
	ourselves_read(PTRACE_NOT_ASKED, &check->us);
	if (check->us.id.seccomp == 2) {
		say(check, "filter",
			"a seccomp filter is on this program; if it ends here, that filter forbids ptrace");
		ui_flush();
		ourselves_read(PTRACE_ASKED, &check->us);
	}
	situation_read(&check->us, check->options.pid, &check->situation);
	return judge(check, err);
}

int check_command(int argc, char **argv)
{
	struct error err;
	struct check *check = calloc(1, sizeof *check);
	int code = EXIT_NOTHING;
	if (check == NULL) {
		ui_error("not enough memory to start");
		return code;
	}
	check->target.task_fd = check->target.maps_fd = -1;
	if (parse(argc, argv, &check->options, &err) != 0) {
		ui_error(err.message);
		code = EXIT_USAGE;
	} else if (check->options.command == COMMAND_HELP) {
		ui_help(help);
		code = EXIT_FULL;
	} else if ((code = run(check, &err)) < 0) {
		ui_error(err.message);
		code = EXIT_NOTHING;
	}
	modules_free(&check->modules);
	maps_free(&check->maps);
	places_close(&check->places);
	target_close(&check->target);
	free(check);
	return code;
}
