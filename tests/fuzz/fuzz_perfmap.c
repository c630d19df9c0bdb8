/* perfmap_lookup over any bytes, for addresses low, high and in between. */
#include "symbols/perfmap.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct perfmap_name asked[] = {{.pc = 0}, {.pc = 0x1000}, {.pc = 0x7f0000001000}, {.pc = UINT64_MAX}};
	enum { N = sizeof asked / sizeof *asked };
	struct arena *arena = arena_new();
	int fd = memfd_create("perfmap", MFD_CLOEXEC);
	if (arena == NULL || fd < 0 || write(fd, bytes, len) != (ssize_t)len ||
		perfmap_lookup(fd, arena, asked, N) != 0)
		abort();
	for (size_t i = 0; i < N; i++)
		if (asked[i].name == NULL)
			abort();
	close(fd);
	arena_free(arena);
	return 0;
}
