/* Why a process cannot be profiled, in words with the remedy: one table of rules, asked before anything was
 * tried and after the kernel has refused. */
#ifndef ATTACH_DIAGNOSE_H
#define ATTACH_DIAGNOSE_H

#include "attach/situation.h"
#include "unwind/error.h"

/* What forbids it in two or three words, for lists, and whether root would be allowed to. Static storage. */
struct verdict {
	const char *brief; /* NULL: nothing forbids it */
	bool root_helps;
};

/* The first rule that forbids it, in the order in which the kernel checks: returns -1 with the whole line in
 * *err. 0: nothing is known that does. `verdict` may be NULL. Pure. */
int diagnose(const struct situation *situation, struct verdict *verdict, struct error *err);

/* Fills *err with the rule that refused PTRACE_SEIZE (`refusal`: its errno) for `pid`, called `name`. Always
 * returns -1. */
int diagnose_refusal(pid_t pid, const char *name, int refusal, struct error *err);

#endif
