/* The processes of the system that have a program: all but kernel threads, zombies and ourselves. */
#ifndef ATTACH_PROCESSES_H
#define ATTACH_PROCESSES_H

#include "attach/identity.h"
#include "attach/users.h"
#include "unwind/error.h"

enum { PROCESS_NAME = 64, PROCESS_COMMAND = 512 };

/* All texts are printable UTF-8. */
struct process {
	struct identity id;
	char user[USER_NAME];
	char name[64]; /* comm: 15 bytes at most, but for what its bytes became */
	char program[PROCESS_NAME]; /* base name of its program's file; "" when that may not be read */
	char called[PROCESS_NAME]; /* base name of what it was called by, argv[0]; "" none */
	char command[PROCESS_COMMAND]; /* the command line, cut; comm in brackets without one */
	dev_t device; /* its program's file; both 0 when that may not be read */
	ino_t inode;
	bool ours; /* runs us: a shell, sudo ... */
	uint64_t cpu_ns; /* CPU time of its life, when last read; 0 when it cannot be read */
	uint64_t read_ns; /* when that was, CLOCK_MONOTONIC */
	double cpu; /* the share of one CPU that it used between two readings */
};

struct processes {
	struct process *v;
	size_t n, cap;
};

/* Lists them, by PID. -1 when /proc is not there or memory is out. */
int processes_list(struct processes *list, struct error *err);
void processes_free(struct processes *list);

/* Waits until `window_ns` have gone by since the list was made, and fills `cpu`. */
void processes_measure(struct processes *list, uint64_t window_ns);
/* By CPU: what was used in the window, then in the whole life. */
void processes_sort(struct processes *list);

/* Keeps those whose names or command line have `pattern` in them, as it is or as an extended regular expression
 * (regex(7)). -1 when there is none: *err then names what is near. */
int processes_filter(struct processes *list, const char *pattern, struct error *err);

/* The one process that is called so: by comm, the base name of its program's file or of argv[0]. Those that are
 * called exactly so count before those that have it in their names. -1 when there is none or more than one:
 * *err names them. */
int processes_choose(const char *pattern, pid_t *pid, struct error *err);
/* The same from a list. Pure. */
int processes_choose_from(const struct processes *list, const char *pattern, pid_t *pid, struct error *err);

#endif
