/* Names for the frames of a target that was let go: where debug files are, who reads them, and how that is
 * ended early. */
#ifndef ATTACH_NAMING_H
#define ATTACH_NAMING_H

#include "attach/attachment.h"
#include "attach/places.h"
#include "encoder/profile.h"

struct naming {
	struct places places;
	struct isolated *isolated;
	int stop_fd; /* signals that come while names are looked up */
};

/* Nothing is open yet. */
void naming_init(struct naming *naming);
/* Names every location of the profile; borrowed by it until profile_free(), and so is the attachment's space.
 * SIGINT, SIGTERM and SIGHUP, which must be blocked, end it: what is found until then is there. Called while
 * we have a single thread. -1 when memory is out: the profile then has addresses. */
int naming_profile(struct naming *naming, const struct options *options, struct attachment *attachment,
	struct profile *profile);
/* Whether a signal came meanwhile: some names are missing. */
bool naming_was_stopped(const struct naming *naming);
void naming_close(struct naming *naming);

#endif
