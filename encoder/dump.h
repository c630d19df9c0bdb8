/* The stacks of all threads at one moment, for people (text) and for programs (JSON, docs/formats.md). Frames
 * are named by a profile that has the same stacks. */
#ifndef ENCODER_DUMP_H
#define ENCODER_DUMP_H

#include "encoder/profile.h"
#include "unwind/error.h"

/* The system call that a thread waits in. */
struct dump_call {
	int number;
	const char *name; /* NULL: not known */
	uint64_t argument[6];
	const char *words; /* "read(fd 7 -> /var/log/x, 0x7ffd12345678, 4096)" */
};

struct dump_thread {
	pid_t tid;
	const char *name;
	const char *state; /* "running", "runnable", "sleeping", "disk", "stopped", "ended" */
	const char *taken; /* how: "asleep", "stopped", "missed", "ended" */
	const char *note; /* why it is not as the others; NULL: it is */
	const struct dump_call *call; /* NULL: it waits in none */
	uint64_t cpu_ns; /* CPU time since it began */
	int cpu; /* -1 unknown */
	const struct stack *stack;
};

/* Plain data; everything is borrowed. Texts may hold any byte. */
struct dump {
	pid_t pid;
	const char *name, *exe;
	int64_t time_ns; /* since the epoch */
	bool whole; /* there was an instant at which all stood where their stacks say */
	uint64_t within_ns, longest_stop_ns;
	size_t stopped; /* threads that were stopped */
	const struct dump_thread *threads;
	size_t n;
};

/* Adds all frames to the profile, which profile_symbolize() then names. -1 when memory is out. */
int dump_add(struct profile *profile, const struct dump *dump);
/* After that; -1 with the reason. */
int dump_write_text(struct profile *profile, const struct dump *dump, int fd, struct error *err);
int dump_write_json(struct profile *profile, const struct dump *dump, int fd, struct error *err);

#endif
