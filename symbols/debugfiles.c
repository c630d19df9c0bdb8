#include "symbols/debugfiles.h"

#include "symbols/compressed.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char system_folder[] = "/usr/lib/debug";

enum { BUILD_ID_BYTES_MAX = 64, PATH_BYTES = 4096 };

struct debug_places {
	char **folders;
	size_t n;
	int (*fetch)(void *context, const char *build_id);
	void *context;
};

static const struct debug_places no_places;

struct debug_places *debug_places_new(void)
{
	return calloc(1, sizeof(struct debug_places));
}

void debug_places_free(struct debug_places *places)
{
	if (places == NULL)
		return;
	for (size_t i = 0; i < places->n; i++)
		free(places->folders[i]);
	free(places->folders);
	free(places);
}

int debug_places_add(struct debug_places *places, const char *folder)
{
	char **folders = reallocarray(places->folders, places->n + 1, sizeof *folders);
	if (folders == NULL)
		return -1;
	places->folders = folders;
	folders[places->n] = strdup(folder);
	if (folders[places->n] == NULL)
		return -1;
	places->n++;
	return 0;
}

void debug_places_fetch(
	struct debug_places *places, int (*fetch)(void *context, const char *build_id), void *context)
{
	places->fetch = fetch;
	places->context = context;
}

/* ---- one search ---- */

/* What is looked for, and the best file so far. */
struct search {
	const char *build_id; /* "": the file is known by its CRC */
	uint32_t crc;
	struct image *dwarf; /* has .debug_info: the search is over */
	struct image *symbols; /* has only a .symtab */
};

static bool has_dwarf(const struct image *image)
{
	struct section section;
	return image_section(image, ".debug_info", &section) || image_section(image, ".zdebug_info", &section);
}

static bool has_symbols(const struct image *image)
{
	struct section section;
	return image_section(image, ".symtab", &section);
}

/* Names come from files that are not trusted, and opening a device can do something. O_PATH looks without
 * opening. */
