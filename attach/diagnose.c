#include "attach/diagnose.h"

#include <elf.h>
#include <errno.h>
#include <linux/capability.h>
#include <string.h>

/* ---- what a process is: no right changes that ---- */

static bool is_ourselves(const struct situation *s)
{
	return s->pid == s->us->id.pid;
}

static void say_ourselves(const struct situation *s, struct error *err)
{
	error_set(
		err, "%d is cprof-attach itself, and a process cannot trace itself: give another PID", s->pid);
}

static bool is_hidden(const struct situation *s)
{
	return !s->visible && s->exists;
}

static void say_hidden(const struct situation *s, struct error *err)
{
	error_set(err,
		"cannot see process %d in /proc: /proc is hidden here (hidepid) or not mounted; run as root",
		s->pid);
}

static bool is_gone(const struct situation *s)
{
	return !s->visible;
}

static void say_gone(const struct situation *s, struct error *err)
{
	error_set(err, "there is no process %d (any more): find the PID with cprof-attach ps, with ps or pgrep",
		s->pid);
}

static bool is_thread(const struct situation *s)
{
	return s->them.process != s->pid;
}

static void say_thread(const struct situation *s, struct error *err)
{
	error_set(err, "%d is a thread of process %d (%s): profile it with -p %d --tid %d", s->pid,
		s->them.process, s->other_name, s->them.process, s->pid);
}

static bool is_kernel_thread(const struct situation *s)
{
	return s->them.kernel_thread;
}

static void say_kernel_thread(const struct situation *s, struct error *err)
{
	error_set(err, "%d (%s) is a kernel thread and has no program to profile: use perf for the kernel",
		s->pid, s->them.name);
}

/* A leader that called pthread_exit is a zombie, too, while its threads go on. */
static bool is_zombie(const struct situation *s)
{
	return (s->them.state == 'Z' || s->them.state == 'X') && s->them.threads <= 1;
}

static void say_zombie(const struct situation *s, struct error *err)
{
	error_set(err,
		"%d (%s) has ended and is a zombie until its parent %d (%s) collects it: nothing is left to "
		"profile; choose a running process",
		s->pid, s->them.name, s->other, s->other_name);
}

static bool is_traced(const struct situation *s)
{
	return s->them.tracer != 0;
}

static void say_traced(const struct situation *s, struct error *err)
{
	error_set(err,
		"%d (%s) is being traced by %s (PID %d), and a process has one tracer: end that one first",
		s->pid, s->them.name, s->other_name, s->other);
}

/* Only x86-64: the registers, the system calls and the unwind tables of others differ. */
static bool is_32_bit(const struct situation *s)
{
	return s->elf_class == ELFCLASS32;
}

static void say_32_bit(const struct situation *s, struct error *err)
{
	error_set(err,
		"%d (%s) is a 32-bit program: only 64-bit x86 programs can be profiled; try perf record -p %d",
		s->pid, s->them.name, s->pid);
}

static bool is_foreign(const struct situation *s)
{
	return s->machine != 0 && s->machine != EM_X86_64;
}

static void say_foreign(const struct situation *s, struct error *err)
{
	error_set(err,
		"%d (%s) is a program for another architecture (ELF machine %u): only x86-64 can be profiled",
		s->pid, s->them.name, s->machine);
}

/* ---- what the kernel refuses, and why ---- */

/* "cannot attach to 42 (postgres): Operation not permitted: " and the reason with its remedy. */
static void say_refused(const struct situation *s, struct error *err, const char *why)
{
	error_set(err, "cannot attach to %d (%s): Operation not permitted: %s", s->pid, s->them.name, why);
}

static bool has_ended(const struct situation *s)
{
	return s->refusal == ESRCH;
}

static void say_ended(const struct situation *s, struct error *err)
{
	error_set(err, "process %d (%s) ended before it could be profiled: choose a running one", s->pid,
		s->them.name);
}

