/* All that decides whether we may attach to a process: what it is, what we are, and what the kernel says, as
 * far as it can be told without touching it. attach/diagnose.h makes a verdict of it. */
#ifndef ATTACH_SITUATION_H
#define ATTACH_SITUATION_H

#include "attach/identity.h"

/* Us and this kernel: read once. */
struct ourselves {
	struct identity id;
	int scope; /* kernel.yama.ptrace_scope; 0 where there is none */
	unsigned kernel[2]; /* 6, 18 */
	bool own_namespace; /* our user namespace is not the system's first */
	bool readv_forbidden; /* process_vm_readv(2) is forbidden to us, even on ourselves: a seccomp filter */
	bool ptrace_forbidden; /* ptrace(2) likewise, as far as it was asked */
};

enum namespace_seen { NAMESPACE_OURS, NAMESPACE_OTHER, NAMESPACE_NOT_SEEN };

struct situation {
	pid_t pid;
	bool exists, visible; /* visible: in /proc */
	struct identity them; /* when visible */
	const struct ourselves *us; /* borrowed */
	pid_t other; /* the process that a rule speaks of: the tracer, a zombie's parent, a thread's process */
	char other_name[16];
	unsigned elf_class, machine; /* of its program, as in the ELF header; 0 when that cannot be read */
	enum namespace_seen user_namespace;
	bool undumpable;
	int refusal; /* errno with which the kernel refuses to let us trace it; 0 it does not, or was not asked
		      */
};

/* Why ptrace is asked for only where that is wanted: a filter may kill who calls it. It is called only when
 * there is a filter on us, and for process 0, which does not exist. */
enum ask_ptrace { PTRACE_NOT_ASKED, PTRACE_ASKED };
void ourselves_read(enum ask_ptrace ask, struct ourselves *us);

/* What is seen without asking for a right; `refusal` stays 0. */
void situation_read(const struct ourselves *us, pid_t pid, struct situation *situation);
/* Fills `refusal`: the kernel is asked what PTRACE_SEIZE would ask (ptrace(2), "Ptrace access mode checking",
 * PTRACE_MODE_ATTACH_REALCREDS), by process_vm_readv(2) of an address that no process has. */
void situation_ask(struct situation *situation);
/* Fills what explains a refusal. */
void situation_explain(struct situation *situation, int refusal);

#endif
