/* A profile in a file, merged with itself: its values are doubled, and nothing else is new. */
#include "encoder/pprof_merge.h"
#include "encoder/view.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t count_addresses(const struct pprof_file *file)
{
	size_t n = 0;
	for (size_t m = 0; m < pprof_file_modules(file); m++)
		n += pprof_file_module(file, m).n;
	return n;
}

/* References that lead nowhere are gone, and what is twice is once: the second merge has nothing to do. */
static void check_again(const struct pprof_file *once)
{
	struct error err;
	struct pprof_merge *merge = pprof_merge_new();
	if (merge == NULL || pprof_merge_add(merge, once, "once", &err) != 0)
		abort();
	struct pprof_file *twice = pprof_merge_finish(merge, &err);
	if (twice == NULL || pprof_file_modules(twice) > pprof_file_modules(once) ||
		count_addresses(twice) > count_addresses(once))
		abort();
	pprof_file_free(twice);
	pprof_merge_free(merge);
}

static void check_merged(const struct pprof_merge *merge)
{
	struct error err;
	int out = memfd_create("out", MFD_CLOEXEC);
	struct pprof_file *merged = pprof_merge_finish(merge, &err);
	if (out < 0 || merged == NULL || pprof_file_write(merged, out, &err) != 0 ||
		lseek(out, 0, SEEK_SET) != 0)
		abort();
	struct pprof_file *copy = pprof_file_read(out, "copy", &err);
	if (copy == NULL || count_addresses(copy) != count_addresses(merged))
		abort();
	check_again(merged);
	struct view *view = view_new(merged, "merged", &err);
	view_free(view);
	pprof_file_free(copy);
	pprof_file_free(merged);
	close(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct error err;
	int in = memfd_create("in", MFD_CLOEXEC);
	if (in < 0 || write(in, bytes, len) != (ssize_t)len || lseek(in, 0, SEEK_SET) != 0)
		abort();
	struct pprof_file *file = pprof_file_read(in, "fuzz", &err);
	struct pprof_merge *merge = pprof_merge_new();
	if (merge == NULL)
		abort();
	if (file != NULL) {
		if (pprof_merge_add(merge, file, "fuzz", &err) != 0 ||
			pprof_merge_add(merge, file, "again", &err) != 0)
			abort();
		check_merged(merge);
	}
	pprof_merge_free(merge);
	pprof_file_free(file);
	close(in);
	return 0;
}
