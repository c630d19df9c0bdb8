#include "attach/situation.h"

#include "attach/target.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

/* ---- us ---- */

/* Yama's setting (Documentation/admin-guide/LSM/Yama.rst). */
static int read_scope(void)
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

/* The first user namespace maps all IDs to themselves (user_namespaces(7)). */
static bool in_own_namespace(void)
{
	char map[256];
	unsigned long long inside, outside, len;
	if (identity_file(getpid(), "uid_map", map, sizeof map) <= 0)
		return false;
	return sscanf(map, "%llu %llu %llu", &inside, &outside, &len) != 3 || inside != 0 || outside != 0 ||
	       len != UINT32_MAX;
}

/* A process may always read itself. */
static bool readv_is_forbidden(void)
{
	char from = 1, to = 0;
	struct iovec local = {&to, 1}, remote = {&from, 1};
	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != 1;
}

static void read_kernel(unsigned version[2])
{
	struct utsname name;
	if (uname(&name) != 0 || sscanf(name.release, "%u.%u", &version[0], &version[1]) != 2)
		version[0] = version[1] = 0;
}

void ourselves_read(enum ask_ptrace ask, struct ourselves *us)
{
	*us = (struct ourselves){.scope = read_scope(), .own_namespace = in_own_namespace()};
	if (identity_read(getpid(), &us->id) != 0)
		us->id = (struct identity){.pid = getpid(), .process = getpid()};
	us->id.uid[0] = getuid();
	us->id.uid[1] = geteuid();
	us->id.gid[0] = getgid();
	read_kernel(us->kernel);
	us->readv_forbidden = readv_is_forbidden();
	us->ptrace_forbidden = ask == PTRACE_ASKED && us->id.seccomp == 2 && target_ptrace_is_filtered();
}

/* ---- them ---- */

static void name_other(struct situation *situation, pid_t other)
{
	struct identity id;
	situation->other = other;
	if (identity_read(other, &id) != 0)
		return;
	memcpy(situation->other_name, id.name, sizeof id.name);
	situation->other = id.process;
}

/* Of the program, if we may read it: to ask for the class of a program by its first bytes touches nothing. */
static void read_architecture(struct situation *situation)
{
	char path[64];
	Elf64_Ehdr header;
	snprintf(path, sizeof path, "/proc/%d/exe", situation->pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return;
	/* Up to e_machine both classes have the same layout. */
	if (pread(fd, &header, sizeof header, 0) >= (ssize_t)sizeof(Elf32_Ehdr) &&
		memcmp(header.e_ident, ELFMAG, SELFMAG) == 0) {
		situation->elf_class = header.e_ident[EI_CLASS];
		situation->machine = header.e_machine;
	}
	close(fd);
}

void situation_read(const struct ourselves *us, pid_t pid, struct situation *situation)
{
	*situation = (struct situation){.pid = pid, .us = us, .exists = true, .visible = true};
	if (identity_read(pid, &situation->them) != 0) {
		situation->visible = false;
		situation->exists = kill(pid, 0) == 0 || errno == EPERM;
		return;
	}
	const struct identity *them = &situation->them;
	if (them->process != pid)
		name_other(situation, them->process);
	else if (them->state == 'Z' || them->state == 'X')
		name_other(situation, them->parent);
	else if (them->tracer != 0)
		name_other(situation, them->tracer);
	if (!them->kernel_thread)
		read_architecture(situation);
}

/* ---- what the kernel says ---- */

/* Which address is read does not matter as long as nobody has it: the kernel first asks whether we may, and
 * then finds nothing there. This is the first one beyond those of programs. */
static const uintptr_t NOBODYS = UINT64_C(1) << 63;

static int ask_by_readv(pid_t pid)
{
	char byte;
	struct iovec local = {&byte, 1}, remote = {NULL, 1};
	memcpy(&remote.iov_base, &NOBODYS, sizeof NOBODYS);
	if (process_vm_readv(pid, &local, 1, &remote, 1, 0) >= 0 || errno == EFAULT)
		return 0;
	return errno;
}

/* Reading this file asks for the same right (proc_pid_syscall(5)), and does not need memory: a leader that has
 * ended, and whose threads go on, has none. Its mode says that it is its owner's. */
static int ask_by_file(pid_t pid)
{
	char text[256];
	if (identity_file(pid, "syscall", text, sizeof text) >= 0)
		return 0;
	return errno == EACCES || errno == EPERM ? EPERM : errno == ENOENT ? ESRCH : 0;
}

void situation_ask(struct situation *situation)
{
	int refusal = situation->us->readv_forbidden ? ESRCH : ask_by_readv(situation->pid);
	if (refusal == ESRCH)
		refusal = ask_by_file(situation->pid);
	if (refusal == 0 && situation->us->ptrace_forbidden)
		refusal = EPERM;
	if (refusal != 0)
		situation_explain(situation, refusal);
}

static enum namespace_seen see_namespace(pid_t pid)
{
	char path[64], ours[128], theirs[128];
	snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
	ssize_t n = readlink("/proc/self/ns/user", ours, sizeof ours),
		m = readlink(path, theirs, sizeof theirs);
	if (n < 0 || m < 0)
		return NAMESPACE_NOT_SEEN;
	return n == m && memcmp(ours, theirs, (size_t)n) == 0 ? NAMESPACE_OURS : NAMESPACE_OTHER;
}

/* A process that changed its IDs or may not be read belongs to root in /proc (proc(5), "dumpable"). */
static bool is_undumpable(pid_t pid)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	return stat(path, &st) == 0 && st.st_uid != getuid() && st.st_uid == 0;
}

void situation_explain(struct situation *situation, int refusal)
{
	situation->refusal = refusal;
	situation->user_namespace = see_namespace(situation->pid);
	situation->undumpable = is_undumpable(situation->pid);
}
