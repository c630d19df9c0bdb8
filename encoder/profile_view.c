#include "encoder/profile_view.h"

#include <sys/mman.h>
#include <unistd.h>

int profile_view_open(const struct profile *profile, const struct pprof_times *times, const char *name,
	struct profile_view *out, struct error *err)
{
	*out = (struct profile_view){0};
	int fd = memfd_create("profile", MFD_CLOEXEC);
	if (fd < 0)
		return error_set(err, "memory is out");
	int outcome = pprof_write(profile, times, fd, err);
	if (outcome == 0 && lseek(fd, 0, SEEK_SET) == 0)
		out->file = pprof_file_read(fd, name, err);
	if (out->file != NULL)
		out->view = view_new(out->file, name, err);
	close(fd);
	return out->view != NULL ? 0 : -1;
}

void profile_view_close(struct profile_view *view)
{
	view_free(view->view);
	pprof_file_free(view->file);
	*view = (struct profile_view){0};
}
