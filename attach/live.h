/* A process sampled window by window, each named while the process goes on: what a live view is made of.
 *
 * Two threads of ours: one samples (sampler.h), the other looks up names while the first rests. So nothing of
 * the target is stopped while names are looked up, and whoever draws never waits for either. Names are
 * remembered: an address is asked for once. */
#ifndef ATTACH_LIVE_H
#define ATTACH_LIVE_H

#include "attach/attachment.h"
#include "encoder/profile_view.h"

/* What is known beside the samples of a window. */
struct live_facts {
	double cpus; /* that the process used in this window, by its CPU clock */
	uint64_t threads;
	/* Since the beginning: stops of one thread each; for how long those that had a CPU were stopped, each
	 * and of all the CPU time that the process used. */
	uint64_t stops, median_ns, p99_ns;
	double stopped_share;
};

enum live_end {
	LIVE_GOES_ON,
	LIVE_TARGET_ENDED,
	LIVE_SIGNAL, /* SIGINT, SIGTERM, SIGHUP */
	LIVE_REFUSED, /* it may not be traced */
	LIVE_NO_MEMORY,
};

struct live;

/* Borrows both. Signals are blocked as by attachment_block_signals(). NULL with the reason. */
struct live *live_new(struct attachment *attachment, const struct options *options, struct error *err);
void live_free(struct live *live); /* takes NULL; it must have been stopped */

/* Begins to sample. -1 with the reason. */
int live_start(struct live *live, enum profile_kind kind, struct error *err);
/* Ends it at once, and waits until the target was let go. Returns false when it was not left as it was found,
 * with the line to warn with. It may be started again. */
bool live_stop(struct live *live, struct error *warning);

/* Readable when live_take() or live_end() have something new. */
int live_fd(const struct live *live);
/* The next window, to be closed by the caller; false when none is there. The window after it begins only now:
 * while none is taken, nothing is sampled. */
bool live_take(struct live *live, struct profile_view *window, struct live_facts *facts);
enum live_end live_end(struct live *live);
/* Of LIVE_REFUSED, the errno. */
int live_refusal(const struct live *live);
/* For how long names have been looked up by now; 0 when none are. */
double live_naming_seconds(struct live *live);

#endif
