#include "symbols/confine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Sanitizers reserve terabytes of address space, and open files to report. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#if !defined(SANITIZED) && defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* "nobody" of every distribution; the kernel's overflowuid. */
static const uid_t NOBODY = 65534;

/* ---- files ---- */

static int compare_ints(const void *a, const void *b)
{
	const int *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static bool close_between(unsigned first, unsigned last)
{
	return first > last || syscall(SYS_close_range, first, last, 0) == 0;
}

/* Before Linux 5.9 there is no close_range(2). */
static bool close_listed(const int *kept, size_t n)
{
	DIR *folder = opendir("/proc/self/fd");
	if (folder == NULL)
		return false;
	for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
		int fd = (int)strtol(entry->d_name, NULL, 10);
		if (entry->d_name[0] != '.' && fd != dirfd(folder) &&
			bsearch(&fd, kept, n, sizeof *kept, compare_ints) == NULL)
			close(fd);
	}
	closedir(folder);
	return true;
}

static bool close_others(const int *keep, size_t n, int out)
{
	int *kept = calloc(n + 2, sizeof *kept);
	if (kept == NULL)
		return false;
	for (size_t i = 0; i < n; i++)
		kept[i] = keep[i];
	kept[n++] = out;
	if (SANITIZED)
		kept[n++] = STDERR_FILENO;
	qsort(kept, n, sizeof *kept, compare_ints);
	unsigned next = 0;
	bool done = true;
	for (size_t i = 0; i < n && done; i++) {
		done = kept[i] <= 0 || close_between(next, (unsigned)kept[i] - 1);
		next = (unsigned)kept[i] + 1;
	}
	done = (done && close_between(next, ~0u)) || close_listed(kept, n);
	free(kept);
	return done;
}

/* ---- limits ---- */

static bool limit_between(int resource, rlim_t soft, rlim_t hard)
{
	struct rlimit now;
	if (getrlimit(resource, &now) != 0)
		return false;
	struct rlimit wanted = {
		soft < now.rlim_max ? soft : now.rlim_max, hard < now.rlim_max ? hard : now.rlim_max};
	return setrlimit(resource, &wanted) == 0;
}

static bool limit(int resource, rlim_t value)
{
	return limit_between(resource, value, value);
}

static uint64_t address_space_bytes(void)
{
	char text[64];
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Where memory runs out all the same, the kernel is to end this process, and not the target that may be in the
 * same container. Raising one's own score is always allowed. */
static void volunteer_for_oom(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, "1000", 4);
	close(fd);
}

static bool limit_all(const struct confine_limits *limits)
{
	/* At the soft limit comes SIGXCPU, which says what it was; at the hard one SIGKILL. */
	bool done = limit_between(RLIMIT_CPU, limits->cpu_seconds, limits->cpu_seconds + 1);
	if (!SANITIZED)
		done &= limit(RLIMIT_AS, address_space_bytes() + limits->memory_bytes);
	done &= limit(RLIMIT_CORE, 0);
	done &= limit(RLIMIT_FSIZE, 0); /* a pipe has no size */
	done &= limit(RLIMIT_NPROC, 0);
	return done && (SANITIZED || limit(RLIMIT_NOFILE, 0));
}

/* ---- privileges ---- */

static bool drop_user(void)
{
	if (geteuid() != 0 && getuid() != 0)
		return true;
	/* In a user namespace setgroups(2) may be forbidden, where there are no groups that matter. */
	bool groups = setgroups(0, NULL) == 0 || errno == EPERM;
	return groups && setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0;
}

static bool drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
	return syscall(SYS_capset, &header, none) == 0;
}

/* ---- system calls ---- */

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ARGUMENT(i) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * (i))
#define ANSWER(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), ANSWER(SECCOMP_RET_ALLOW)
/* With memory that can be executed forbidden; the protection is the third argument of both calls. */
#define ALLOW_WITHOUT_EXEC(name)                                                                               \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 4), ARGUMENT(2),                                    \
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0), ANSWER(SECCOMP_RET_ALLOW),              \
		ANSWER(REFUSE)
#define ALLOW_TO(name, fd)                                                                                     \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 4), ARGUMENT(0),                                    \
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(fd), 0, 1), ANSWER(SECCOMP_RET_ALLOW),          \
		ANSWER(REFUSE)

/* An error, not death: libraries ask for things that they can do without (qsort for the memory's size, libdw
 * for the name of a link), and what they will ask for in their next version is not known. */
#define REFUSE (SECCOMP_RET_ERRNO | EPERM)

static bool filter_system_calls(int out)
{
	struct sock_filter filter[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		ANSWER(SECCOMP_RET_KILL),
		LOAD(nr),
		ALLOW(pread64),
		ALLOW(read),
		ALLOW(lseek),
		ALLOW(fstat),
		ALLOW(munmap),
		ALLOW(mremap),
		ALLOW(madvise),
		ALLOW(brk),
		ALLOW(futex),
		ALLOW(sysinfo),
		ALLOW(clock_gettime),
		ALLOW(close),
		ALLOW(rt_sigreturn),
		ALLOW(exit),
		ALLOW(exit_group),
		ALLOW_WITHOUT_EXEC(mmap),
		ALLOW_WITHOUT_EXEC(mprotect),
		ALLOW_TO(write, out),
		ANSWER(REFUSE),
	};
	struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* A fault ends this process, whatever its parent does at one. */
static void default_faults(void)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGXCPU};
	for (size_t i = 0; i < sizeof faults / sizeof *faults && !SANITIZED; i++)
		signal(faults[i], SIG_DFL);
}

unsigned confine(const int *keep, size_t n, int out, const struct confine_limits *limits)
{
	unsigned missing = 0;
	default_faults();
	volunteer_for_oom();
	if (!close_others(keep, n, out))
		missing |= CONFINE_FILES;
	if (!limit_all(limits))
		missing |= CONFINE_LIMITS;
	if (!drop_user())
		missing |= CONFINE_USER;
	if (!drop_capabilities())
		missing |= CONFINE_CAPABILITIES;
	/* After the change of user, which would undo it: nobody's other processes may not look into this one,
	 * and it does not outlive us. */
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || SANITIZED || !filter_system_calls(out))
		missing |= CONFINE_SYSTEM_CALLS;
	return missing;
}

const char *confine_words(unsigned missing)
{
	static const char *const words[] = {"it stays root", "it keeps capabilities",
		"system calls are not filtered", "memory and CPU time are not limited",
		"other files stay open"};
	static char text[192];
	size_t len = 0;
	text[0] = '\0';
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if ((missing >> i & 1) != 0)
			len += (size_t)snprintf(
				text + len, sizeof text - len, "%s%s", len > 0 ? ", " : "", words[i]);
	return text;
}
