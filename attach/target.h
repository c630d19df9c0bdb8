/* One process and its threads: its identity in /proc, what is read without stopping, and every ptrace call
 * there is.
 *
 * A thread is seized (PTRACE_SEIZE) when it is first to be stopped, not before: one that sleeps all the time
 * never gets a tracer. Only the thread of ours that seized it may use a ptrace call on it (ptrace(2)); when
 * that thread of ours ends, the kernel detaches whatever is left, without stopping anything. */
#ifndef ATTACH_TARGET_H
#define ATTACH_TARGET_H

#include "unwind/error.h"
#include "unwind/space.h"
#include "unwind/types.h"

#include <sys/user.h>
#include <time.h>

/* The kernel's accounting of a thread (Documentation/scheduler/sched-stats.rst): nanoseconds on a CPU,
 * nanoseconds waiting for one, and how often it was put on one. The first is exact once the thread has stopped
 * or sleeps. */
struct schedstat {
	uint64_t run_ns, wait_ns, count;
};

/* How often a thread has left its CPU: for it waited for something, and for another thread
 * (proc_pid_status(5)). */
struct switches {
	uint64_t left, lost;
};

/* Where a thread that is not running waits (proc_pid_syscall(5)). nr is -1 when it is not in a system call. */
struct blocked {
	int nr;
	uint64_t argument[6]; /* of the call; 0 without one */
	uint64_t sp, pc;
};

struct thread {
	pid_t tid;
	/* Kept open: a read then costs a fifth. -1 when descriptors are few; the last two until
	 * thread_keep_files(). */
	int schedstat_fd, syscall_fd, stat_fd, status_fd;
	char name[16];
	bool seized;
	bool interrupted; /* asked to stop, has not yet */
	bool listening; /* in a group stop (SIGSTOP and the like), left in it by PTRACE_LISTEN */
};

struct target {
	pid_t pid;
	pid_t live_tid; /* a thread that has not ended: the leader, as long as it lives; files are opened
			   through it */
	char name[16]; /* comm */
	char exe[4096]; /* readlink of /proc/PID/exe, " (deleted)" cut; "" for want of permission */
	int task_fd; /* /proc/PID/task */
	int maps_fd; /* as last read; -1 before */
	bool is_ours; /* a child of ours: nobody else waits for its end */
	int files; /* how many descriptors we may have */
	clockid_t cpu_clock; /* CPU time of all threads, past ones included (clock_getcpuclockid(3)) */
};

/* Looks at `pid` without touching it. Refuses what cannot be profiled: no such process, a thread's ID, a kernel
 * thread, a zombie, ourselves, one held by another tracer, another architecture. */
int target_open(pid_t pid, struct target *target, struct error *err);
/* A process that has us as its tracer from its beginning on. -1 with errno: ESRCH when it is gone, EACCES when
 * we may not look at it, ENOEXEC when its program is not for x86-64. */
int target_open_child(pid_t pid, struct target *target);
void target_close(struct target *target);
/* Its program is another now: the name, and the file. -1 with errno ENOEXEC as above. */
int target_read_program(struct target *target);

/* Opens the thread's files. Returns -1 when the thread is gone. */
int thread_open(const struct target *target, pid_t tid, struct thread *thread);
void thread_close(struct thread *thread);

/* Calls each(context, tid) for every thread now there. Returns their number, -1 when the process is gone. */
int target_each_thread(const struct target *target, void (*each)(void *context, pid_t tid), void *context);
/* Where the leader's stack starts (field 28 of proc_pid_stat(5)); 0 for want of permission. Changes with exec.
 */
uint64_t target_stack_start(const struct target *target);
/* How many threads there are now, without listing them; -1 when the process is gone. */
int target_thread_count(const struct target *target);

/* The following return 0, or -1 when the thread is gone (or, for thread_blocked, may not be read). */
int thread_schedstat(const struct target *target, const struct thread *thread, struct schedstat *out);
int thread_state(const struct target *target, const struct thread *thread, char *letter); /* R S D T t Z X I */
/* The CPU that it runs on, or ran on last. */
int thread_cpu(const struct target *target, const struct thread *thread);
/* For a thread that thread_cpu() and thread_switches() are asked about again and again. */
void thread_keep_files(const struct target *target, struct thread *thread);
int thread_switches(const struct target *target, const struct thread *thread, struct switches *out);
int thread_read_name(const struct target *target, struct thread *thread);
/* Returns 1 and fills *out when the thread waits, 0 when it is running or ready to run. */
int thread_blocked(const struct target *target, const struct thread *thread, struct blocked *out);