/* PTRACE_SEIZE came with Linux 3.4. */
static bool is_old_kernel(const struct situation *s)
{
	const unsigned *version = s->us->kernel;
	return s->refusal != 0 && version[0] != 0 && (version[0] < 3 || (version[0] == 3 && version[1] < 4));
}

static void say_old_kernel(const struct situation *s, struct error *err)
{
	error_set(err,
		"cannot attach to %d (%s): this kernel is Linux %u.%u, and PTRACE_SEIZE needs 3.4: profile it "
		"on "
		"a newer one",
		s->pid, s->them.name, s->us->kernel[0], s->us->kernel[1]);
}

static bool is_other_failure(const struct situation *s)
{
	return s->refusal != 0 && s->refusal != EPERM && s->refusal != EACCES;
}

static void say_other_failure(const struct situation *s, struct error *err)
{
	error_set(err, "cannot attach to %d (%s): %s: is memory out?", s->pid, s->them.name,
		strerror(s->refusal));
}

static bool may_nobody(const struct situation *s)
{
	return s->refusal != 0 && s->us->scope == 3;
}

static void say_nobody_may(const struct situation *s, struct error *err)
{
	say_refused(s, err,
		"this kernel forbids all tracing until the next boot (kernel.yama.ptrace_scope = 3); boot with "
		"another setting");
}

static bool is_filtered(const struct situation *s)
{
	return s->refusal != 0 && s->us->ptrace_forbidden;
}

static void say_filtered(const struct situation *s, struct error *err)
{
	say_refused(s, err,
		"a seccomp filter forbids ptrace here, as containers do; run the container with "
		"--cap-add=SYS_PTRACE, for which the usual filters make way, or --security-opt "
		"seccomp=unconfined, or run cprof-attach on the host");
}

static bool have_capability(const struct situation *s)
{
	return (s->us->id.effective >> CAP_SYS_PTRACE & 1) != 0;
}

static bool lacks_capability(const struct situation *s)
{
	return s->refusal != 0 && !have_capability(s);
}

static bool is_weak_root(const struct situation *s)
{
	return lacks_capability(s) && s->us->id.uid[1] == 0;
}

static void say_weak_root(const struct situation *s, struct error *err)
{
	say_refused(s, err,
		"this root lacks CAP_SYS_PTRACE, as in a container; run the container with "
		"--cap-add=SYS_PTRACE, "
		"or run cprof-attach on the host");
}

/* All of real, effective and saved user and group IDs of the target must be ours. */
static bool is_another_users(const struct situation *s)
{
	bool same = true;
	for (int i = 0; i < 3; i++)
		same = same && s->them.uid[i] == s->us->id.uid[0] && s->them.gid[i] == s->us->id.gid[0];
	return lacks_capability(s) && !same;
}

static void say_another_users(const struct situation *s, struct error *err)
{
	error_set(err,
		"cannot attach to %d (%s): Operation not permitted: it belongs to another user (UID %u, you "
		"are "
		"%u); run with sudo, or as that user",
		s->pid, s->them.name, s->them.uid[1], s->us->id.uid[0]);
}

static bool is_out_of_scope(const struct situation *s)
{
	return lacks_capability(s) && s->us->scope > 0;
}

static void say_out_of_scope(const struct situation *s, struct error *err)
{
	error_set(err,
		"cannot attach to %d (%s): Operation not permitted: the kernel allows only root to trace other "
		"processes here (kernel.yama.ptrace_scope = %d); run with sudo",
		s->pid, s->them.name, s->us->scope);
}

static bool is_undumpable(const struct situation *s)
{
	return lacks_capability(s) && s->undumpable;
}

static void say_undumpable(const struct situation *s, struct error *err)
{
	say_refused(s, err,
		"it protects itself from its own user (not dumpable, as programs with changed IDs or "
		"capabilities "
		"are); run with sudo");
}

