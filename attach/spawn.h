/* Starts the program to be profiled: it waits, before its first instruction, until somebody is ready to watch.
 */
#ifndef ATTACH_SPAWN_H
#define ATTACH_SPAWN_H

#include "unwind/error.h"

#include <limits.h>
#include <sys/types.h>

/* As a shell has them, and env(1) and timeout(1): ours went wrong; the program cannot be run; there is none. */
enum { SPAWN_FAILED = 125, SPAWN_NOT_EXECUTABLE = 126, SPAWN_NOT_FOUND = 127 };

struct spawn {
	pid_t pid;
	int go_fd; /* a byte written here lets it begin; closed unwritten: it ends with SPAWN_FAILED */
	int failure_fd; /* after a failed exec: its errno */
	char path[PATH_MAX]; /* of the program */
};

/* Forks, and has the child wait. argv[0] is looked for as execvp(3) does. Signals are as the caller has them
 * now. 0, or one of the exit codes above with the reason. */
int spawn_start(char *const argv[], struct spawn *spawn, struct error *err);
/* 0, or the errno of the exec that failed. */
int spawn_failure(const struct spawn *spawn);
/* The exit code that a shell would show for this waitpid(2) status. */
int spawn_exit_code(int status);
/* Lets a child that still waits end. */
void spawn_close_go(struct spawn *spawn);
void spawn_close(struct spawn *spawn);

#endif
