/* Runs a piece of work on hostile bytes in a child process that is confined (symbols/confine.h), and collects
 * what it writes. Whatever happens there, the caller gets an answer in time, or the reason why there is none.
 */
#ifndef SYMBOLS_SANDBOX_H
#define SYMBOLS_SANDBOX_H

#include "symbols/confine.h"

#include <stdbool.h>

enum sandbox_end {
	SANDBOX_DONE, /* the work is done, and its answer is whole */
	SANDBOX_FAILED, /* it crashed, gave up, or used more than it may: see `why` */
	SANDBOX_STOPPED, /* job.stop_fd became readable */
};

struct sandbox_job {
	/* Runs in the child, which has a copy of the caller's memory: no question needs to be sent. Writes its
	 * answer to `out`; false when memory is out. */
	bool (*work)(void *context, int out);
	void *context;
	const int *files; /* the descriptors that it reads; opened before, and borrowed */
	size_t n_files;
	struct confine_limits limits;
	int64_t wall_ns; /* the longest that it may take */
	size_t answer_bytes_max;
	int stop_fd; /* ends the work when it becomes readable; -1: none */
};

struct sandbox_answer {
	enum sandbox_end end;
	uint8_t *bytes; /* what was written; the caller frees it (also on failure; may be NULL). It is as
			   hostile as the files */
	size_t len;
	unsigned missing; /* enum confine_missing, as far as the child can be believed */
	char why[96]; /* of SANDBOX_FAILED: "it crashed (Segmentation fault)", "it used more than 5 s of CPU
			 time" */
};

/* The caller has a single thread, or its others hold no lock at that time that `work` would wait for (those of
 * malloc excepted). The child is gone when this returns. */
void sandbox_run(const struct sandbox_job *job, struct sandbox_answer *answer);

/* For `work`: writes all bytes; false when they cannot be written. */
bool sandbox_write(int out, const void *bytes, size_t len);

#endif