static int open_regular(const char *path)
{
	char again[64];
	struct stat st;
	int fd = -1, found = open(path, O_PATH | O_CLOEXEC);
	if (found < 0)
		return -1;
	snprintf(again, sizeof again, "/proc/self/fd/%d", found);
	if (fstat(found, &st) == 0 && S_ISREG(st.st_mode))
		fd = open(again, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	close(found);
	return fd;
}

static struct image *open_path(const char *path)
{
	struct error err;
	int fd = open_regular(path);
	return fd < 0 ? NULL : image_open(fd, path, &err);
}

static bool is_wanted(const struct search *search, const struct image *image)
{
	if (search->build_id[0] != '\0')
		return strcmp(image_build_id(image), search->build_id) == 0;
	return content_crc32(image) == search->crc;
}

static void consider(struct search *search, struct image *image)
{
	if (image == NULL)
		return;
	bool wanted = is_wanted(search, image);
	if (wanted && has_dwarf(image))
		search->dwarf = image;
	else if (wanted && search->symbols == NULL && has_symbols(image))
		search->symbols = image;
	else
		image_free(image);
}

/* Looks at one path, unless the search is over. */
static void try(struct search *search, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void try(struct search *search, const char *format, ...)
{
	char path[PATH_BYTES];
	va_list arguments;
	if (search->dwarf != NULL)
		return;
	va_start(arguments, format);
	int len = vsnprintf(path, sizeof path, format, arguments);
	va_end(arguments);
	if (len > 0 && (size_t)len < sizeof path)
		consider(search, open_path(path));
}

static bool build_id_is_sound(const char *build_id)
{
	size_t len = strlen(build_id);
	return len >= 4 && len <= (size_t)2 * BUILD_ID_BYTES_MAX && strspn(build_id, "0123456789abcdef") == len;
}

static void try_build_id(struct search *search, const char *folder)
{
	if (build_id_is_sound(search->build_id))
		try(search, "%s/.build-id/%.2s/%s.debug", folder, search->build_id, search->build_id + 2);
}

/* Paths come from the target's maps and from files: one that climbs is not followed below a folder. */
static bool path_climbs(const char *path)
{
	size_t len = strlen(path);
	return strncmp(path, "../", 3) == 0 || strstr(path, "/../") != NULL ||
	       (len >= 3 && strcmp(path + len - 3, "/..") == 0);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

/* A folder that somebody made for this purpose. */
static void try_named_folder(struct search *search, const char *folder, const char *path)
{
	try_build_id(search, folder);
	if (path[0] == '/' && !path_climbs(path)) {
		try(search, "%s%s.debug", folder, path);
		try(search, "%s%s", folder, path);
	}
	const char *base = base_name(path);
	if (base[0] != '\0' && strcmp(base, "..") != 0) {
		try(search, "%s/%s.debug", folder, base);
		try(search, "%s/%s", folder, base);
	}
	if (build_id_is_sound(search->build_id)) {
		try(search, "%s/%s.debug", folder, search->build_id);
		try(search, "%s/%s", folder, search->build_id);
		/* As pprof has it: a folder for each build-id. */
		if (base[0] != '\0' && strcmp(base, "..") != 0)
			try(search, "%s/%s/%s", folder, search->build_id, base);
	}
	try(search, "%s", folder);
}

static void try_fetch(struct search *search, const struct debug_places *places)
{
	struct error err;
	if (search->dwarf != NULL || places->fetch == NULL || !build_id_is_sound(search->build_id))
		return;
	int fd = places->fetch(places->context, search->build_id);
	if (fd >= 0)
		consider(search, image_open(fd, "debuginfod", &err));
}

static struct image *search_end(struct search *search)
{
	if (search->dwarf == NULL)
		return search->symbols;
	image_free(search->symbols);
	return search->dwarf;
}

struct image *debug_places_find(const struct debug_places *places, const char *build_id, const char *path)
{
	struct search search = {.build_id = build_id};
	if (!build_id_is_sound(build_id))
		return NULL;
	for (size_t i = 0; i < places->n; i++)
		try_named_folder(&search, places->folders[i], path);
	try_build_id(&search, system_folder);
	if (path[0] == '/')
		try(&search, "%s", path);
	try_fetch(&search, places);
	return search_end(&search);
}

/* ---- what an image has beside it ---- */

/* The name in .gnu_debuglink, and the CRC behind it at the next multiple of 4. */
static bool link_read(const struct image *image, char name[PATH_BYTES], uint32_t *crc)
{
	struct section section;
	uint8_t bytes[PATH_BYTES + 8];
	if (!image_section(image, ".gnu_debuglink", &section) || section.size > sizeof bytes)
		return false;
	size_t len = image_read(image, section.offset, bytes, (size_t)section.size);
	size_t name_len = strnlen((const char *)bytes, len);
	size_t crc_at = (name_len + 4) & ~(size_t)3;
	if (name_len == 0 || name_len >= PATH_BYTES || crc_at > len || len - crc_at < sizeof *crc)
		return false;
	memcpy(name, bytes, name_len + 1);
	memcpy(crc, bytes + crc_at, sizeof *crc);
	/* A plain name is what the linker's tools write. */
	return strchr(name, '/') == NULL && strcmp(name, "..") != 0;
}

static void try_link(
	struct search *search, const struct debug_places *places, const char *path, const char *name)
{
	int folder_len = (int)(base_name(path) - path); /* with its slash */
	for (size_t i = 0; i < places->n; i++) {
		if (path[0] == '/' && !path_climbs(path))
			try(search, "%s%.*s%s", places->folders[i], folder_len, path, name);
		try(search, "%s/%s", places->folders[i], name);
	}
	if (path[0] != '/')
		return;
	try(search, "%.*s%s", folder_len, path, name);
	try(search, "%.*s.debug/%s", folder_len, path, name);
	try(search, "%s%.*s%s", system_folder, folder_len, path, name);
}

static struct image *find_separate(const struct debug_places *places, const struct image *image)
{
	char name[PATH_BYTES];
	struct search search = {.build_id = image_build_id(image)};
	bool linked = link_read(image, name, &search.crc);
	const char *path = image_path(image);
	if (search.build_id[0] != '\0') {
		for (size_t i = 0; i < places->n; i++)
			try_named_folder(&search, places->folders[i], path);
		try_build_id(&search, system_folder);
	}
	if (linked)
		try_link(&search, places, path, name);
	try_fetch(&search, places);
	/* The file itself, found by its own name, says nothing new. */
	struct image *found = search_end(&search);
	if (found == NULL || has_dwarf(found) || !has_symbols(image))
		return found;
	image_free(found);
	return NULL;
}

static bool altlink_read(const struct image *image, char *bytes, size_t cap, char *build_id)
{
	struct section section;
	if (!image_section(image, ".gnu_debugaltlink", &section) || section.size > cap)
		return false;
	size_t len = image_read(image, section.offset, bytes, (size_t)section.size);
	const char *end = memchr(bytes, '\0', len);
	if (end == NULL)
		return false;
	size_t id_at = (size_t)(end - bytes) + 1, id_len = len - id_at;
	if (id_len == 0 || id_len > BUILD_ID_BYTES_MAX)
		return false;
	for (size_t i = 0; i < id_len; i++)
		snprintf(build_id + 2 * i, 3, "%02x", (unsigned char)bytes[id_at + i]);
	return true;
}

/* The name in the link is absolute, or relative to the folder of the file that has it. */
static struct image *find_shared(const struct debug_places *places, const struct image *image)
{
	char name[PATH_BYTES + BUILD_ID_BYTES_MAX], build_id[2 * BUILD_ID_BYTES_MAX + 1];
	if (!altlink_read(image, name, sizeof name, build_id))
		return NULL;
	struct search search = {.build_id = build_id};
	const char *path = image_path(image);
	/* From .build-id/xx/yyyy.debug, dwz writes ../../.dwz/NAME. */
	const char *dwz = strstr(name, ".dwz/");
	for (size_t i = 0; i < places->n; i++) {
		try_build_id(&search, places->folders[i]);
		if (dwz != NULL && !path_climbs(dwz))
			try(&search, "%s/%s", places->folders[i], dwz);
		try(&search, "%s/%s", places->folders[i], base_name(name));
	}
	try_build_id(&search, system_folder);
	if (dwz != NULL && !path_climbs(dwz))
		try(&search, "%s/%s", system_folder, dwz);
	if (name[0] == '/')
		try(&search, "%s", name);
	else if (path[0] == '/')
		try(&search, "%.*s%s", (int)(base_name(path) - path), path, name);
	try_fetch(&search, places);
	return search_end(&search);
}

/* ---- split DWARF ---- */

/* Accepts any ELF file: its units carry ids. */
static struct image *open_formatted(const char *format, ...) __attribute__((format(printf, 1, 2)));

static struct image *open_formatted(const char *format, ...)
{
	char path[PATH_BYTES];
	va_list arguments;
	va_start(arguments, format);
	int len = vsnprintf(path, sizeof path, format, arguments);
	va_end(arguments);
	return len > 0 && (size_t)len < sizeof path ? open_path(path) : NULL;
}

static struct image *find_package(const struct debug_places *places, const struct image *image)
{
	const char *path = image_path(image), *base = base_name(path);
	struct image *found = NULL;
	for (size_t i = 0; i < places->n && found == NULL; i++) {
		if (path[0] == '/' && !path_climbs(path))
			found = open_formatted("%s%s.dwp", places->folders[i], path);
		if (found == NULL)
			found = open_formatted("%s/%s.dwp", places->folders[i], base);
	}
	if (found == NULL && path[0] == '/')
		found = open_formatted("%s.dwp", path);
	return found;
}

static bool ends_with(const char *text, const char *ending)
{
	size_t len = strlen(text), ending_len = strlen(ending);
	return len > ending_len && strcmp(text + len - ending_len, ending) == 0;
}

static struct image *find_split(
	const struct debug_places *places, const struct image *image, const struct split_name *half)
{
	const char *name = half->name, *base = base_name(name), *path = image_path(image);
	struct image *found = NULL;
	for (size_t i = 0; i < places->n && found == NULL; i++) {
		if (name[0] != '/' && !path_climbs(name))
			found = open_formatted("%s/%s", places->folders[i], name);
		if (found == NULL)
			found = open_formatted("%s/%s", places->folders[i], base);
	}
	if (found == NULL && name[0] == '/')
		found = open_formatted("%s", name);
	else if (found == NULL && half->folder[0] == '/')
		found = open_formatted("%s/%s", half->folder, name);
	/* Beside the binary, where a build folder was copied to. */
	if (found == NULL && path[0] == '/')
		found = open_formatted("%.*s%s", (int)(base_name(path) - path), path, base);
	return found;
}

bool symbol_files_add_split(
	const struct debug_places *places, const struct split_name *half, struct symbol_files *files)
{
	if (!ends_with(half->name, ".dwo") || files->n_split == SYMBOL_SPLIT_MAX)
		return false;
	struct image *found = find_split(places != NULL ? places : &no_places, files->binary, half);
	if (found == NULL)
		return false;
	if (files->n_split == files->cap_split) {
		size_t cap = files->cap_split == 0 ? 16 : files->cap_split * 2;
		struct image **split = reallocarray(files->split, cap, sizeof(struct image *));
		if (split == NULL) {
			image_free(found);
			return false;
		}
		files->split = split;
		files->cap_split = cap;
	}
	files->split[files->n_split++] = found;
	return true;
}

void symbol_files_open(
	const struct debug_places *places, const struct image *binary, struct symbol_files *files)
{
	if (places == NULL)
		places = &no_places;
	*files = (struct symbol_files){.binary = binary};
	if (!has_dwarf(binary))
		files->debug = find_separate(places, binary);
	const struct image *holder = files->debug != NULL ? files->debug : binary;
	if (!has_dwarf(holder))
		return;
	files->shared = find_shared(places, holder);
	files->package = find_package(places, binary);
	if (files->package == NULL && holder != binary)
		files->package = find_package(places, holder);
}

void symbol_files_close(struct symbol_files *files)
{
	image_free(files->debug);
	image_free(files->shared);
	image_free(files->package);
	for (size_t i = 0; i < files->n_split; i++)
		image_free(files->split[i]);
	free(files->split);
	*files = (struct symbol_files){0};
}

size_t symbol_files_fds(const struct symbol_files *files, int *fds)
{
	const struct image *all[4] = {files->binary, files->debug, files->shared, files->package};
	size_t n = 0;
	for (size_t i = 0; i < 4 + files->n_split; i++) {
		const struct image *image = i < 4 ? all[i] : files->split[i - 4];
		if (image != NULL && image_fd(image) >= 0)
			fds[n++] = image_fd(image);
	}
	return n;
}
