#include "attach/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PF_KTHREAD = 0x00200000 }; /* include/linux/sched.h, shown in field 9 of stat */

ssize_t identity_file(pid_t pid, const char *name, char *buffer, size_t cap)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
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

/* What follows "Key:" in status; NULL when it has no such line (an older kernel). */
static const char *value_of(const char *status, const char *key)
{
	size_t len = strlen(key);
	for (const char *line = status; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) == 0 && line[len] == ':')
			return line + len + 1;
	}
	return NULL;
}

static unsigned long long number_of(const char *status, const char *key, int base)
{
	const char *value = value_of(status, key);
	return value != NULL ? strtoull(value, NULL, base) : 0;
}

/* The last of the numbers of a line: "NStgid:\t1234\t7" has the PIDs from our namespace to its own. */
static pid_t last_of(const char *status, const char *key, pid_t otherwise)
{
	const char *value = value_of(status, key);
	char *end;
	while (value != NULL && *value != '\n' && *value != '\0') {
		long number = strtol(value, &end, 10);
		if (end == value)
			break;
		otherwise = (pid_t)number;
		value = end + strspn(end, " \t");
	}
	return otherwise;
}

/* "Uid:\t1000\t1000\t1000\t1000": real, effective, saved, and that of the file system. */
static bool take_ids(const char *status, const char *key, unsigned ids[3])
{
	const char *value = value_of(status, key);
	return value != NULL && sscanf(value, "%u %u %u", &ids[0], &ids[1], &ids[2]) == 3;
}

/* The name may hold any byte, also ") R 1": what follows it starts at the last ')'. */
static bool take_stat(const char *stat, struct identity *out)
{
	const char *begin = strchr(stat, '('), *end = strrchr(stat, ')');
	unsigned long flags;
	unsigned long long started;
	if (begin == NULL || end == NULL || end < begin ||
		sscanf(end + 1,
			" %c %*d %*d %*d %*d %*d %lu %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			&out->state, &flags, &started) != 3)
		return false;
	snprintf(out->name, sizeof out->name, "%.*s", (int)(end - begin - 1), begin + 1);
	out->kernel_thread = (flags & PF_KTHREAD) != 0;
	out->started = started;
	return true;
}

bool identity_parse(const char *status, const char *stat, struct identity *out)
{
	struct identity id = {.pid = (pid_t)number_of(status, "Pid", 10),
		.process = (pid_t)number_of(status, "Tgid", 10),
		.parent = (pid_t)number_of(status, "PPid", 10),
		.tracer = (pid_t)number_of(status, "TracerPid", 10),
		.permitted = number_of(status, "CapPrm", 16),
		.effective = number_of(status, "CapEff", 16),
		.seccomp = (int)number_of(status, "Seccomp", 10),
		.threads = (int)number_of(status, "Threads", 10)};
	if (id.pid <= 0 || id.process <= 0 || !take_ids(status, "Uid", id.uid) ||
		!take_ids(status, "Gid", id.gid) || !take_stat(stat, &id))
		return false;
	id.own_pid = last_of(status, "NStgid", id.process);
	*out = id;
	return true;
}

int identity_read(pid_t pid, struct identity *out)
{
	char status[16384], stat[1024]; /* status has all groups of a user */
	if (identity_file(pid, "status", status, sizeof status) < 0 ||
		identity_file(pid, "stat", stat, sizeof stat) < 0)
		return -1;
	if (identity_parse(status, stat, out))
		return 0;
	errno = ESRCH;
	return -1;
}
