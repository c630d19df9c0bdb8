#include "attach/diagnose.h"
#include "attach/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A line of /proc/PID/status: its numbers, in the given base. Returns how many there were. */
static int status_line(pid_t pid, const char *key, int base, unsigned long long *values, int n)
{
	char path[64], line[512];
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	FILE *file = fopen(path, "re");
	size_t len = strlen(key);
	int found = 0;
	if (file == NULL)
		return 0;
	while (found == 0 && fgets(line, sizeof line, file) != NULL) {
		if (strncmp(line, key, len) != 0 || line[len] != ':')
			continue;
		char *p = line + len + 1, *end;
		for (; found < n; found++, p = end) {
			values[found] = strtoull(p, &end, base);
			if (end == p)
				break;
		}
	}
	fclose(file);
	return found;
}

static unsigned long long status_value(pid_t pid, const char *key, int base)
{
	unsigned long long value = 0;
	return status_line(pid, key, base, &value, 1) == 1 ? value : 0;
}

static bool have_ptrace_capability(void)
{
	return (status_value(getpid(), "CapEff", 16) >> CAP_SYS_PTRACE & 1) != 0;
}

/* Yama's setting (Documentation/admin-guide/LSM/Yama.rst), 0 where there is none. */
static int ptrace_scope(void)
{
	int scope = 0;
	FILE *file = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
	if (file == NULL)
		return 0;
	if (fscanf(file, "%d", &scope) != 1)
		scope = 0;
	fclose(file);
	return scope;
}

static bool same_user_namespace(pid_t pid)
{
	char path[64], ours[128], theirs[128];
	snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
	ssize_t n = readlink("/proc/self/ns/user", ours, sizeof ours),
		m = readlink(path, theirs, sizeof theirs);
	return n < 0 || m < 0 || (n == m && memcmp(ours, theirs, (size_t)n) == 0);
}

/* All of real, effective and saved user and group IDs of the target must be ours. */
static bool same_user(pid_t pid, unsigned long long *owner)
{
	unsigned long long ids[4] = {0}, groups[4] = {0};
	if (status_line(pid, "Uid", 10, ids, 4) != 4 || status_line(pid, "Gid", 10, groups, 4) != 4)
		return true;
	*owner = ids[1];
	for (int i = 0; i < 3; i++)
		if (ids[i] != getuid() || groups[i] != getgid())
			return false;
	return true;
}

/* A process that changed its IDs or may not be read belongs to root in /proc (proc(5), "dumpable"). */
static bool is_undumpable(pid_t pid)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	return stat(path, &st) == 0 && st.st_uid != getuid() && st.st_uid == 0;
}

static int refuse_without_capability(pid_t pid, const char *name, struct error *err)
{
	unsigned long long owner = 0;
	int scope = ptrace_scope();
	if (geteuid() == 0)
		return error_set(err,
			"cannot attach to %d (%s): Operation not permitted: this root lacks CAP_SYS_PTRACE, as "
			"in a container; run the "
			"container with --cap-add=SYS_PTRACE, or run cprof-attach on the host",
			pid, name);
	if (!same_user(pid, &owner))
		return error_set(err,
			"cannot attach to %d (%s): Operation not permitted: it belongs to another user (UID "
			"%llu, you are %u); run with "
			"sudo, or as that user",
			pid, name, owner, getuid());
	if (scope > 0)
		return error_set(err,
			"cannot attach to %d (%s): Operation not permitted: the kernel allows only root to "
			"trace other processes here "
			"(kernel.yama.ptrace_scope = %d); run with sudo",
			pid, name, scope);
	if (is_undumpable(pid))
		return error_set(err,
			"cannot attach to %d (%s): Operation not permitted: it protects itself from its own "
			"user (not dumpable, as programs "
			"with changed IDs or capabilities are); run with sudo",
			pid, name);
	return error_set(err,
		"cannot attach to %d (%s): Operation not permitted: it has capabilities that you lack, or a "
		"security module forbids it; run "
		"with sudo",
		pid, name);
}

int diagnose_refusal(pid_t pid, const char *name, int refusal, struct error *err)
{
	unsigned long long tracer = status_value(pid, "TracerPid", 10);
	if (refusal == ESRCH)
		return error_set(err, "process %d (%s) ended before it could be profiled: choose a running one",
			pid, name);
	if (refusal != EPERM && refusal != EACCES)
		return error_set(err,
			"cannot attach to %d (%s): %s: is the kernel older than 3.4, or memory out?", pid, name,
			strerror(refusal));
	if (tracer != 0)
		return error_set(err,
			"%d (%s) is being traced by process %d, and a process has one tracer: end that one "
			"first",
			pid, name, target_process_of((pid_t)tracer));
	if (!have_ptrace_capability())
		return refuse_without_capability(pid, name, err);
	if (!same_user_namespace(pid))
		return error_set(err,
			"cannot attach to %d (%s): Operation not permitted: it lives in another user "
			"namespace; run cprof-attach as root of "
			"the host",
			pid, name);
	if (status_value(getpid(), "Seccomp", 10) == 2)
		return error_set(err,
			"cannot attach to %d (%s): Operation not permitted: a seccomp filter forbids ptrace "
			"here, as containers do; run the "
			"container with --security-opt seccomp=unconfined, or run cprof-attach on the host",
			pid, name);
	if (ptrace_scope() == 3)
		return error_set(err,
			"cannot attach to %d (%s): Operation not permitted: this kernel forbids all tracing "
			"until the next boot "
			"(kernel.yama.ptrace_scope = 3); boot with another setting",
			pid, name);
	return error_set(err,
		"cannot attach to %d (%s): Operation not permitted although this process may trace: a security "
		"module (SELinux, AppArmor, "
		"Landlock) forbids it; see the kernel's audit log",
		pid, name);
}
