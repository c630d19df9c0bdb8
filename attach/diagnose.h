/* Why the kernel refuses to let us trace a process, in words with the remedy. */
#ifndef ATTACH_DIAGNOSE_H
#define ATTACH_DIAGNOSE_H

#include "unwind/error.h"

#include <sys/types.h>

/* Fills *err with the rule that refused PTRACE_SEIZE (`refusal`: its errno) for `pid`, called `name`: the
 * checks of ptrace(2), "Ptrace access mode checking", in the kernel's order. Always returns -1. */
int diagnose_refusal(pid_t pid, const char *name, int refusal, struct error *err);

#endif
