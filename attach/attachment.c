#include "attach/attachment.h"

#include "attach/family.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void attachment_block_signals(void)
{
	sigset_t blocked;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	signal(SIGPIPE, SIG_IGN); /* write(2) then says EPIPE, and we say what it means */
}

/* ---- what the address space needs of the target ---- */

static int open_mapped_file(void *context, const struct map *map)
{
	return target_open_file(context, map);
}

static bool still_has(void *context, const struct mapping *mapping)
{
	struct map map = {.start = mapping->start,
		.end = mapping->end,
		.offset = mapping->offset,
		.inode = mapping->inode,
		.dev_major = mapping->dev_major,
		.dev_minor = mapping->dev_minor};
	return target_still_has(context, &map);
}

static size_t read_target_memory(void *context, uint64_t address, void *buffer, size_t len)
{
	const struct target *target = context;
	return target_read(target->live_tid, address, buffer, len);
}

/* ---- before ---- */

static int check_tids(const struct target *target, const struct options *options, struct error *err)
{
	for (size_t i = 0; i < options->n_tids; i++) {
		char path[64];
		snprintf(path, sizeof path, "/proc/%d/task/%d", target->pid, options->tids[i]);
		if (access(path, F_OK) != 0)
			return error_set(err,
				"process %d (%s) has no thread %d: ls /proc/%d/task shows which it has",
				target->pid, target->name, options->tids[i], target->pid);
	}
	return 0;
}

/* Two descriptors are kept open for each thread of the target, as many as are allowed. The table of
 * descriptors grows now, while we have a single thread: later every growth would wait for all CPUs
 * (synchronize_rcu in the kernel's expand_fdtable), and ticks would be late. */
static void make_room_for_files(struct target *target, bool subprocesses)
{
	struct rlimit limit;
	int threads = target_thread_count(target);
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	target->files = limit.rlim_cur < INT_MAX ? (int)limit.rlim_cur : INT_MAX;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || threads < 0)
		return;
	target->files = limit.rlim_cur < INT_MAX ? (int)limit.rlim_cur : INT_MAX;
	rlim_t wanted = 4 * (rlim_t)threads + (subprocesses ? 8192 : 1024);
	int highest = fcntl(
		target->task_fd, F_DUPFD_CLOEXEC, (int)(wanted < limit.rlim_max ? wanted : limit.rlim_max - 1));
	if (highest >= 0)
		close(highest);
}

/* A child that waits for its exec still looks like us. */
static void name_after(const char *program, struct target *target)
{
	const char *slash = strrchr(program, '/');
	char *absolute = realpath(program, NULL);
	snprintf(target->name, sizeof target->name, "%.15s", slash != NULL ? slash + 1 : program);
	snprintf(target->exe, sizeof target->exe, "%s", absolute != NULL ? absolute : program);
	target->is_ours = true;
	free(absolute);
}

struct space *attachment_space(struct target *target, struct space *other)
{
	return space_beside(
		other, &(struct space_source){target, open_mapped_file, read_target_memory, still_has});
}

void attachment_init(struct attachment *attachment)
{
	*attachment = (struct attachment){.target.task_fd = -1, .target.maps_fd = -1, .perfmap_fd = -1};
}

int attachment_open(
	const struct options *options, const char *program, struct attachment *attachment, struct error *err)
{
	struct target *target = &attachment->target;
	attachment_init(attachment);
	if (target_open(options->pid, target, err) != 0 || check_tids(target, options, err) != 0)
		return -1;
	if (program != NULL)
		name_after(program, target);
	make_room_for_files(target, options->subprocesses);
	attachment->perfmap_fd = target_open_perfmap(target);
	struct space_source source = {target, open_mapped_file, read_target_memory, still_has};
	attachment->space = space_new(&source, target->exe);
	if (attachment->space != NULL)
		attachment->unwinder = unwinder_new(attachment->space, options->max_depth);
	if (attachment->space != NULL)
		attachment->family = family_new(target, attachment->space, options->subprocesses);
	if (attachment->family == NULL || attachment->unwinder == NULL ||
		unwinder_use(attachment->unwinder, options->unwinder) != 0)
		return error_set(err, "not enough memory to start");
	return 0;
}

void attachment_close(struct attachment *attachment)
{
	if (attachment->perfmap_fd >= 0)
		close(attachment->perfmap_fd);
	unwinder_free(attachment->unwinder);
	family_free(attachment->family);
	space_free(attachment->space);
	target_close(&attachment->target);
	attachment->perfmap_fd = -1;
	attachment->unwinder = NULL;
	attachment->family = NULL;
	attachment->space = NULL;
}

/* ---- after ---- */

/* The kernel detaches when the sampling thread has ended, a moment after it was joined. Group stops of job
 * control are over, or not, as they were without us: a target that was stopped stays so. */
bool attachment_is_released(const struct attachment *attachment, bool job_stopped, struct target_traces *found)
{
	struct timespec moment = {0, 1000000};
	for (int i = 0; i < 2000; i++) {
		struct target_traces others;
		target_inspect(&attachment->target, found);
		family_inspect(attachment->family, &others);
		found->threads += others.threads;
		found->traced += others.traced;
		found->stopped += others.stopped;
		if (found->traced == 0 && (found->stopped == 0 || job_stopped))
			return true;
		nanosleep(&moment, NULL);
	}
	return false;
}

void attachment_warn(
	const struct attachment *attachment, const struct target_traces *found, struct error *warning)
{
	error_set(warning,
		"WARNING: the target was not left as it was found: %zu of its %zu threads are still traced, "
		"%zu stopped; it is let go when this program ends; if it stays stopped, and nobody else "
		"stopped it: kill -CONT %d",
		found->traced, found->threads, found->stopped, attachment->target.pid);
}
