#include "attach/modules.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- one file ---- */

static bool is_unwindable(const struct image *image)
{
	struct section section;
	return image_section(image, ".eh_frame", &section) || image_section(image, ".debug_frame", &section) ||
	       image_section(image, ".zdebug_frame", &section) ||
	       image_segment(image, PT_GNU_EH_FRAME, &section) ||
	       image_section(image, ".gopclntab", &section) || image_section(image, ".go.buildinfo", &section);
}

static void look_at(const struct target *target, const struct map *map, const struct debug_places *places,
	struct module *module)
{
	struct error err;
	*module = (struct module){.path = map->path,
		.inode = map->inode,
		.dev_major = map->dev_major,
		.dev_minor = map->dev_minor};
	int fd = target_open_file(target, map);
	struct image *image = fd >= 0 ? image_open(fd, map->path, &err) : NULL;
	if (image == NULL)
		return;
	module->readable = true;
	module->presence = presence_of(places, image);
	module->unwindable = is_unwindable(image);
	snprintf(module->build_id, sizeof module->build_id, "%.40s", image_build_id(image));
	image_free(image);
}

/* ---- all of them ---- */

static bool is_known(const struct modules *modules, const struct map *map)
{
	for (size_t i = 0; i < modules->n; i++) {
		const struct module *module = &modules->v[i];
		if (module->inode == map->inode && module->dev_major == map->dev_major &&
			module->dev_minor == map->dev_minor)
			return true;
	}
	return false;
}

/* The kernel's own: [vdso], [vsyscall]. */
static bool is_generated(const struct map *map)
{
	return map->inode == 0 && (map->path[0] == '\0' || strncmp(map->path, "[anon", 5) == 0 ||
					  strncmp(map->path, "/memfd:", 7) == 0);
}

/* The program is what most people ask for. */
static void program_first(struct modules *modules, const char *exe)
{
	for (size_t i = 1; i < modules->n; i++)
		if (strcmp(modules->v[i].path, exe) == 0) {
			struct module program = modules->v[i];
			memmove(&modules->v[1], &modules->v[0], i * sizeof *modules->v);
			modules->v[0] = program;
			return;
		}
}

int modules_look(const struct target *target, const struct maps *maps, const struct debug_places *places,
	struct modules *out)
{
	struct modules found = {0};
	size_t cap = maps->n < MODULES_MAX ? maps->n : MODULES_MAX;
	found.v = calloc(cap + 1, sizeof *found.v);
	if (found.v == NULL)
		return -1;
	for (size_t i = 0; i < maps->n; i++) {
		const struct map *map = &maps->v[i];
		if (!map->exec)
			continue;
		if (is_generated(map))
			found.generated_bytes += map->end - map->start;
		else if (map->inode == 0 || is_known(&found, map))
			continue;
		else if (found.n < cap)
			look_at(target, map, places, &found.v[found.n++]);
		else
			found.more = true;
	}
	program_first(&found, target->exe);
	*out = found;
	return 0;
}

void modules_free(struct modules *modules)
{
	free(modules->v);
	*modules = (struct modules){0};
}

/* ---- packages ---- */

static const char dpkg_lists[] = "/var/lib/dpkg/info";

/* Is `path` a line of the file? Such a list has some 100 KB at most. */
static bool list_has(int directory, const char *name, const char *path)
{
	char *line = NULL;
	size_t cap = 0, path_len = strlen(path);
	ssize_t len;
	bool found = false;
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	if (file == NULL && fd >= 0)
		close(fd);
	while (file != NULL && !found && (len = getline(&line, &cap, file)) > 0)
		found = (size_t)len == path_len + 1 && memcmp(line, path, path_len) == 0;
	free(line);
	if (file != NULL)
		fclose(file);
	return found;
}

/* Since /lib is a link to /usr/lib, lists may have either. */
static bool list_has_either(int directory, const char *name, const char *path)
{
	return list_has(directory, name, path) ||
	       (strncmp(path, "/usr/", 5) == 0 && list_has(directory, name, path + 4));
}

bool module_package(const char *path, char *name, size_t cap)
{
	DIR *lists = opendir(dpkg_lists);
	const struct dirent *entry;
	bool found = false;
	while (lists != NULL && !found && (entry = readdir(lists)) != NULL) {
		const char *dot = strrchr(entry->d_name, '.');
		if (dot == NULL || strcmp(dot, ".list") != 0 ||
			!list_has_either(dirfd(lists), entry->d_name, path))
			continue;
		/* "libc6:amd64.list", "bash.list" */
		size_t len = strcspn(entry->d_name, ":");
		if (len > (size_t)(dot - entry->d_name))
			len = (size_t)(dot - entry->d_name);
		snprintf(name, cap, "%.*s", (int)len, entry->d_name);
		found = true;
	}
	if (lists != NULL)
		closedir(lists);
	return found;
}
