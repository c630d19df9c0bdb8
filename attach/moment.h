/* Every thread of a process as it was at one moment: its stack, and what it was doing. */
#ifndef ATTACH_MOMENT_H
#define ATTACH_MOMENT_H

#include "attach/target.h"

enum moment_how {
	MOMENT_ASLEEP, /* it slept at that moment, and was not stopped */
	MOMENT_STOPPED, /* it ran, or was about to, and was stopped with the others that did */
	MOMENT_MISSED, /* it got no CPU for seconds, or may not be stopped: without a stack */
	MOMENT_ENDED, /* a leader that has ended while its threads go on: without a stack */
};

struct moment_thread {
	pid_t tid;
	char name[16];
	enum moment_how how;
	const char *state; /* as samples are labelled: "running", "runnable", "sleeping", "disk", "stopped" */
	bool in_call; /* it waits in `call` */
	struct blocked call;
	uint64_t run_ns; /* CPU time that it has used since it began */
	int cpu; /* on which it ran last, as far as seen just before; -1 unknown */
	struct stack stack; /* v is owned by the moment */
};

struct moment {
	struct moment_thread *v; /* in the order of TIDs */
	size_t n;
	/* There was an instant at which all threads stood where their stacks say. False: threads began or woke
	 * up again and again, and each stack is right, but not of the same instant; or some are MOMENT_MISSED.
	 */
	bool whole;
	uint64_t width_ns; /* from the first request to stop until all went on */
	size_t stopped; /* threads that were stopped for it */
	unsigned attempts;
};

void moment_free(struct moment *moment);

#endif
