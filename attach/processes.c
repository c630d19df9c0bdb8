#include "attach/processes.h"

#include "encoder/utf8.h"

#include <dirent.h>
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- one process ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

enum { READ_ATTEMPTS = 4, READ_NS = 200000 };

/* The process's CPU clock counts nanoseconds of all its threads, past ones included; stat has hundredths of a
 * second. */
static bool read_cpu(pid_t pid, uint64_t *ns, uint64_t *read_ns)
{
	struct timespec t;
	clockid_t clock;
	if (clock_getcpuclockid(pid, &clock) != 0)
		return false;
	/* At one time: again, if we were without a CPU in between. */
	for (int attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
		uint64_t before = now_ns();
		if (clock_gettime(clock, &t) != 0)
			return false;
		*read_ns = now_ns();
		if (*read_ns - before < READ_NS)
			break;
	}
	*ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	return true;
}

static void read_program(struct process *process)
{
	char path[64], target[4096];
	struct stat st;
	snprintf(path, sizeof path, "/proc/%d/exe", process->id.pid);
	ssize_t len = readlink(path, target, sizeof target - 1);
	if (len <= 0)
		return;
	target[len] = '\0';
	/* A program that was replaced while it runs: " (deleted)" is not its name. */
	char *deleted = strstr(target, " (deleted)");
	if (deleted != NULL && deleted[strlen(" (deleted)")] == '\0')
		*deleted = '\0';
	snprintf(process->program, sizeof process->program, "%.63s", base_name(target));
	utf8_printable(process->program);
	if (stat(path, &st) == 0) {
		process->device = st.st_dev;
		process->inode = st.st_ino;
	}
}

/* The arguments end with a zero byte each (proc_pid_cmdline(5)); programs that change their title leave one
 * text, with spaces. */
static void read_command(struct process *process)
{
	char text[PROCESS_COMMAND];
	ssize_t len = identity_file(process->id.pid, "cmdline", text, sizeof text);
	while (len > 0 && text[len - 1] == '\0')
		len--;
	if (len <= 0) {
		snprintf(process->command, sizeof process->command, "[%s]", process->name);
		return;
	}
	/* "-bash": a login shell. */
	const char *called = base_name(text + (text[0] == '-'));
	snprintf(process->called, sizeof process->called, "%.63s", called);
	utf8_printable(process->called);
	for (ssize_t i = 0; i < len; i++)
		if (text[i] == '\0')
			text[i] = ' ';
	memcpy(process->command, text, sizeof text);
	utf8_printable(process->command);
}

/* False when it is none of ours to list. */
static bool read_process(pid_t pid, struct process *process)
{
	*process = (struct process){0};
	const struct identity *id = &process->id;
	if (identity_read(pid, &process->id) != 0 || id->kernel_thread || id->pid == getpid() ||
		((id->state == 'Z' || id->state == 'X') && id->threads <= 1))
		return false;
	memcpy(process->name, id->name, sizeof id->name);
	utf8_printable(process->name);
	user_name(id->uid[1], process->user);
	read_program(process);
	read_command(process);
	read_cpu(pid, &process->cpu_ns, &process->read_ns);
	return true;
}

/* ---- all of them ---- */

static struct process *room_for_one(struct processes *list)
{
	if (list->n == list->cap) {
		size_t cap = list->cap == 0 ? 256 : 2 * list->cap;
		struct process *v = reallocarray(list->v, cap, sizeof *v);
		if (v == NULL)
			return NULL;
		list->v = v;
		list->cap = cap;
	}
	return &list->v[list->n];
}

/* What started us has our command line in its own: sudo, sh -c, timeout. */
static void mark_ours(struct processes *list)
{
	pid_t parent = getppid();
	for (size_t i = list->n; i-- > 0;)
		if (list->v[i].id.pid == parent && !list->v[i].ours) {
			list->v[i].ours = true;
			parent = list->v[i].id.parent;
			i = list->n; /* PIDs start anew when they run out: a parent may stand behind */
			if (parent <= 1)
				return;
		}
}

int processes_list(struct processes *list, struct error *err)
{
	struct processes found = {0};
	DIR *directory = opendir("/proc");
	if (directory == NULL)
		return error_set(err, "cannot list /proc: %s: is it mounted?", strerror(errno));
	const struct dirent *entry;
	while ((entry = readdir(directory)) != NULL) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid <= 0)
			continue;
		struct process *process = room_for_one(&found);
		if (process == NULL) {
			closedir(directory);
			processes_free(&found);
			return error_set(err, "not enough memory to list the processes");
		}
		found.n += read_process(pid, process);
	}
	closedir(directory);
	mark_ours(&found);
	*list = found;
	return 0;
}