/* Where even the link to its namespace cannot be read although we have the capability, the capability is one of
 * a namespace of our own, to which the process does not belong. */
static bool is_in_another_namespace(const struct situation *s)
{
	return s->refusal != 0 &&
	       (s->user_namespace == NAMESPACE_OTHER ||
		       (s->user_namespace == NAMESPACE_NOT_SEEN && s->us->own_namespace && have_capability(s)));
}

static void say_in_another_namespace(const struct situation *s, struct error *err)
{
	say_refused(s, err, "it lives in another user namespace; run cprof-attach as root of the host");
}

static bool has_more_capabilities(const struct situation *s)
{
	return lacks_capability(s) && (s->them.permitted & ~s->us->id.permitted) != 0;
}

static void say_more_capabilities(const struct situation *s, struct error *err)
{
	error_set(err,
		"cannot attach to %d (%s): Operation not permitted: it has capabilities that you lack (CapPrm "
		"%llx in its /proc/%d/status); run with sudo",
		s->pid, s->them.name, (unsigned long long)s->them.permitted, s->pid);
}

static bool is_refused_at_all(const struct situation *s)
{
	return s->refusal != 0;
}

static void say_security_module(const struct situation *s, struct error *err)
{
	say_refused(s, err,
		"a security module (SELinux, AppArmor, Landlock) forbids it, for nothing else does; see the "
		"kernel's audit log");
}

/* ---- the table ---- */

static const struct rule {
	const char *brief;
	bool root_helps;
	bool (*holds)(const struct situation *situation);
	void (*say)(const struct situation *situation, struct error *err);
} rules[] = {
	{"itself", false, is_ourselves, say_ourselves},
	{"hidden", true, is_hidden, say_hidden},
	{"gone", false, is_gone, say_gone},
	{"a thread", false, is_thread, say_thread},
	{"kernel thread", false, is_kernel_thread, say_kernel_thread},
	{"has ended", false, is_zombie, say_zombie},
	{"being traced", false, is_traced, say_traced},
	{"32-bit", false, is_32_bit, say_32_bit},
	{"not x86-64", false, is_foreign, say_foreign},
	{"gone", false, has_ended, say_ended},
	{"old kernel", false, is_old_kernel, say_old_kernel},
	{"failure", false, is_other_failure, say_other_failure},
	{"ptrace_scope 3", false, may_nobody, say_nobody_may},
	{"seccomp", false, is_filtered, say_filtered},
	{"CAP_SYS_PTRACE", false, is_weak_root, say_weak_root},
	{"another user", true, is_another_users, say_another_users},
	{"ptrace_scope", true, is_out_of_scope, say_out_of_scope},
	{"not dumpable", true, is_undumpable, say_undumpable},
	{"user namespace", false, is_in_another_namespace, say_in_another_namespace},
	{"capabilities", true, has_more_capabilities, say_more_capabilities},
	{"security module", false, is_refused_at_all, say_security_module},
};

int diagnose(const struct situation *situation, struct verdict *verdict, struct error *err)
{
	struct verdict found = {NULL, false};
	for (size_t i = 0; i < sizeof rules / sizeof *rules && found.brief == NULL; i++) {
		if (!rules[i].holds(situation))
			continue;
		rules[i].say(situation, err);
		found = (struct verdict){rules[i].brief, rules[i].root_helps};
	}
	if (verdict != NULL)
		*verdict = found;
	return found.brief == NULL ? 0 : -1;
}

int diagnose_refusal(pid_t pid, const char *name, int refusal, struct error *err)
{
	struct ourselves us;
	struct situation situation;
	ourselves_read(PTRACE_ASKED, &us);
	situation_read(&us, pid, &situation);
	/* Gone meanwhile: then that is the reason, and this was its name. */
	if (!situation.visible)
		return error_set(err, "process %d (%s) ended before it could be profiled: choose a running one",
			pid, name);
	situation_explain(&situation, refusal);
	return diagnose(&situation, NULL, err);
}
