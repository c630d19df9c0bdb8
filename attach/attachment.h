/* What every command that attaches to a process has: the process, its address space, who walks its stacks, and
 * whether it was let go as it was found. */
#ifndef ATTACH_ATTACHMENT_H
#define ATTACH_ATTACHMENT_H

#include "attach/options.h"
#include "attach/target.h"

struct family;

struct attachment {
	struct target target;
	struct space *space; /* borrows this target: an attachment does not move */
	struct unwinder *unwinder;
	struct family *family; /* the process, and its children if they are profiled, too */
	int perfmap_fd; /* -1: the program has none so far */
};

/* Blocks in the calling thread, and so in all that it starts, SIGCHLD and the signals that end a run: only the
 * sampling thread takes them (sampler.h). Broken pipes become errors of write(2). */
void attachment_block_signals(void);

/* Nothing is open yet. */
void attachment_init(struct attachment *attachment);
/* options->pid with options->tids: looks without touching. `program`: the file that the target, a child of
 * ours, is about to run; NULL: it runs already. Called while we have a single thread. -1 with the reason;
 * *attachment goes to attachment_close() in any case. */
int attachment_open(
	const struct options *options, const char *program, struct attachment *attachment, struct error *err);
void attachment_close(struct attachment *attachment);
/* The address space of one more process of the run, beside another's; it borrows `target`. NULL when memory is
 * out. */
struct space *attachment_space(struct target *target, struct space *other);

/* After the sampling thread has ended: waits for the kernel to detach it, and says whether no thread has a
 * tracer of ours or is stopped (but by job control, if `job_stopped`). *found is what was seen last. */
bool attachment_is_released(const struct attachment *attachment, bool job_stopped, struct target_traces *found);
/* The line to warn with when it is not. */
void attachment_warn(
	const struct attachment *attachment, const struct target_traces *found, struct error *warning);

#endif
