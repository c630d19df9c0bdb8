#include "attach/naming.h"

#include "attach/ui.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

void naming_init(struct naming *naming)
{
	*naming = (struct naming){.stop_fd = -1};
}

/* What ended the sampling may have come more than once, in a shell's hurry. A signal from here on means that
 * the output is wanted without names. */
static int open_stop(void)
{
	static const struct timespec now = {0, 0};
	sigset_t ending;
	sigemptyset(&ending);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGHUP);
	while (sigtimedwait(&ending, NULL, &now) > 0)
		;
	return signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
}

int naming_profile(struct naming *naming, const struct options *options, struct attachment *attachment,
	struct profile *profile)
{
	naming->stop_fd = open_stop();
	naming->isolated = isolated_new(&isolated_defaults, naming->stop_fd);
	int ready = places_open(options, naming->stop_fd, &naming->places);
	/* It may have been written meanwhile. */
	if (attachment->perfmap_fd < 0)
		attachment->perfmap_fd = target_open_perfmap(&attachment->target);
	if (naming->isolated != NULL)
		isolated_places(naming->isolated, naming->places.folders);
	if (naming->isolated == NULL || ready != 0 ||
		profile_symbolize(profile, attachment->space, naming->isolated, attachment->perfmap_fd) != 0)
		return -1;
	if (isolated_weakness(naming->isolated)[0] != '\0')
		ui_note(options, "symbols   are read by a process that is confined less than intended: %s",
			isolated_weakness(naming->isolated));
	return 0;
}

bool naming_was_stopped(const struct naming *naming)
{
	return naming->isolated != NULL && isolated_stopped(naming->isolated);
}

void naming_close(struct naming *naming)
{
	isolated_free(naming->isolated);
	places_close(&naming->places);
	if (naming->stop_fd >= 0)
		close(naming->stop_fd);
	naming_init(naming);
}
