#include "symbols/perfmap.h"

#include "symbols/addresses.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum {
	CHUNK_BYTES = 65536,
	LINE_MAX_BYTES = 8192, /* of longer lines the rest is left out */
};

static const off_t FILE_BYTES_MAX = (off_t)1 << 30;
/* How often a line may be held against an address: a file where each covers everything ends here. */
static const uint64_t WORK_MAX = 100u * 1000 * 1000;

/* Where in the file the name for an address stands. */
struct place {
	off_t at;
	size_t len; /* 0: none */
};

struct lookup {
	uint64_t *pcs;
	struct place *places;
	size_t n;
	uint64_t work;
	char line[LINE_MAX_BYTES];
	size_t len; /* of the line so far */
};

/* Hex digits at *p, at least one, and no more than 64 bits of them. */
static bool take_hex(const char **p, const char *end, uint64_t *value)
{
	const char *begin = *p;
	*value = 0;
	for (; *p < end; (*p)++) {
		unsigned digit;
		if (**p >= '0' && **p <= '9')
			digit = (unsigned)(**p - '0');
		else if ((**p | 0x20) >= 'a' && (**p | 0x20) <= 'f')
			digit = (unsigned)((**p | 0x20) - 'a') + 10;
		else
			break;
		if (*value >> 60 != 0)
			return false;
		*value = *value << 4 | digit;
	}
	return *p > begin;
}

static bool take_space(const char **p, const char *end)
{
	const char *begin = *p;
	while (*p < end && **p == ' ')
		(*p)++;
	return *p > begin;
}

static void skip_0x(const char **p, const char *end)
{
	if (end - *p > 2 && **p == '0' && ((*p)[1] | 0x20) == 'x')
		*p += 2;
}

/* The line, which begins at `at` in the file. */
static void take_line(struct lookup *lookup, off_t at)
{
	const char *p = lookup->line, *end = p + lookup->len;
	uint64_t start, size;
	skip_0x(&p, end);
	if (!take_hex(&p, end, &start) || !take_space(&p, end))
		return;
	skip_0x(&p, end);
	if (!take_hex(&p, end, &size) || !take_space(&p, end) || p == end)
		return;
	for (size_t i = addresses_from(lookup->pcs, lookup->n, start);
		i < lookup->n && lookup->pcs[i] - start < size && lookup->work > 0; i++, lookup->work--)
		lookup->places[i] = (struct place){at + (p - lookup->line), (size_t)(end - p)};
}

static void take_chunk(struct lookup *lookup, const char *bytes, size_t n, off_t at, off_t *line_at)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] != '\n') {
			if (lookup->len < sizeof lookup->line)
				lookup->line[lookup->len++] = bytes[i];
			continue;
		}
		take_line(lookup, *line_at);
		lookup->len = 0;
		*line_at = at + (off_t)i + 1;
	}
}

/* The last line counts only when it is whole: the runtime may be writing it. */
static void take_file(struct lookup *lookup, int fd)
{
	static char chunk[CHUNK_BYTES];
	off_t line_at = 0;
	for (off_t at = 0; at < FILE_BYTES_MAX && lookup->work > 0;) {
		ssize_t n = pread(fd, chunk, sizeof chunk, at);
		if (n <= 0)
			return;
		take_chunk(lookup, chunk, (size_t)n, at, &line_at);
		at += n;
	}
}

static int take_names(const struct lookup *lookup, int fd, struct arena *arena, struct perfmap_name *v)
{
	char name[LINE_MAX_BYTES];
	for (size_t i = 0; i < lookup->n; i++) {
		const struct place *place = &lookup->places[i];
		ssize_t n = place->len > 0 ? pread(fd, name, place->len, place->at) : 0;
		v[i].name = arena_string(arena, name, n > 0 ? (size_t)n : 0);
		if (v[i].name == NULL)
			return -1;
	}
	return 0;
}

int perfmap_lookup(int fd, struct arena *arena, struct perfmap_name *v, size_t n)
{
	int result = -1;
	struct lookup *lookup = calloc(1, sizeof *lookup);
	if (lookup == NULL)
		return -1;
	lookup->n = n;
	lookup->work = WORK_MAX;
	lookup->pcs = calloc(n + 1, sizeof *lookup->pcs);
	lookup->places = calloc(n + 1, sizeof *lookup->places);
	if (lookup->pcs != NULL && lookup->places != NULL) {
		for (size_t i = 0; i < n; i++)
			lookup->pcs[i] = v[i].pc;
		take_file(lookup, fd);
		result = take_names(lookup, fd, arena, v);
	}
	free(lookup->pcs);
	free(lookup->places);
	free(lookup);
	return result;
}
