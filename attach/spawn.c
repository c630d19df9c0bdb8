#include "attach/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_file(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* execvp(3): a name with a slash is a path; others are looked for in $PATH, the first that may be run, else the
 * first that is there. */
static int find(const char *name, char path[PATH_MAX], struct error *err)
{
	char candidate[PATH_MAX];
	bool found = false;
	const char *folders = getenv("PATH");
	if (strchr(name, '/') != NULL)
		folders = NULL;
	else if (folders == NULL)
		folders = "/bin:/usr/bin";
	do {
		size_t len = folders != NULL ? strcspn(folders, ":") : 0;
		int n = folders == NULL ? snprintf(candidate, sizeof candidate, "%s", name)
					: snprintf(candidate, sizeof candidate, "%.*s%s%s", (int)len, folders,
						  len > 0 ? "/" : "./", name);
		if (n > 0 && (size_t)n < sizeof candidate && is_file(candidate)) {
			found = true;
			snprintf(path, PATH_MAX, "%s", candidate);
			if (access(candidate, X_OK) == 0)
				return 0;
		}
		folders = folders != NULL && folders[len] == ':' ? folders + len + 1 : NULL;
	} while (folders != NULL);
	if (found) {
		error_set(err, "%s may not be executed: %s", path, strerror(EACCES));
		return SPAWN_NOT_EXECUTABLE;
	}
	error_set(err, "there is no program %s%s: check its name behind --", name,
		strchr(name, '/') != NULL ? "" : " in any folder of $PATH");
	return SPAWN_NOT_FOUND;
}

/* In the child. */
static void wait_and_run(char *const argv[], int go_fd, int failure_fd)
{
	char byte;
	ssize_t n;
	do
		n = read(go_fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(SPAWN_FAILED);
	execvp(argv[0], argv);
	int failure = errno;
	n = write(failure_fd, &failure, sizeof failure);
	_exit(n > 0 && failure == ENOENT ? SPAWN_NOT_FOUND : SPAWN_NOT_EXECUTABLE);
}

int spawn_start(char *const argv[], struct spawn *spawn, struct error *err)
{
	int go[2], failure[2];
	*spawn = (struct spawn){.go_fd = -1, .failure_fd = -1};
	int found = find(argv[0], spawn->path, err);
	if (found != 0)
		return found;
	if (pipe2(go, O_CLOEXEC) != 0) {
		error_set(err, "cannot start %s: %s", argv[0], strerror(errno));
		return SPAWN_FAILED;
	}
	/* Not to be waited for: a program that was killed before its exec wrote nothing. */
	if (pipe2(failure, O_CLOEXEC | O_NONBLOCK) == 0) {
		spawn->pid = fork();
		if (spawn->pid == 0) {
			close(go[1]);
			wait_and_run(argv, go[0], failure[1]);
		}
		close(failure[1]);
		spawn->failure_fd = failure[0];
	}
	close(go[0]);
	spawn->go_fd = go[1];
	if (spawn->failure_fd >= 0 && spawn->pid > 0)
		return 0;
	error_set(err, "cannot start %s: %s", argv[0], strerror(errno));
	spawn_close(spawn);
	return SPAWN_FAILED;
}

int spawn_failure(const struct spawn *spawn)
{
	int failure;
	ssize_t n = read(spawn->failure_fd, &failure, sizeof failure);
	return n == sizeof failure ? failure : 0;
}

int spawn_exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void spawn_close_go(struct spawn *spawn)
{
	if (spawn->go_fd >= 0)
		close(spawn->go_fd);
	spawn->go_fd = -1;
}

void spawn_close(struct spawn *spawn)
{
	spawn_close_go(spawn);
	if (spawn->failure_fd >= 0)
		close(spawn->failure_fd);
	spawn->failure_fd = -1;
}
