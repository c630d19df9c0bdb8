#include "unwind/maps.h"

#include <stdlib.h>
#include <string.h>

/* A hexadecimal or decimal number at *p, before `end`; false when there is none or it does not fit. */
static bool take_number(const char **p, unsigned base, uint64_t *value)
{
	const char *start = *p;
	uint64_t v = 0;
	for (;; (*p)++) {
		char c = **p;
		unsigned digit = c >= '0' && c <= '9'	? (unsigned)(c - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
							: base;
		if (digit >= base)
			break;
		if (v > (UINT64_MAX - digit) / base)
			return false;
		v = v * base + digit;
	}
	*value = v;
	return *p != start;
}

static bool take_char(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

static bool take_permissions(const char **p, struct map *map)
{
	if (strnlen(*p, 4) < 4)
		return false;
	map->read = (*p)[0] == 'r';
	map->write = (*p)[1] == 'w';
	map->exec = (*p)[2] == 'x';
	*p += 4;
	return true;
}

/* Cuts " (deleted)", which the kernel appends to the name of a file that has none any more (proc_pid_maps(5)).
 */
static bool cut_deleted(char *path)
{
	static const char suffix[] = " (deleted)";
	size_t len = strlen(path), cut = sizeof suffix - 1;
	if (len <= cut || strcmp(path + len - cut, suffix) != 0)
		return false;
	path[len - cut] = '\0';
	return true;
}

/* One terminated line: "start-end perms offset major:minor inode   path". */
static bool parse_line(char *line, struct map *map)
{
	const char *p = line;
	uint64_t major, minor;
	if (!take_number(&p, 16, &map->start) || !take_char(&p, '-') || !take_number(&p, 16, &map->end) ||
		!take_char(&p, ' ') || !take_permissions(&p, map) || !take_char(&p, ' ') ||
		!take_number(&p, 16, &map->offset) || !take_char(&p, ' ') || !take_number(&p, 16, &major) ||
		!take_char(&p, ':') || !take_number(&p, 16, &minor) || !take_char(&p, ' ') ||
		!take_number(&p, 10, &map->inode) || map->start >= map->end)
		return false;
	map->dev_major = (uint32_t)major;
	map->dev_minor = (uint32_t)minor;
	char *path = line + (p - line);
	path += strspn(path, " ");
	map->deleted = cut_deleted(path);
	map->path = path;
	return true;
}

static size_t count_lines(const char *bytes, size_t len)
{
	size_t n = 1;
	for (size_t i = 0; i < len; i++)
		n += bytes[i] == '\n';
	return n;
}

int maps_parse(const char *bytes, size_t len, struct maps *out)
{
	*out = (struct maps){0};
	char *text = malloc(len + 1);
	struct map *v = calloc(count_lines(bytes, len), sizeof *v);
	if (text == NULL || v == NULL) {
		free(text);
		free(v);
		return -1;
	}
	if (len > 0)
		memcpy(text, bytes, len);
	text[len] = '\0';
	size_t n = 0;
	for (size_t at = 0; at < len;) {
		char *line = text + at, *newline = memchr(line, '\n', len - at);
		at = newline != NULL ? (size_t)(newline - text) + 1 : len;
		if (newline != NULL)
			*newline = '\0';
		if (parse_line(line, &v[n]) && (n == 0 || v[n].start >= v[n - 1].end))
			n++;
	}
	*out = (struct maps){v, n, text};
	return 0;
}

void maps_free(struct maps *maps)
{
	free(maps->v);
	free(maps->text);
	*maps = (struct maps){0};
}

const struct map *maps_find(const struct maps *maps, uint64_t address)
{
	size_t low = 0, high = maps->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (maps->v[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < maps->n && maps->v[low].start <= address ? &maps->v[low] : NULL;
}
