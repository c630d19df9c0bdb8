/* A profile in a file: read, every address named anew, written, and read again. */
#include "encoder/pprof_file.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct source_line lines[] = {
	{.function = "inner", .system_name = "inner", .file = "/a.c", .line = 1},
	{.function = "outer", .system_name = "outer", .file = "", .line = 2, .start_line = 1}};

static size_t name_all(struct pprof_file *file)
{
	const struct symbolized found = {lines, 2};
	size_t addresses = 0;
	for (size_t m = 0; m < pprof_file_modules(file); m++) {
		struct pprof_module module = pprof_file_module(file, m);
		if (strlen(module.path) + strlen(module.build_id) > 1u << 30)
			abort();
		for (size_t i = 0; i < module.n; i++) {
			pprof_file_address(file, m, i);
			if (pprof_file_name(file, m, i, &found) < 0)
				abort();
			/* A second time they say no more. */
			if (pprof_file_name(file, m, i, &found) != 0)
				abort();
		}
		pprof_file_complete(file, m);
		addresses += module.n;
	}
	if (pprof_file_comment(file, "%s", "fuzz") != 0)
		abort();
	return addresses;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct error err;
	int in = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
	if (in < 0 || out < 0 || write(in, bytes, len) != (ssize_t)len || lseek(in, 0, SEEK_SET) != 0)
		abort();
	struct pprof_file *file = pprof_file_read(in, "fuzz", &err);
	if (file != NULL) {
		size_t addresses = name_all(file), again = 0;
		if (pprof_file_write(file, out, &err) != 0 || lseek(out, 0, SEEK_SET) != 0)
			abort();
		struct pprof_file *copy = pprof_file_read(out, "copy", &err);
		if (copy == NULL)
			abort();
		for (size_t m = 0; m < pprof_file_modules(copy); m++)
			again += pprof_file_module(copy, m).n;
		if (again != addresses)
			abort();
		pprof_file_free(copy);
	}
	pprof_file_free(file);
	close(in);
	close(out);
	return 0;
}
