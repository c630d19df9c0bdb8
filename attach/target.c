#include "attach/target.h"

#include "attach/diagnose.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- small reads of /proc ---- */

/* Reads a small file whole into buffer (terminated); -1 with errno. */
static ssize_t read_small(int dir_fd, const char *path, char *buffer, size_t cap)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, buffer, cap - 1);
	int saved = errno;
	close(fd);
	errno = saved;
	if (n >= 0)
		buffer[n] = '\0';
	return n;
}

static ssize_t pread_small(int fd, char *buffer, size_t cap)
{
	ssize_t n = pread(fd, buffer, cap - 1, 0);
	if (n >= 0)
		buffer[n] = '\0';
	return n;
}

/* The value of "Key:\t123" in /proc/.../status, or -1. */
static long status_number(const char *status, const char *key)
{
	size_t len = strlen(key);
	for (const char *line = status; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) == 0 && line[len] == ':')
			return strtol(line + len + 1, NULL, 10);
	}
	return -1;
}

/* Field 3 (state) and field 9 (flags) of a stat file; the name before them may hold any byte, so start at the
 * last ')'. */
static bool parse_stat(const char *stat, char *state, unsigned long *flags)
{
	const char *p = strrchr(stat, ')');
	return p != NULL && sscanf(p + 1, " %c %*d %*d %*d %*d %*d %lu", state, flags) == 2;
}

/* ---- what can be profiled ---- */

static int look_at(pid_t pid, struct target *target, struct error *err)
{
	struct ourselves us;
	struct situation situation;
	ourselves_read(PTRACE_NOT_ASKED, &us);
	situation_read(&us, pid, &situation);
	if (diagnose(&situation, NULL, err) != 0)
		return -1;
	target->pid = target->live_tid = pid;
	memcpy(target->name, situation.them.name, sizeof target->name);
	return 0;
}

static void read_exe(struct target *target)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/exe", target->pid);
	ssize_t n = readlink(path, target->exe, sizeof target->exe - 1);
	target->exe[n > 0 ? n : 0] = '\0';
	static const char deleted[] = " (deleted)";
	size_t len = strlen(target->exe), cut = sizeof deleted - 1;
	if (len > cut && strcmp(target->exe + len - cut, deleted) == 0)
		target->exe[len - cut] = '\0';
}

int target_open(pid_t pid, struct target *target, struct error *err)
{
	struct target t = {.task_fd = -1, .maps_fd = -1};
	if (look_at(pid, &t, err) != 0)
		return -1;
	read_exe(&t);
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	t.task_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t.task_fd < 0 || clock_getcpuclockid(pid, &t.cpu_clock) != 0) {
		target_close(&t);
		return error_set(err, "process %d (%s) ended before it could be profiled: choose a running one",
			pid, t.name);
	}
	*target = t;
	return 0;
}

/* Of what it would take to profile it only its program's kind can be missing. */
static int check_program(const struct target *target)
{
	unsigned char head[20] = {0};
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/exe", target->pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return 0; /* not ours to read: what can be seen of it is */
	ssize_t n = read(fd, head, sizeof head);
	close(fd);
	if (n < (ssize_t)sizeof head || memcmp(head, ELFMAG, SELFMAG) != 0 ||
		(head[EI_CLASS] == ELFCLASS64 && head[18] == EM_X86_64))
		return 0;
	errno = ENOEXEC;
	return -1;
}

int target_read_program(struct target *target)
{
	target_name(target->pid, target->name);
	return check_program(target);
}

int target_open_child(pid_t pid, struct target *target)
{
	struct target t = {.task_fd = -1, .maps_fd = -1, .pid = pid, .live_tid = pid};
	char path[64];
	if (target_read_program(&t) != 0)
		return -1;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	t.task_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t.task_fd < 0 || clock_getcpuclockid(pid, &t.cpu_clock) != 0) {
		int saved = errno == EACCES || errno == EPERM || errno == EMFILE ? errno : ESRCH;
		target_close(&t);
		errno = saved;
		return -1;
	}
	*target = t;
	return 0;
}

void target_close(struct target *target)
{
	if (target->task_fd >= 0)
		close(target->task_fd);
	if (target->maps_fd >= 0)
		close(target->maps_fd);
	target->task_fd = target->maps_fd = -1;
}

