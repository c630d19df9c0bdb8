/* How long walks take: walks SNAPSHOTS PID
 *
 * Takes snapshots of a running process's first thread, lets it go, and walks them by rows and by libunwind, as
 * often as gives a steady figure. Stock libunwind-ptrace walks the stopped thread itself, a few times. Prints
 * one line for each. */
#include "unwind/library.h"
#include "unwind/rows.h"
#include "unwind/unwinder.h"

#include <fcntl.h>
#include <libunwind-ptrace.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	SNAPSHOTS_MAX = 512,
	COPY_MAX = 1 << 18,
	MAPS_MAX = 1 << 20,
	RED_ZONE = 128,
	STOCK_WALKS = 8,
	DEPTH = 16384,
	ROUNDS = 7,
	REPEATS = 16
};

static pid_t pid;
static struct snapshot snapshots[SNAPSHOTS_MAX];
static double times_us[SNAPSHOTS_MAX];

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void must(bool fine, const char *what)
{
	if (!fine) {
		perror(what);
		exit(1);
	}
}

static size_t read_target(void *context, uint64_t address, void *buffer, size_t len)
{
	struct iovec local = {buffer, len}, remote = {(void *)(uintptr_t)address, len};
	ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);
	(void)context;
	return n > 0 ? (size_t)n : 0;
}

static int open_file(void *context, const struct map *map)
{
	char path[4200];
	(void)context;
	snprintf(path, sizeof path, "/proc/%d/root%s", (int)pid, map->path);
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

static void update_space(struct space *space)
{
	static char maps[MAPS_MAX];
	char path[64];
	size_t len = 0;
	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	must(fd >= 0, path);
	for (ssize_t n; len < sizeof maps && (n = read(fd, maps + len, sizeof maps - len)) > 0;)
		len += (size_t)n;
	close(fd);
	must(space_update(space, maps, len) >= 0, "maps");
}

static void take(const struct space *space, struct snapshot *out)
{
	struct user_regs_struct r;
	must(ptrace(PTRACE_GETREGS, pid, NULL, &r) == 0, "registers");
	*out = (struct snapshot){.tid = pid,
		.regs = {{r.rax, r.rdx, r.rcx, r.rbx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8, r.r9, r.r10, r.r11,
				 r.r12, r.r13, r.r14, r.r15, r.rip},
			REGS_ALL}};
	const struct map *map = space_map(space, r.rsp);
	uint64_t start = r.rsp - RED_ZONE, len = map != NULL ? map->end - start : 0;
	len = len < COPY_MAX ? len : COPY_MAX;
	uint8_t *bytes = malloc(len + 1);
	must(bytes != NULL, "memory");
	out->region[0] = (struct region){start, read_target(NULL, start, bytes, len), bytes};
}

static size_t walk_by_ptrace(unw_addr_space_t as, void *upt)
{
	unw_cursor_t cursor;
	size_t n = 0;
	if (unw_init_remote(&cursor, as, upt) != 0)
		return 0;
	do
		n++;
	while (n < DEPTH && unw_step(&cursor) > 0);
	return n;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof *v, compare_doubles);
	return v[n / 2];
}

static size_t take_all(const struct space *space, size_t wanted)
{
	int status;
	size_t n_stock = 0;
	double stock[STOCK_WALKS];
	unw_addr_space_t as = unw_create_addr_space(&_UPT_accessors, 0);
	void *upt = _UPT_create(pid);
	must(as != NULL && upt != NULL, "libunwind");
	unw_set_caching_policy(as, UNW_CACHE_NONE);
	must(ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0, "attach");
	for (size_t i = 0; i < wanted; i++) {
		usleep(500 + (unsigned)rand() % 2000);
		must(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0 && waitpid(pid, &status, __WALL) == pid &&
				WIFSTOPPED(status),
			"stop");
		take(space, &snapshots[i]);
		if (i % 16 == 0 && n_stock < STOCK_WALKS) {
			double begin = now_us();
			walk_by_ptrace(as, upt);
			stock[n_stock++] = now_us() - begin;
		}
		must(ptrace(PTRACE_CONT, pid, NULL,
			     (void *)(intptr_t)(status >> 16 == 0 ? WSTOPSIG(status) : 0)) == 0,
			"go on");
	}
	must(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0 && waitpid(pid, &status, __WALL) == pid, "stop");
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	printf("ptrace us_a_stack %.2f\n", median(stock, n_stock));
	_UPT_destroy(upt);
	unw_destroy_addr_space(as);
	return wanted;
}

