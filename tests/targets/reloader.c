/* Loads one library, works in it, unloads it, and loads another, mostly to the same addresses. reloader
 * MILLISECONDS A B */
#include "target.h"

#include <dlfcn.h>
#include <string.h>

static void work_in(const char *path, const char *name, uint64_t ns)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	void *symbol = library != NULL ? dlsym(library, name) : NULL;
	void (*work)(uint64_t);
	if (symbol == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	memcpy(&work, &symbol, sizeof work);
	work(target_clock_ns(CLOCK_MONOTONIC) + ns);
	dlclose(library);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 64;
	target_init();
	target_ready();
	for (;;) {
		work_in(argv[1], "work_a", strtoull(argv[2], NULL, 10) * 1000000);
		work_in(argv[3], "work_b", strtoull(argv[4], NULL, 10) * 1000000);
	}
}