/* Copies target memory through thread `tid` without stopping anything; stops at the first unreadable page. */
size_t target_read(pid_t tid, uint64_t address, void *buffer, size_t len);
/* All of /proc/PID/maps, to be freed; NULL when the process is gone. A thread other than the leader is asked
 * when the leader has ended (its maps are then empty). The file stays open, for target_still_has(). */
char *target_maps(struct target *target, pid_t tid, size_t *len);
/* Is the mapping still there as it was when maps were read? True, too, where the kernel cannot tell (before
 * Linux 6.11), or the whole memory is gone. */
bool target_still_has(const struct target *target, const struct map *map);
/* A descriptor of the very file behind `map`: through map_files where we may, else by path, checked by device
 * and inode. -1 if none. */
int target_open_file(const struct target *target, const struct map *map);
/* A descriptor of the perf map that the target's runtime may have written (symbols/perfmap.h):
 * /tmp/perf-PID.map in its own root, by its PID in its own namespace. A regular file of the target's user or of
 * root; -1 none. */
int target_open_perfmap(const struct target *target);
/* What thread `tid` has open as `fd`, as readlink of /proc/PID/task/TID/fd shows it: "/var/log/x",
 * "socket:[1]". -1 for want of permission, or there is none. */
int target_file_name(const struct target *target, pid_t tid, int fd, char *name, size_t size);
/* The flags of open(2) with which thread `tid` has `fd` open. */
int target_file_flags(const struct target *target, pid_t tid, int fd, int *flags);
/* CPU nanoseconds of the process since it started; -1 when it is gone. */
int target_cpu_ns(const struct target *target, uint64_t *ns);
/* What the threads of the process show of us, by /proc/PID/task/TID/status. */
struct target_traces {
	size_t threads, traced; /* seen; of them with us as their tracer */
	size_t stopped; /* in state T or t */
};
void target_inspect(const struct target *target, struct target_traces *found);

/* Does a seccomp filter forbid us ptrace(2)? Asked by a call for process 0, which there is not. A filter may
 * also kill us for it. */
bool target_ptrace_is_filtered(void);

/* ptrace, by the one thread of ours that seized. All return 0, or -1 with errno (ESRCH: not stopped or gone,
 * which is normal). */
int thread_seize(struct thread *thread);
/* The same, and whatever threads and processes the thread begins have us as their tracer from their first
 * instruction on. Each stops once for that, and so does the thread (TARGET_BRANCH). Of one that has us already
 * it is known, and that is all. */
int thread_seize_family(struct thread *thread);
int thread_interrupt(struct thread *thread);
int thread_get_regs(const struct thread *thread, struct user_regs_struct *regs);
int thread_set_regs(const struct thread *thread, const struct user_regs_struct *regs);
int thread_continue(struct thread *thread, int signal);
int thread_listen(struct thread *thread);

/* What a waitpid(2) status of a seized thread means. */
enum stop_kind {
	TARGET_GONE, /* exited or was killed: reaped */
	TARGET_STOPPED, /* our interrupt: take the sample, continue without a signal */
	TARGET_SIGNAL, /* about to get a signal: take the sample, continue with that same signal */
	TARGET_GROUP, /* job control stopped it: listen */
	TARGET_EXEC, /* exec: other threads are gone, the maps are new */
	TARGET_BRANCH, /* it has begun a thread or a process: continue */
};
struct wait_event {
	pid_t tid;
	enum stop_kind kind;
	int signal; /* for TARGET_SIGNAL */
	int status; /* of waitpid(2) */
	bool has_cpu; /* the whole process, if it is ours, has ended, and used this: */
	uint64_t cpu_ns;
	char name[16]; /* its name then (target_wait_family) */
};
/* The next thing that happened to a thread seized by the calling thread; never waits. Returns 1 and fills
 * *event, 0 when nothing happened, -1 when no seized thread is left. */
int target_wait(const struct target *target, struct wait_event *event);
/* The same for threads of any number of processes: of each that ends has_cpu is set. `tid` 0: any thread, and
 * of several the kernel names the youngest. */
int target_wait_family(pid_t tid, struct wait_event *event);
bool target_is_traced_by_us(pid_t tid);
/* Is `tid` a process's first thread, whose ID is the process's? */
bool target_is_leader(pid_t tid);
/* Nothing is known of the thread that has stopped: it goes on as it would have without us. */
void target_pass_on(const struct wait_event *event);
/* Calls each(context, pid, parent) for every process there is. -1 when /proc cannot be read. */
int target_each_process(void (*each)(void *context, pid_t pid, pid_t parent), void *context);
/* The name (comm) of a process, also of one that has ended and was not reaped; "" when there is none. */
void target_name(pid_t pid, char name[16]);

#endif
