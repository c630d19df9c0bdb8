#include "symbols/debugfile.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static const char debug_root[] = "/usr/lib/debug/";

enum { BUILD_ID_BYTES_MAX = 64, PATH_BYTES = 4096 };

static struct image *open_checked(const char *path, const char *build_id)
{
	struct error err;
	/* O_NONBLOCK: whatever sits at this path must not make us wait; image_open() wants a regular file. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return NULL;
	struct image *image = image_open(fd, path, &err);
	if (image != NULL && strcmp(image_build_id(image), build_id) != 0) {
		image_free(image);
		return NULL;
	}
	return image;
}

struct image *debugfile_open(const char *build_id)
{
	char path[PATH_BYTES];
	size_t len = strlen(build_id);
	if (len < 4 || len > 2 * BUILD_ID_BYTES_MAX || strspn(build_id, "0123456789abcdef") != len)
		return NULL;
	snprintf(path, sizeof(path), "%s.build-id/%.2s/%s.debug", debug_root, build_id, build_id + 2);
	return open_checked(path, build_id);
}

/* The name in the link is relative to the debug file's own folder or absolute; what is below /usr/lib/debug is
 * tried. */
static struct image *open_named(const char *name, const char *build_id)
{
	if (strncmp(name, debug_root, strlen(debug_root)) == 0 && strstr(name, "/../") == NULL)
		return open_checked(name, build_id);
	/* From .build-id/xx/yyyy.debug, dwz writes ../../.dwz/NAME. */
	const char *shared = strstr(name, ".dwz/");
	char path[PATH_BYTES];
	if (shared == NULL || strstr(shared, "/../") != NULL)
		return NULL;
	int len = snprintf(path, sizeof(path), "%s%s", debug_root, shared);
	return len > 0 && (size_t)len < sizeof(path) ? open_checked(path, build_id) : NULL;
}

struct image *debugfile_open_shared(const struct image *image)
{
	struct section link;
	char bytes[PATH_BYTES + BUILD_ID_BYTES_MAX];
	char build_id[2 * BUILD_ID_BYTES_MAX + 1];
	if (!image_section(image, ".gnu_debugaltlink", &link) || link.size > sizeof(bytes))
		return NULL;
	size_t len = image_read(image, link.offset, bytes, (size_t)link.size);
	const char *end = memchr(bytes, '\0', len);
	if (end == NULL)
		return NULL;
	size_t id_at = (size_t)(end - bytes) + 1;
	size_t id_len = len - id_at;
	if (id_len == 0 || id_len > BUILD_ID_BYTES_MAX)
		return NULL;
	for (size_t i = 0; i < id_len; i++)
		snprintf(build_id + 2 * i, 3, "%02x", (unsigned char)bytes[id_at + i]);
	struct image *shared = open_named(bytes, build_id);
	return shared != NULL ? shared : debugfile_open(build_id);
}

void symbol_files_open(const struct image *binary, struct symbol_files *files)
{
	struct section own;
	*files = (struct symbol_files){.binary = binary};
	if (!image_section(binary, ".debug_info", &own))
		files->debug = debugfile_open(image_build_id(binary));
	files->shared = debugfile_open_shared(files->debug != NULL ? files->debug : binary);
}

void symbol_files_close(struct symbol_files *files)
{
	image_free(files->debug);
	image_free(files->shared);
}

size_t symbol_files_fds(const struct symbol_files *files, int *fds)
{
	const struct image *all[SYMBOL_FILES_MAX] = {files->binary, files->debug, files->shared};
	size_t n = 0;
	for (size_t i = 0; i < SYMBOL_FILES_MAX; i++)
		if (all[i] != NULL && image_fd(all[i]) >= 0)
			fds[n++] = image_fd(all[i]);
	return n;
}
