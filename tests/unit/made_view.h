/* A small view, and what was written of it as text. Functions a to d; main calls a (twice, in a recursion) and
 * b. */
#ifndef TESTS_UNIT_MADE_VIEW_H
#define TESTS_UNIT_MADE_VIEW_H

#include "encoder/view.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAIN, A1, A2, B, C, NAMELESS, FRAMES };

static const struct view_frame made_frames[FRAMES] = {
	[MAIN] = {.function = "main",
		.system_name = "",
		.file = "/src/m.c",
		.module = "/bin/m",
		.line = 10,
		.named = true},
	[A1] = {.function = "a",
		.system_name = "",
		.file = "/src/m.c",
		.module = "/bin/m",
		.line = 20,
		.named = true},
	[A2] = {.function = "a",
		.system_name = "",
		.file = "/src/m.c",
		.module = "/bin/m",
		.line = 21,
		.named = true},
	[B] = {.function = "b",
		.system_name = "",
		.file = "/src/b.c",
		.module = "/lib/b.so",
		.line = 1,
		.named = true},
	[C] = {.function = "c",
		.system_name = "",
		.file = "/src/b.c",
		.module = "/lib/b.so",
		.line = 2,
		.named = true},
	[NAMELESS] = {.function = "[z.so]",
		.system_name = "",
		.file = "",
		.module = "/lib/z.so",
		.address = UINT64_MAX},
};

static const uint32_t made_stacks[][5] = {{MAIN, A1}, {MAIN, A1, A2, A1, B}, {MAIN, B}, {MAIN, NAMELESS}};

static const struct view_label made_labels[][3] = {
	{{"thread", "one", "", 0}, {"tid", NULL, "", 7}, {"state", "running", "", 0}},
	{{"thread", "two", "", 0}, {"tid", NULL, "", 8}, {"state", "sleeping", "", 0}},
};

static const int64_t made_values[][2] = {{1, 10}, {2, 20}, {4, 40}, {8, 80}};

static const struct view_sample made_samples[] = {
	{made_stacks[0], 2, made_labels[0], 3, made_values[0]},
	{made_stacks[1], 5, made_labels[1], 3, made_values[1]},
	{made_stacks[2], 2, made_labels[0], 3, made_values[2]},
	{made_stacks[3], 2, NULL, 0, made_values[3]},
};

static const struct view_type made_types[] = {{"samples", "count"}, {"cpu", "nanoseconds"}};

static const struct view made_view = {.name = "made",
	.types = made_types,
	.n_types = 2,
	.type = 1,
	.frames = made_frames,
	.n_frames = FRAMES,
	.samples = made_samples,
	.n_samples = 4};

/* All that is in a file, as text that the caller frees. */
static inline char *text_of(int fd)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return NULL;
	char *text = calloc(1, (size_t)st.st_size + 1);
	if (text == NULL || pread(fd, text, (size_t)st.st_size, 0) != st.st_size)
		return NULL;
	return text;
}

static inline int memory_file(void)
{
	return memfd_create("test", MFD_CLOEXEC);
}

#endif
