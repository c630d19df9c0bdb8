#include "attach/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A program chooses its own name: let it not choose a folder, or look like an option. */
static void file_name_of(const char *name, char out[64])
{
	size_t n = 0;
	for (; *name != '\0' && n < 63; name++) {
		bool fit = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
			   (*name >= '0' && *name <= '9') || strchr("-_.+", *name) != NULL;
		out[n++] = fit ? *name : '_';
	}
	out[n] = '\0';
}

/* What stands for %letter; NULL if nothing does. */
static const char *expansion(char letter, const char *pid, const char *name, const char *stamp)
{
	switch (letter) {
	case 'p':
		return pid;
	case 'n':
		return name;
	case 't':
		return stamp;
	case '%':
		return "%";
	default:
		return NULL;
	}
}

int output_expand(
	const char *pattern, pid_t pid, const char *name, time_t when, char path[PATH_MAX], struct error *err)
{
	char pid_text[16], name_text[64], stamp[32], out[PATH_MAX];
	struct tm local;
	size_t n = 0;
	snprintf(pid_text, sizeof pid_text, "%d", pid);
	file_name_of(name, name_text);
	if (localtime_r(&when, &local) == NULL || strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%S", &local) == 0)
		stamp[0] = '\0';
	for (const char *p = pattern; *p != '\0'; p++) {
		const char *with = *p == '%' ? expansion(p[1], pid_text, name_text, stamp) : NULL;
		char literal[2] = {*p, '\0'};
		if (with != NULL)
			p++;
		else
			with = literal;
		size_t len = strlen(with);
		if (sizeof out - n <= len)
			return error_set(err, "the output file's name is too long: give a shorter one with -o");
		memcpy(out + n, with, len);
		n += len;
	}
	out[n] = '\0';
	memcpy(path, out, n + 1);
	return 0;
}

static int open_stdout(bool for_terminals, struct output *output, struct error *err)
{
	if (!for_terminals && isatty(STDOUT_FILENO))
		return error_set(err,
			"this is not for reading and standard output is a terminal: redirect it, or "
			"name a file with -o");
	output->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (output->fd < 0)
		return error_set(err, "standard output is closed: name a file with -o");
	return 0;
}

/* mkstemp makes the file for its owner only; a file that users send on should have the permissions that any new
 * file has. */
static void use_ordinary_mode(int fd)
{
	mode_t mask = umask(0);
	umask(mask);
	if (fchmod(fd, 0666 & ~mask) != 0)
		return; /* a file system without modes */
}

static int open_temporary(struct output *output, struct error *err)
{
	struct stat st;
	const char *slash = strrchr(output->path, '/');
	int folder = slash != NULL ? (int)(slash - output->path + 1) : 0;
	const char *file = output->path + folder;
	if (*file == '\0' || (stat(output->path, &st) == 0 && S_ISDIR(st.st_mode)))
		return error_set(err, "%s is a folder: give the name of a file in it", output->path);
	int n = snprintf(
		output->temporary, sizeof output->temporary, "%.*s.%s.XXXXXX", folder, output->path, file);
	if (n < 0 || (size_t)n >= sizeof output->temporary)
		return error_set(err, "the output file's name is too long: give a shorter one with -o");
	output->fd = mkostemp(output->temporary, O_CLOEXEC);
	if (output->fd < 0) {
		int saved = errno;
		output->temporary[0] = '\0';
		return error_set(err, "cannot write in %.*s: %s: choose another place with -o",
			folder > 0 ? folder : 18, folder > 0 ? output->path : "the current folder",
			strerror(saved));
	}
	use_ordinary_mode(output->fd);
	return 0;
}

/* /dev/null, a named pipe and the like are written to as they are: a rename would replace them. */
static bool is_special(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

int output_open(const char *path, bool for_terminals, struct output *output, struct error *err)
{
	*output = (struct output){.fd = -1};
	if ((size_t)snprintf(output->path, sizeof output->path, "%s", path) >= sizeof output->path)
		return error_set(err, "the output file's name is too long: give a shorter one with -o");
	if (strcmp(path, "-") == 0)
		return open_stdout(for_terminals, output, err);
	if (!is_special(path))
		return open_temporary(output, err);
	output->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (output->fd < 0)
		return error_set(
			err, "cannot write %s: %s: choose another place with -o", path, strerror(errno));
	return 0;
}

int output_commit(struct output *output, struct error *err)
{
	/* Some file systems report a full disk only when the file is closed. */
	int closed = close(output->fd), saved = errno;
	output->fd = -1;
	if (closed != 0)
		return error_set(err, "cannot write %s: %s: choose another place with -o", output->path,
			strerror(saved));
	if (output->temporary[0] == '\0')
		return 0;
	if (rename(output->temporary, output->path) != 0)
		return error_set(err, "cannot name the profile %s: %s: choose another place with -o",
			output->path, strerror(errno));
	output->temporary[0] = '\0';
	return 0;
}

void output_discard(struct output *output)
{
	if (output->fd >= 0)
		close(output->fd);
	output->fd = -1;
	if (output->temporary[0] != '\0')
		unlink(output->temporary);
	output->temporary[0] = '\0';
}