/* ---- threads, read without stopping ---- */

enum { SPARE_FILES = 512 };

static int open_thread_file(const struct target *target, pid_t tid, const char *name)
{
	char path[64];
	snprintf(path, sizeof path, "%d/%s", tid, name);
	return openat(target->task_fd, path, O_RDONLY | O_CLOEXEC);
}

/* Keeps the descriptor if there are enough, and leaves some for everything else. */
static int keep(const struct target *target, int fd)
{
	int spare = target->files / 2 < SPARE_FILES ? target->files / 2 : SPARE_FILES;
	if (fd < target->files - spare)
		return fd;
	close(fd);
	return -1;
}

int thread_open(const struct target *target, pid_t tid, struct thread *thread)
{
	struct thread t = {.tid = tid, .stat_fd = -1, .status_fd = -1};
	t.schedstat_fd = open_thread_file(target, tid, "schedstat");
	t.syscall_fd = t.schedstat_fd < 0 ? -1 : open_thread_file(target, tid, "syscall");
	if (t.syscall_fd < 0 || thread_read_name(target, &t) != 0) {
		int saved = errno;
		thread_close(&t);
		errno = saved;
		return -1;
	}
	t.syscall_fd = keep(target, t.syscall_fd);
	t.schedstat_fd = keep(target, t.schedstat_fd);
	*thread = t;
	return 0;
}

/* One of the thread's files, by its kept descriptor if there is one. */
static ssize_t read_thread_file(
	const struct target *target, pid_t tid, int kept_fd, const char *name, char *text, size_t size)
{
	if (kept_fd >= 0)
		return pread_small(kept_fd, text, size);
	char path[64];
	snprintf(path, sizeof path, "%d/%s", tid, name);
	return read_small(target->task_fd, path, text, size);
}

void thread_close(struct thread *thread)
{
	int *fds[] = {&thread->schedstat_fd, &thread->syscall_fd, &thread->stat_fd, &thread->status_fd};
	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

int target_each_thread(const struct target *target, void (*each)(void *context, pid_t tid), void *context)
{
	/* getdents on the kept descriptor: opendir would allocate at every tick. */
	_Alignas(struct dirent64) char buffer[32768];
	int n_threads = 0;
	if (lseek(target->task_fd, 0, SEEK_SET) < 0)
		return -1;
	for (;;) {
		ssize_t n = getdents64(target->task_fd, buffer, sizeof buffer);
		if (n < 0)
			return -1;
		if (n == 0)
			return n_threads > 0 ? n_threads : -1;
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *entry = (const struct dirent64 *)(buffer + at);
			at += entry->d_reclen;
			pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
			if (tid <= 0)
				continue;
			each(context, tid);
			n_threads++;
		}
	}
}

/* Field `wanted` of proc_pid_stat(5), counted from 1; fields 3 and up follow the name, which may hold anything.
 */
static bool stat_field(const char *text, int wanted, unsigned long long *value)
{
	const char *p = strrchr(text, ')');
	for (int field = 3; p != NULL && field <= wanted; field++)
		p = strchr(p + 1, ' ');
	return p != NULL && sscanf(p, " %llu", value) == 1;
}

uint64_t target_stack_start(const struct target *target)
{
	char path[64], text[1024];
	unsigned long long start;
	snprintf(path, sizeof path, "%d/stat", target->live_tid);
	if (read_small(target->task_fd, path, text, sizeof text) <= 0 || !stat_field(text, 28, &start))
		return 0;
	return start;
}

void target_name(pid_t pid, char name[16])
{
	char path[64], text[64];
	snprintf(path, sizeof path, "/proc/%d/comm", pid);
	ssize_t n = read_small(AT_FDCWD, path, text, sizeof text);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	snprintf(name, 16, "%.15s", text);
}

bool target_is_leader(pid_t tid)
{
	return syscall(SYS_tgkill, tid, tid, 0) == 0 || errno == EPERM;
}

