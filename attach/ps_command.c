#include "attach/ps_command.h"

#include "attach/diagnose.h"
#include "attach/options.h"
#include "attach/processes.h"
#include "attach/runtime.h"
#include "attach/target.h"
#include "attach/ui.h"
#include "encoder/utf8.h"
#include "symbols/presence.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
	"Usage: cprof-attach ps [OPTION]...\n"
	"List the processes that run, the busiest first: what they are written in, which names a profile would "
	"have,\n"
	"and whether they can be profiled.\n"
	"\n"
	"  -n, --name PATTERN     only those with this in their name or command line; a regular expression is\n"
	"                         good as well\n"
	"  -a, --all              all of them, also where the terminal has fewer lines\n"
	"  -h, --help             this text\n"
	"\n"
	"CPU is the share of one CPU during a fifth of a second. SYMBOLS says what names functions: DWARF (in "
	"the\n"
	"program, or in a debug file that was found), Go's table, symbols, minidebuginfo, or stripped: only "
	"what a\n"
	"library exports has a name. ATTACH is the reason why a process cannot be profiled; cprof-attach check "
	"PID\n"
	"says more.\n"
	"Exit status: 0 listed, 2 there is no such process, 64 usage error.\n";

static const struct option long_options[] = {
	{"name", required_argument, NULL, 'n'},
	{"all", no_argument, NULL, 'a'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

enum { WINDOW_NS = 200000000 };

struct arguments {
	const char *name;
	bool all, help;
};

static int parse(int argc, char **argv, struct arguments *arguments, struct error *err)
{
	int option;
	opterr = 0;
	optind = 0;
	while ((option = getopt_long(argc, argv, ":n:ah", long_options, NULL)) != -1) {
		if (option == ':')
			return error_set(
				err, "%s needs an argument; see cprof-attach ps --help", argv[optind - 1]);
		if (option == '?')
			return error_set(err,
				"%s is not an option, or takes no argument; see cprof-attach ps --help",
				argv[optind - 1]);
		if (option == 'n')
			arguments->name = optarg;
		else
			*(option == 'a' ? &arguments->all : &arguments->help) = true;
	}
	if (optind < argc && arguments->name == NULL)
		return error_set(err, "'%s' is not an option: cprof-attach ps -n '%s' lists what is called so",
			argv[optind], argv[optind]);
	if (optind < argc)
		return error_set(err, "'%s' is too much; see cprof-attach ps --help", argv[optind]);
	if (arguments->name != NULL && arguments->name[0] == '\0')
		return error_set(err, "the name is empty: give one, such as -n redis");
	return 0;
}

/* ---- what a program is: looked at once for all processes that run it ---- */

struct nature {
	dev_t device;
	ino_t inode;
	char runtime[RUNTIME_TEXT];
	const char *symbols;
};

struct natures {
	struct nature *v;
	size_t n;
};

static struct maps read_maps(pid_t pid)
{
	char path[64];
	struct maps maps = {0};
	struct target target = {.maps_fd = -1, .pid = pid, .live_tid = pid};
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	target.task_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (target.task_fd < 0)
		return maps;
	size_t len;
	char *text = target_maps(&target, pid, &len);
	if (text != NULL)
		maps_parse(text, len, &maps);
	free(text);
	target_close(&target);
	return maps;
}

static struct image *open_program(const struct process *process)
{
	char path[64], name[4096];
	struct error err;
	snprintf(path, sizeof path, "/proc/%d/exe", process->id.pid);
	/* The debug file is looked for beside this name. */
	ssize_t len = readlink(path, name, sizeof name - 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return NULL;
	name[len > 0 ? len : 0] = '\0';
	return image_open(fd, name, &err);
}

static void look(const struct process *process, struct nature *nature)
{
	struct runtime runtime;
	struct image *image = process->inode != 0 ? open_program(process) : NULL;
	struct maps maps = image != NULL ? read_maps(process->id.pid) : (struct maps){0};
	runtime_recognise(process->program[0] != '\0' ? process->program : process->name,
		image != NULL ? &maps : NULL, image, &runtime);
	runtime_text(&runtime, nature->runtime);
	nature->symbols = image != NULL ? presence_name(presence_of(NULL, image)) : "?";
	nature->device = process->device;
	nature->inode = process->inode;
	maps_free(&maps);
	image_free(image);
}

/* Programs can be made to take long to look at, and a user may run many. */
enum { LOOK_SECONDS = 5 };

static bool may_look_on(void)
{
	struct timespec used;
	return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0 && used.tv_sec < LOOK_SECONDS;
}

/* NULL when it is not known: memory or time is out. */
static const struct nature *nature_of(struct natures *natures, const struct process *process)
{
	for (size_t i = 0; process->inode != 0 && i < natures->n; i++)
		if (natures->v[i].inode == process->inode && natures->v[i].device == process->device)
			return &natures->v[i];
	struct nature *v = may_look_on() ? reallocarray(natures->v, natures->n + 1, sizeof *v) : NULL;
	if (v == NULL)
		return NULL;
	natures->v = v;
	look(process, &v[natures->n]);
	return &v[natures->n++];
}

/* ---- the table ---- */

/* The columns before the command, which gets what is left of a line. */
enum column { USER, RUNTIME, SYMBOLS, ATTACH, COLUMNS };
static const char *const titles[COLUMNS] = {"USER", "RUNTIME", "SYMBOLS", "ATTACH"};

struct row {
	const struct process *process;
	char runtime[RUNTIME_TEXT];
	const char *cell[COLUMNS];
	struct verdict verdict;
};

struct table {
	struct row *rows;
	size_t n;
	size_t width[COLUMNS];
};

/* False when the process has ended meanwhile. */
static bool fill_row(
	const struct ourselves *us, struct natures *natures, const struct process *process, struct row *row)
{
	struct situation situation;
	struct error err;
	situation_read(us, process->id.pid, &situation);
	if (!situation.visible)
		return false;
	situation_ask(&situation);
	*row = (struct row){.process = process};
	diagnose(&situation, &row->verdict, &err);
	const struct nature *nature = nature_of(natures, process);
	/* A copy: the natures move as they become more. */
	snprintf(row->runtime, sizeof row->runtime, "%s", nature != NULL ? nature->runtime : "?");
	row->cell[USER] = process->user;
	row->cell[RUNTIME] = row->runtime;
	row->cell[SYMBOLS] = nature != NULL ? nature->symbols : "?";
	row->cell[ATTACH] = row->verdict.brief != NULL ? row->verdict.brief : "yes";
	return true;
}

/* Returns -1 when memory is out. */
static int fill_table(const struct processes *list, struct table *table)
{
	struct ourselves us;
	struct natures natures = {0};
	*table = (struct table){.rows = calloc(list->n + 1, sizeof *table->rows)};
	if (table->rows == NULL)
		return -1;
	ourselves_read(PTRACE_NOT_ASKED, &us);
	for (size_t i = 0; i < list->n; i++)
		table->n += fill_row(&us, &natures, &list->v[i], &table->rows[table->n]);
	free(natures.v);
	return 0;
}

static void measure_columns(struct table *table, size_t shown)
{
	for (size_t c = 0; c < COLUMNS; c++) {
		table->width[c] = strlen(titles[c]);
		for (size_t i = 0; i < shown; i++) {
			size_t width = utf8_columns(table->rows[i].cell[c]);
			table->width[c] = width > table->width[c] ? width : table->width[c];
		}
	}
}

/* printf's widths count bytes. */
static void append(char *line, size_t cap, const char *text, size_t width)
{
	size_t len = strlen(line), columns = utf8_columns(text);
	snprintf(line + len, cap - len, "%s%*s ", text, (int)(columns < width ? width - columns : 0), "");
}

static void print_row(const struct table *table, const char *numbers, const char *const cells[COLUMNS],
	const char *command, size_t columns)
{
	char line[1024] = "";
	append(line, sizeof line, numbers, 0);
	for (size_t c = 0; c < COLUMNS; c++)
		append(line, sizeof line, cells[c], table->width[c]);
	size_t used = utf8_columns(line), len = strlen(line);
	size_t rest = used < columns ? columns - used : 0;
	snprintf(line + len, sizeof line - len, "%.*s", (int)utf8_cut(command, rest), command);
	line[utf8_cut(line, columns)] = '\0';
	ui_line("%s", line);
}

static void print_table(struct table *table, size_t shown, size_t columns)
{
	measure_columns(table, shown);
	print_row(table, "    PID  THR   CPU", titles, "COMMAND", columns);
	for (size_t i = 0; i < shown; i++) {
		const struct row *row = &table->rows[i];
		char numbers[64];
		snprintf(numbers, sizeof numbers, "%7d %4d %4.0f%%", row->process->id.pid,
			row->process->id.threads, 100 * row->process->cpu);
		print_row(table, numbers, row->cell, row->process->command, columns);
	}
}

/* ---- what to do next ---- */

static const struct row *first_that(const struct table *table, bool (*wanted)(const struct row *row))
{
	for (size_t i = 0; i < table->n; i++)
		if (wanted(&table->rows[i]))
			return &table->rows[i];
	return NULL;
}

static bool may_be_profiled(const struct row *row)
{
	return row->verdict.brief == NULL && !row->process->ours;
}

static bool root_may_profile(const struct row *row)
{
	return row->verdict.root_helps && !row->process->ours;
}

/* The busiest; as root would see it, if we see none that we may profile, or one that is busier. */
static void print_next(const struct table *table)
{
	const struct row *row = first_that(table, may_be_profiled),
			 *by_root = first_that(table, root_may_profile);
	bool sudo = by_root != NULL && (row == NULL || by_root < row);
	if (sudo)
		row = by_root;
	ui_line("%s", "");
	if (row != NULL)
		ui_line("next      %scprof-attach -p %d -d 10s -f flamegraph", sudo ? "sudo " : "",
			row->process->id.pid);
	else
		ui_line("next      cprof-attach check %d", table->rows[0].process->id.pid);
}

static int show(const struct arguments *arguments, struct processes *list, struct error *err)
{
	struct table table;
	unsigned columns, lines;
	if (arguments->name != NULL && processes_filter(list, arguments->name, err) != 0)
		return -1;
	processes_measure(list, WINDOW_NS);
	processes_sort(list);
	if (fill_table(list, &table) != 0)
		return error_set(err, "not enough memory to list the processes");
	bool terminal = ui_terminal(&columns, &lines);
	/* The title, what is left out, an empty line, the next command, and the prompt. */
	size_t fit = terminal && !arguments->all ? (lines > 10 ? lines - 5 : 5) : table.n;
	size_t shown = fit < table.n ? fit : table.n;
	print_table(&table, shown, terminal ? columns : SIZE_MAX);
	if (shown < table.n)
		ui_line("%zu more that are less busy: -a shows all", table.n - shown);
	if (table.n > 0)
		print_next(&table);
	free(table.rows);
	return 0;
}

int ps_command(int argc, char **argv)
{
	struct error err;
	struct arguments arguments = {0};
	struct processes list = {0};
	if (parse(argc, argv, &arguments, &err) != 0) {
		ui_error(err.message);
		return EXIT_USAGE;
	}
	if (arguments.help) {
		ui_help(help);
		return EXIT_FULL;
	}
	if (processes_list(&list, &err) != 0) {
		ui_error(err.message);
		return EXIT_NOTHING;
	}
	int outcome = show(&arguments, &list, &err);
	if (outcome != 0)
		ui_error(err.message);
	processes_free(&list);
	return outcome == 0 ? EXIT_FULL : EXIT_NOTHING;
}