void processes_free(struct processes *list)
{
	free(list->v);
	*list = (struct processes){0};
}

void processes_measure(struct processes *list, uint64_t window_ns)
{
	uint64_t last = 0, now = now_ns();
	for (size_t i = 0; i < list->n; i++)
		last = list->v[i].read_ns > last ? list->v[i].read_ns : last;
	if (last + window_ns > now) {
		uint64_t rest = last + window_ns - now;
		struct timespec t = {(time_t)(rest / 1000000000u), (long)(rest % 1000000000u)};
		nanosleep(&t, NULL);
	}
	for (size_t i = 0; i < list->n; i++) {
		struct process *process = &list->v[i];
		uint64_t used, before = process->read_ns;
		if (before == 0 || !read_cpu(process->id.pid, &used, &process->read_ns))
			continue;
		/* A PID that another process has by now begins anew. */
		if (used >= process->cpu_ns && process->read_ns > before)
			process->cpu = (double)(used - process->cpu_ns) / (double)(process->read_ns - before);
		/* Without a CPU between the two readings we take the time for shorter than it was. */
		if (process->cpu > (double)process->id.threads)
			process->cpu = (double)process->id.threads;
		process->cpu_ns = used;
	}
}

static int by_cpu(const void *left, const void *right)
{
	const struct process *a = left, *b = right;
	if (a->cpu != b->cpu)
		return a->cpu > b->cpu ? -1 : 1;
	if (a->cpu_ns != b->cpu_ns)
		return a->cpu_ns > b->cpu_ns ? -1 : 1;
	return a->id.pid < b->id.pid ? -1 : a->id.pid > b->id.pid;
}

void processes_sort(struct processes *list)
{
	if (list->n > 0)
		qsort(list->v, list->n, sizeof *list->v, by_cpu);
}

/* ---- by name ---- */

enum { NAMES = 3 };

static void names_of(const struct process *process, const char *names[NAMES])
{
	names[0] = process->name;
	names[1] = process->program;
	names[2] = process->called;
}

struct pattern {
	const char *text;
	regex_t regex;
	bool is_regex;
};

static void pattern_open(struct pattern *pattern, const char *text)
{
	pattern->text = text;
	pattern->is_regex = regcomp(&pattern->regex, text, REG_EXTENDED | REG_NOSUB) == 0;
}

static void pattern_close(struct pattern *pattern)
{
	if (pattern->is_regex)
		regfree(&pattern->regex);
}

static bool pattern_in(const struct pattern *pattern, const char *text)
{
	return text[0] != '\0' &&
	       (strstr(text, pattern->text) != NULL ||
		       (pattern->is_regex && regexec(&pattern->regex, text, 0, NULL, 0) == 0));
}

enum likeness { UNLIKE, PART, SAME };

static enum likeness likeness(const struct pattern *pattern, const struct process *process)
{
	const char *names[NAMES];
	enum likeness best = UNLIKE;
	names_of(process, names);
	for (size_t i = 0; i < NAMES; i++) {
		if (strcmp(names[i], pattern->text) == 0)
			return SAME;
		if (pattern_in(pattern, names[i]))
			best = PART;
	}
	return best;
}

/* ---- what is near ---- */

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned low = a < b ? a : b;
	return low < c ? low : c;
}

/* How many letters must be changed, added or left out (Levenshtein), capital or not. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[PROCESS_NAME];
	size_t n = strlen(b);
	if (n >= PROCESS_NAME)
		return UINT32_MAX;
	for (size_t k = 0; k <= n; k++)
		row[k] = (unsigned)k;
	for (size_t i = 0; a[i] != '\0'; i++) {
		unsigned diagonal = row[0];
		row[0] = (unsigned)i + 1;
		for (size_t k = 0; k < n; k++) {
			unsigned above = row[k + 1];
			row[k + 1] = least(above + 1, row[k] + 1, diagonal + (lower(a[i]) != lower(b[k])));
			diagonal = above;
		}
	}
	return row[n];
}

/* The process with the name that is most like `text`, if one is like it. */
static const struct process *nearest(const struct processes *list, const char *text, const char **name)
{
	const struct process *found = NULL;
	unsigned best = (unsigned)strlen(text) / 3 + 1;
	for (size_t i = 0; i < list->n; i++) {
		const char *names[NAMES];
		names_of(&list->v[i], names);
		for (size_t k = 0; k < NAMES; k++) {
			unsigned far = names[k][0] != '\0' ? distance(names[k], text) : UINT32_MAX;
			if (far >= best)
				continue;
			best = far;
			found = &list->v[i];
			*name = names[k];
		}
	}
	return found;
}