int target_each_process(void (*each)(void *context, pid_t pid, pid_t parent), void *context)
{
	DIR *proc = opendir("/proc");
	if (proc == NULL)
		return -1;
	for (const struct dirent *entry; (entry = readdir(proc)) != NULL;) {
		char path[64], text[1024];
		unsigned long long parent;
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		snprintf(path, sizeof path, "/proc/%d/stat", pid);
		if (pid > 0 && read_small(AT_FDCWD, path, text, sizeof text) > 0 &&
			stat_field(text, 4, &parent))
			each(context, pid, (pid_t)parent);
	}
	closedir(proc);
	return 0;
}

int target_thread_count(const struct target *target)
{
	/* The kernel gives the directory two links and one for each thread (fs/proc/base.c, proc_task_getattr).
	 */
	struct stat st;
	if (fstat(target->task_fd, &st) != 0 || st.st_nlink <= 2)
		return -1;
	return (int)st.st_nlink - 2;
}

/* Decimal digits at *p; *p is left behind them and one space. */
static uint64_t take_number(const char **p)
{
	uint64_t value = 0;
	for (; **p >= '0' && **p <= '9'; (*p)++)
		value = value * 10 + (uint64_t)(**p - '0');
	*p += **p == ' ';
	return value;
}

int thread_schedstat(const struct target *target, const struct thread *thread, struct schedstat *out)
{
	char text[96];
	if (read_thread_file(target, thread->tid, thread->schedstat_fd, "schedstat", text, sizeof text) <= 0)
		return -1;
	const char *p = text;
	out->run_ns = take_number(&p);
	out->wait_ns = take_number(&p);
	out->count = take_number(&p);
	return 0;
}

int thread_state(const struct target *target, const struct thread *thread, char *letter)
{
	char text[1024];
	unsigned long flags;
	if (read_thread_file(target, thread->tid, -1, "stat", text, sizeof text) <= 0 ||
		!parse_stat(text, letter, &flags))
		return -1;
	return 0;
}

int thread_cpu(const struct target *target, const struct thread *thread)
{
	char text[1024];
	unsigned long long cpu;
	if (read_thread_file(target, thread->tid, thread->stat_fd, "stat", text, sizeof text) <= 0 ||
		!stat_field(text, 39, &cpu) || cpu > INT_MAX)
		return -1;
	return (int)cpu;
}

void thread_keep_files(const struct target *target, struct thread *thread)
{
	if (thread->stat_fd < 0)
		thread->stat_fd = keep(target, open_thread_file(target, thread->tid, "stat"));
	if (thread->status_fd < 0)
		thread->status_fd = keep(target, open_thread_file(target, thread->tid, "status"));
}

int thread_switches(const struct target *target, const struct thread *thread, struct switches *out)
{
	char text[4096];
	if (read_thread_file(target, thread->tid, thread->status_fd, "status", text, sizeof text) <= 0)
		return -1;
	long left = status_number(text, "voluntary_ctxt_switches");
	long lost = status_number(text, "nonvoluntary_ctxt_switches");
	*out = (struct switches){.left = (uint64_t)left, .lost = (uint64_t)lost};
	return left >= 0 && lost >= 0 ? 0 : -1;
}

int thread_read_name(const struct target *target, struct thread *thread)
{
	char path[64], text[64];
	snprintf(path, sizeof path, "%d/comm", thread->tid);
	if (read_small(target->task_fd, path, text, sizeof text) < 0)
		return -1;
	text[strcspn(text, "\n")] = '\0';
	snprintf(thread->name, sizeof thread->name, "%.15s", text);
	return 0;
}

int thread_blocked(const struct target *target, const struct thread *thread, struct blocked *out)
{
	char text[256];
	if (read_thread_file(target, thread->tid, thread->syscall_fd, "syscall", text, sizeof text) <= 0)
		return -1;
	if (strncmp(text, "running", 7) == 0)
		return 0;
	struct blocked b = {0};
	/* "NR ARG1 ... ARG6 SP PC", or "-1 SP PC" when it waits elsewhere than in a system call. */
	uint64_t *a = b.argument;
	int n = sscanf(text,
		"%d %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64
		" %" SCNx64,
		&b.nr, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5], &b.sp, &b.pc);
	if (n != 3 && n != 9)
		return -1;
	if (n == 3) {
		b.sp = a[0];
		b.pc = a[1];
		a[0] = a[1] = 0;
	}
	*out = b;
	return 1;
}