/* All tables of the process, each file once. */
static void compile_all(const struct space *space)
{
	size_t tables = 0, rows = 0;
	double begin = now_us();
	for (uint32_t id = 0; id < space_count(space); id++) {
		const struct image *image = space_mapping(space, id)->image;
		bool again = image == NULL;
		for (uint32_t before = 0; before < id && !again; before++)
			again = space_mapping(space, before)->image == image;
		struct rows *compiled = again ? NULL : rows_compile(image, false);
		if (compiled == NULL)
			continue;
		tables++;
		rows += rows_count(compiled);
		rows_free(compiled);
	}
	printf("tables %zu rows %zu ms %.2f\n", tables, rows, (now_us() - begin) / 1e3);
}

typedef void walker(void *by, const struct snapshot *snapshot, struct stack *out);

static void walk_by_rows(void *by, const struct snapshot *snapshot, struct stack *out)
{
	unwinder_walk(by, snapshot, out);
}

static void walk_by_library(void *by, const struct snapshot *snapshot, struct stack *out)
{
	library_walk(by, snapshot, out);
}

/* The median over the snapshots of the fastest of some rounds, so that others' work on the machine counts
 * little. */
static void measure(const char *name, walker *walk, void *by, size_t n)
{
	size_t frames = 0, complete = 0;
	double sum = 0;
	for (size_t i = 0; i < n; i++) {
		struct stack stack;
		double best = 0;
		for (int round = 0; round < ROUNDS; round++) {
			double begin = now_us();
			for (int repeat = 0; repeat < REPEATS; repeat++)
				walk(by, &snapshots[i], &stack);
			double took = (now_us() - begin) / REPEATS;
			best = round == 0 || took < best ? took : best;
		}
		times_us[i] = best;
		sum += best;
		frames += stack.n;
		complete += stack.why == STOP_ROOT;
	}
	printf("%s us_a_stack %.3f ns_a_frame %.1f frames %.1f complete %zu of %zu\n", name,
		median(times_us, n), 1e3 * sum / (double)frames, (double)frames / (double)n, complete, n);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fputs("usage: walks SNAPSHOTS PID\n", stderr);
		return 64;
	}
	size_t wanted = strtoul(argv[1], NULL, 10);
	pid = (pid_t)strtol(argv[2], NULL, 10);
	struct space *space = space_new(&(struct space_source){NULL, open_file, read_target, NULL}, "");
	must(space != NULL, "memory");
	update_space(space);
	size_t n = take_all(space, wanted < 1 ? 1 : wanted < SNAPSHOTS_MAX ? wanted : SNAPSHOTS_MAX);
	compile_all(space);
	struct unwinder *unwinder = unwinder_new(space, DEPTH);
	struct library *library = library_new(space), *cached = library_new(space);
	must(unwinder != NULL && library != NULL && cached != NULL, "memory");
	library_cache(cached);
	measure("rows", walk_by_rows, unwinder, n);
	measure("libunwind", walk_by_library, cached, n);
	measure("libunwind_uncached", walk_by_library, library, n);
	for (size_t i = 0; i < n; i++)
		free(snapshots[i].region[0].bytes);
	library_free(library);
	library_free(cached);
	unwinder_free(unwinder);
	space_free(space);
	return 0;
}
