/* One process as /proc/PID/status and /proc/PID/stat show it (proc_pid_status(5), proc_pid_stat(5)): who it is,
 * whose it is, what it may. Both are open to everyone who sees the process at all; nothing of it is touched. */
#ifndef ATTACH_IDENTITY_H
#define ATTACH_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct identity {
	pid_t pid;
	pid_t process; /* the process that it is a thread of: `pid`, but for a thread's ID */
	pid_t own_pid; /* in its own PID namespace */
	pid_t parent, tracer; /* the tracer by its thread; 0 none */
	uid_t uid[3]; /* real, effective, saved */
	gid_t gid[3];
	uint64_t permitted, effective; /* capabilities */
	int seccomp; /* 0 none, 1 strict, 2 a filter */
	int threads;
	char state; /* R S D T t Z X I */
	bool kernel_thread;
	uint64_t started; /* in clock ticks after the system's start */
	char name[16]; /* comm; any bytes */
};

/* Returns 0, or -1 with errno: ENOENT or ESRCH when there is no such process to be seen. */
int identity_read(pid_t pid, struct identity *out);
/* The same from the two files' texts; false when they are none. Pure. */
bool identity_parse(const char *status, const char *stat, struct identity *out);

/* Reads a small file of /proc whole into buffer (terminated). Returns its length, -1 with errno. */
ssize_t identity_file(pid_t pid, const char *name, char *buffer, size_t cap);

#endif