/* ---- memory, maps, files ---- */

size_t target_read(pid_t tid, uint64_t address, void *buffer, size_t len)
{
	struct iovec local = {buffer, len}, remote = {(void *)(uintptr_t)address, len};
	ssize_t n = process_vm_readv(tid, &local, 1, &remote, 1, 0);
	return n > 0 ? (size_t)n : 0;
}

enum { MAPS_LIMIT = 64 << 20 };

char *target_maps(struct target *target, pid_t tid, size_t *len)
{
	char path[64];
	snprintf(path, sizeof path, "%d/maps", tid);
	int fd = openat(target->task_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	size_t cap = 65536, n = 0;
	char *text = malloc(cap);
	while (text != NULL) {
		ssize_t got = read(fd, text + n, cap - n);
		if (got <= 0)
			break;
		n += (size_t)got;
		if (n < cap)
			continue;
		char *larger = cap < MAPS_LIMIT ? realloc(text, cap * 2) : NULL;
		if (larger == NULL)
			break;
		text = larger;
		cap *= 2;
	}
	if (target->maps_fd >= 0)
		close(target->maps_fd);
	target->maps_fd = fd;
	*len = n;
	return text;
}

/* Of linux/fs.h since Linux 6.11. */
struct map_query {
	uint64_t size, flags, address, start, end, vma_flags, page_size, offset, inode;
	uint32_t dev_major, dev_minor, name_size, build_id_size;
	uint64_t name, build_id;
};

bool target_still_has(const struct target *target, const struct map *map)
{
	struct map_query query = {.size = sizeof query, .address = map->start};
	/* The file stands for the memory that the process had then: after an exec that is no more (ESRCH). */
	if (ioctl(target->maps_fd, _IOWR('f', 17, struct map_query), &query) != 0)
		return errno != ENOENT;
	return query.start == map->start && query.end == map->end && query.offset == map->offset &&
	       query.inode == map->inode && query.dev_major == map->dev_major &&
	       query.dev_minor == map->dev_minor;
}

/* The file at `path`, if it is a regular file and the one that is mapped. */
static int open_same_file(const char *path, const struct map *map)
{
	/* O_NONBLOCK: the path may lead to a FIFO by now. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == map->inode &&
		major(st.st_dev) == map->dev_major && minor(st.st_dev) == map->dev_minor)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

int target_open_file(const struct target *target, const struct map *map)
{
	char path[PATH_MAX + 64];
	if (map->inode == 0)
		return -1;
	/* The kernel's own link to the mapped file: right for deleted and replaced files and other mount
	 * namespaces, for root only. */
	snprintf(path, sizeof path, "/proc/%d/map_files/%llx-%llx", target->live_tid,
		(unsigned long long)map->start, (unsigned long long)map->end);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	if (fd >= 0) {
		if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
			return fd;
		close(fd);
	}
	snprintf(path, sizeof path, "/proc/%d/exe", target->live_tid);
	fd = open_same_file(path, map);
	if (fd >= 0)
		return fd;
	snprintf(path, sizeof path, "/proc/%d/root%s", target->live_tid, map->path);
	return open_same_file(path, map);
}

/* The PID in the innermost namespace (NSpid in proc_pid_status(5)), and the user. */
static bool own_ids(const struct target *target, pid_t *pid, uid_t *uid)
{
	char path[64], status[4096];
	snprintf(path, sizeof path, "%d/status", target->live_tid);
	if (read_small(target->task_fd, path, status, sizeof status) <= 0)
		return false;
	const char *tgid = strstr(status, "\nNStgid:"), *user = strstr(status, "\nUid:");
	unsigned effective;
	if (tgid == NULL || user == NULL || sscanf(user, "\nUid:\t%*u\t%u", &effective) != 1)
		return false;
	const char *end = strchr(tgid + 1, '\n'), *last = end;
	while (last != NULL && last > tgid && last[-1] != '\t')
		last--;
	*uid = effective;
	return last != NULL && (*pid = (pid_t)strtol(last, NULL, 10)) > 0;
}

/* Opens a path below `root` as a process that lives there would, but follows no symbolic link. */
static int open_below(int root, const char *path)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
	return fd >= 0 || errno != ENOSYS ? fd : openat(root, path, (int)how.flags | O_NOFOLLOW);
}

