/* The test program's own address space, so that addresses of its functions can be named and written. */
#ifndef TESTS_UNIT_SELF_SPACE_H
#define TESTS_UNIT_SELF_SPACE_H

#include "unwind/space.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Executable memory without a file, which no Linux process has at this address. */
#define JIT_START UINT64_C(0x10000)
#define JIT_MAP "00010000-00011000 rwxp 00000000 00:00 0\n"

static int self_open_file(void *context, const struct map *map)
{
	(void)context;
	return open(map->path, O_RDONLY | O_CLOEXEC);
}

static size_t self_read_memory(void *context, uint64_t address, void *buffer, size_t len)
{
	(void)context;
	memcpy(buffer, (const void *)(uintptr_t)address, len);
	return len;
}

/* JIT_MAP and /proc/self/maps; `path` gets the program's own. NULL when it cannot be had. */
static struct space *self_space(char path[4096])
{
	static const struct space_source source = {NULL, self_open_file, self_read_memory, NULL};
	static char maps[1 << 18] = JIT_MAP;
	size_t start = strlen(JIT_MAP);
	FILE *file = fopen("/proc/self/maps", "re");
	ssize_t len = readlink("/proc/self/exe", path, 4095);
	if (file == NULL || len <= 0)
		return NULL;
	path[len] = '\0';
	size_t got = fread(maps + start, 1, sizeof maps - start, file);
	fclose(file);
	struct space *space = space_new(&source, path);
	if (space == NULL || space_update(space, maps, start + got) != 1) {
		space_free(space);
		return NULL;
	}
	return space;
}

#endif