static const struct process *in_command_line(const struct processes *list, const char *text)
{
	for (size_t i = 0; i < list->n; i++)
		if (!list->v[i].ours && strstr(list->v[i].command, text) != NULL)
			return &list->v[i];
	return NULL;
}

static int say_none(const struct processes *list, const char *text, struct error *err)
{
	const char *name = NULL;
	const struct process *process = in_command_line(list, text);
	if (process != NULL)
		return error_set(err,
			"no process is called '%s', but process %d has it in its command line (%.80s): profile "
			"it "
			"with -p %d, or see cprof-attach ps -n '%s'",
			text, process->id.pid, process->command, process->id.pid, text);
	process = nearest(list, text, &name);
	if (process != NULL)
		return error_set(err, "no process is called '%s'; is it %s (PID %d)? cprof-attach ps lists all",
			text, name, process->id.pid);
	return error_set(err, "no process is called '%s': cprof-attach ps lists all that run", text);
}

/* ---- choosing ---- */

enum { LISTED = 8, LIST_BYTES = 900 };

/* "101 (redis, redis-server *:6379), 102 (...) and 3 more" */
static void list_them(const struct processes *list, const struct pattern *pattern, enum likeness wanted,
	size_t n, char text[LIST_BYTES])
{
	size_t len = 0, named = 0;
	text[0] = '\0';
	for (size_t i = 0; i < list->n && named < LISTED && len < LIST_BYTES / 2; i++) {
		const struct process *process = &list->v[i];
		if (likeness(pattern, process) != wanted)
			continue;
		int cut = (int)utf8_cut(process->command, 50);
		/* At most 250 bytes: half of the text is left for it. */
		len += (size_t)snprintf(text + len, LIST_BYTES - len, "%s%d (%s, %.*s)", named > 0 ? ", " : "",
			process->id.pid, process->user, cut, process->command);
		named++;
	}
	if (n > named)
		snprintf(text + len, LIST_BYTES - len, " and %zu more", n - named);
}

static int say_many(const struct processes *list, const struct pattern *pattern, enum likeness wanted, size_t n,
	struct error *err)
{
	char text[LIST_BYTES];
	list_them(list, pattern, wanted, n, text);
	return error_set(
		err, "%zu processes are called '%s': choose one with -p PID: %s", n, pattern->text, text);
}

int processes_choose_from(const struct processes *list, const char *text, pid_t *pid, struct error *err)
{
	struct pattern pattern;
	size_t count[SAME + 1] = {0};
	pid_t last[SAME + 1] = {0};
	pattern_open(&pattern, text);
	for (size_t i = 0; i < list->n; i++) {
		enum likeness like = likeness(&pattern, &list->v[i]);
		count[like]++;
		last[like] = list->v[i].id.pid;
	}
	enum likeness best = count[SAME] > 0 ? SAME : PART;
	int outcome = 0;
	if (count[best] == 1)
		*pid = last[best];
	else if (count[best] > 1)
		outcome = say_many(list, &pattern, best, count[best], err);
	else
		outcome = say_none(list, text, err);
	pattern_close(&pattern);
	return outcome;
}

int processes_choose(const char *pattern, pid_t *pid, struct error *err)
{
	struct processes list = {0};
	if (processes_list(&list, err) != 0)
		return -1;
	int outcome = processes_choose_from(&list, pattern, pid, err);
	processes_free(&list);
	return outcome;
}

static bool is_matched(const struct pattern *pattern, const struct process *process)
{
	return likeness(pattern, process) != UNLIKE ||
	       (!process->ours && pattern_in(pattern, process->command));
}

int processes_filter(struct processes *list, const char *text, struct error *err)
{
	struct pattern pattern;
	size_t n = 0;
	pattern_open(&pattern, text);
	for (size_t i = 0; i < list->n; i++)
		n += is_matched(&pattern, &list->v[i]);
	if (n > 0) {
		n = 0;
		for (size_t i = 0; i < list->n; i++)
			if (is_matched(&pattern, &list->v[i]))
				list->v[n++] = list->v[i];
		list->n = n;
	}
	pattern_close(&pattern);
	return n > 0 ? 0 : say_none(list, text, err);
}