int target_open_perfmap(const struct target *target)
{
	char path[64];
	pid_t pid;
	uid_t uid;
	struct stat st;
	if (!own_ids(target, &pid, &uid))
		return -1;
	snprintf(path, sizeof path, "/proc/%d/root", target->live_tid);
	int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -1;
	snprintf(path, sizeof path, "tmp/perf-%d.map", pid);
	int fd = open_below(root, path);
	close(root);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_uid == uid || st.st_uid == 0))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

int target_file_name(const struct target *target, pid_t tid, int fd, char *name, size_t size)
{
	char path[64];
	snprintf(path, sizeof path, "%d/fd/%d", tid, fd);
	ssize_t n = readlinkat(target->task_fd, path, name, size - 1);
	if (n < 0)
		return -1;
	name[n] = '\0';
	return 0;
}

int target_file_flags(const struct target *target, pid_t tid, int fd, int *flags)
{
	char path[64], text[1024];
	snprintf(path, sizeof path, "%d/fdinfo/%d", tid, fd);
	if (read_small(target->task_fd, path, text, sizeof text) <= 0)
		return -1;
	/* proc_pid_fdinfo(5): "flags:\t0100002", octal. */
	const char *line = strstr(text, "flags:\t");
	if (line == NULL)
		return -1;
	*flags = (int)strtol(line + 7, NULL, 8);
	return 0;
}

int target_cpu_ns(const struct target *target, uint64_t *ns)
{
	struct timespec t;
	if (clock_gettime(target->cpu_clock, &t) != 0)
		return -1;
	*ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	return 0;
}

struct inspection {
	const struct target *target;
	struct target_traces *found;
};

/* What traces is a thread, and status names it by its own ID. */
static bool is_our_thread(long tid)
{
	return tid > 0 && syscall(SYS_tgkill, getpid(), tid, 0) == 0;
}

static void inspect(void *context, pid_t tid)
{
	struct inspection *inspection = context;
	char path[64], status[4096];
	snprintf(path, sizeof path, "%d/status", tid);
	if (read_small(inspection->target->task_fd, path, status, sizeof status) <= 0)
		return;
	const char *state = strstr(status, "\nState:\t");
	long tracer = status_number(status, "TracerPid");
	inspection->found->threads++;
	bool ours = is_our_thread(tracer);
	inspection->found->traced += ours;
	/* Of another tracer's stops nothing is known. */
	if (state != NULL && (tracer == 0 || ours))
		inspection->found->stopped += state[8] == 'T' || state[8] == 't';
}

void target_inspect(const struct target *target, struct target_traces *found)
{
	struct inspection inspection = {target, found};
	*found = (struct target_traces){0};
	target_each_thread(target, inspect, &inspection);
}

/* ---- ptrace ---- */

bool target_ptrace_is_filtered(void)
{
	/* The kernel says ESRCH: there is no process 0. A filter answers before it. */
	return ptrace(PTRACE_SEIZE, 0, NULL, NULL) != 0 && errno != ESRCH;
}

static int seize(struct thread *thread, long options)
{
	if (ptrace(PTRACE_SEIZE, thread->tid, NULL, (void *)options) != 0)
		return -1;
	thread->seized = true;
	return 0;
}

int thread_seize(struct thread *thread)
{
	return seize(thread, PTRACE_O_TRACEEXEC);
}

bool target_is_traced_by_us(pid_t tid)
{
	char path[64], status[4096];
	snprintf(path, sizeof path, "/proc/%d/status", tid);
	return read_small(AT_FDCWD, path, status, sizeof status) > 0 &&
	       is_our_thread(status_number(status, "TracerPid"));
}

int thread_seize_family(struct thread *thread)
{
	long options = PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
	if (seize(thread, options) == 0)
		return 0;
	int saved = errno;
	thread->seized = saved == EPERM && target_is_traced_by_us(thread->tid);
	errno = saved;
	return thread->seized ? 0 : -1;
}

int thread_interrupt(struct thread *thread)
{
	if (ptrace(PTRACE_INTERRUPT, thread->tid, NULL, NULL) != 0)
		return -1;
	thread->interrupted = true;
	return 0;
}

int thread_get_regs(const struct thread *thread, struct user_regs_struct *regs)
{
	return ptrace(PTRACE_GETREGS, thread->tid, NULL, regs) == 0 ? 0 : -1;
}

int thread_set_regs(const struct thread *thread, const struct user_regs_struct *regs)
{
	return ptrace(PTRACE_SETREGS, thread->tid, NULL, regs) == 0 ? 0 : -1;
}

int thread_continue(struct thread *thread, int signal)
{
	thread->listening = false;
	return ptrace(PTRACE_CONT, thread->tid, NULL, (void *)(intptr_t)signal) == 0 ? 0 : -1;
}

int thread_listen(struct thread *thread)
{
	thread->listening = true;
	return ptrace(PTRACE_LISTEN, thread->tid, NULL, NULL) == 0 ? 0 : -1;
}

static void classify(int status, struct wait_event *event)
{
	if (!WIFSTOPPED(status)) {
		event->kind = TARGET_GONE;
		return;
	}
	int signal = WSTOPSIG(status), ptrace_event = status >> 16;
	if (ptrace_event == PTRACE_EVENT_EXEC) {
		event->kind = TARGET_EXEC;
	} else if (ptrace_event == PTRACE_EVENT_FORK || ptrace_event == PTRACE_EVENT_VFORK ||
		   ptrace_event == PTRACE_EVENT_CLONE) {
		event->kind = TARGET_BRANCH;
	} else if (ptrace_event == PTRACE_EVENT_STOP) {
		/* SIGTRAP: an interrupt, or the end of a group stop. Another signal: the group stop that it
		 * began (ptrace(2)). */
		event->kind = signal == SIGTRAP ? TARGET_STOPPED : TARGET_GROUP;
	} else {
		/* A signal on its way to the thread. Swallowing it here can hang a program for good: it goes on
		 * with the same one. */
		event->kind = TARGET_SIGNAL;
		event->signal = signal;
	}
}

int target_wait(const struct target *target, struct wait_event *event)
{
	*event = (struct wait_event){0};
	/* A process that has ended has its clock until it is reaped. */
	siginfo_t info = {0};
	if (target->is_ours &&
		waitid(P_PID, (id_t)target->pid, &info, WEXITED | WNOWAIT | WNOHANG | __WALL) == 0 &&
		info.si_pid != 0)
		event->has_cpu = target_cpu_ns(target, &event->cpu_ns) == 0;
	do
		event->tid = waitpid(-1, &event->status, __WALL | WNOHANG | __WNOTHREAD);
	while (event->tid < 0 && errno == EINTR);
	if (event->tid <= 0)
		return event->tid < 0 ? -1 : 0;
	classify(event->status, event);
	return 1;
}

/* Before it is reaped: then its clock is there. */
static void read_last_clock(pid_t pid, struct wait_event *event)
{
	struct target ended = {.pid = pid};
	event->has_cpu =
		clock_getcpuclockid(pid, &ended.cpu_clock) == 0 && target_cpu_ns(&ended, &event->cpu_ns) == 0;
	if (event->has_cpu)
		target_name(pid, event->name);
}

int target_wait_family(pid_t tid, struct wait_event *event)
{
	for (;;) {
		siginfo_t info = {0};
		*event = (struct wait_event){0};
		if (waitid(tid != 0 ? P_PID : P_ALL, (id_t)tid, &info,
			    WEXITED | WSTOPPED | WNOWAIT | WNOHANG | __WALL | __WNOTHREAD) != 0) {
			if (errno == EINTR)
				continue;
			return -1;
		}
		if (info.si_pid == 0)
			return 0;
		if (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED)
			read_last_clock(info.si_pid, event);
		event->tid = waitpid(info.si_pid, &event->status, __WALL | WNOHANG | __WNOTHREAD);
		if (event->tid > 0) {
			classify(event->status, event);
			return 1;
		}
	}
}

void target_pass_on(const struct wait_event *event)
{
	switch (event->kind) {
	case TARGET_GONE:
		return;
	case TARGET_GROUP:
		ptrace(PTRACE_LISTEN, event->tid, NULL, NULL);
		return;
	default:
		ptrace(PTRACE_CONT, event->tid, NULL, (void *)(intptr_t)event->signal);
	}
}
