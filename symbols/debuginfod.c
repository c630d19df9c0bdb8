#include "symbols/debuginfod.h"

#include <dlfcn.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <time.h>

/* A static program has no loader (and dlopen(3) in it wants the very libc that it was linked with). */
static bool is_static(void)
{
	return getauxval(AT_BASE) == 0;
}

static const int64_t SECOND_NS = 1000000000;

/* What is used of the library, whose header need not be installed. */
struct client;
struct library {
	void *handle;
	struct client *(*begin)(void);
	void (*end)(struct client *);
	int (*find)(struct client *, const unsigned char *build_id, int len, char **path);
	void (*set_progress)(struct client *, int (*)(struct client *, long, long));
	void (*set_data)(struct client *, void *);
};

struct debuginfod {
	struct library library;
	struct debuginfod_options options;
	int64_t left_ns, deadline_ns, told_ns;
	const char *build_id; /* being fetched */
	bool ran_out;
};

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * SECOND_NS + t.tv_nsec;
}

/* POSIX: dlsym gives functions as void pointers. */
static bool find_function(void *handle, const char *name, void *function)
{
	*(void **)function = dlsym(handle, name);
	return *(void **)function != NULL;
}

static bool library_open(struct library *library)
{
	if (is_static())
		return false;
	void *handle = library->handle =
		dlopen("libdebuginfod.so.1", RTLD_NOW | RTLD_GLOBAL); /* for progress() */
	return handle != NULL && find_function(handle, "debuginfod_begin", &library->begin) &&
	       find_function(handle, "debuginfod_end", &library->end) &&
	       find_function(handle, "debuginfod_find_debuginfo", &library->find) &&
	       find_function(handle, "debuginfod_set_progressfn", &library->set_progress) &&
	       find_function(handle, "debuginfod_set_user_data", &library->set_data);
}

struct debuginfod *debuginfod_open(const struct debuginfod_options *options, struct error *err)
{
	const char *servers = getenv("DEBUGINFOD_URLS");
	if (servers == NULL || *servers == '\0') {
		error_set(err,
			"no server to fetch debug files from: set DEBUGINFOD_URLS, such as to "
			"https://debuginfod.debian.net (with sudo: sudo --preserve-env=DEBUGINFOD_URLS)");
		return NULL;
	}
	struct debuginfod *debuginfod = calloc(1, sizeof *debuginfod);
	if (debuginfod == NULL) {
		error_set(err, "memory is out");
		return NULL;
	}
	if (!library_open(&debuginfod->library)) {
		error_set(err, "debug files cannot be fetched: %s",
			is_static() ? "this program is linked statically"
				    : "install libdebuginfod (apt-get install libdebuginfod1)");
		debuginfod_close(debuginfod);
		return NULL;
	}
	debuginfod->options = *options;
	debuginfod->left_ns = options->limit_ns;
	return debuginfod;
}

void debuginfod_close(struct debuginfod *debuginfod)
{
	if (debuginfod == NULL)
		return;
	if (debuginfod->library.handle != NULL)
		dlclose(debuginfod->library.handle);
	free(debuginfod);
}

static bool is_stopped(const struct debuginfod *debuginfod)
{
	struct pollfd stop = {.fd = debuginfod->options.stop_fd, .events = POLLIN};
	return debuginfod->options.stop_fd >= 0 && poll(&stop, 1, 0) > 0;
}

/* The library calls this often; another answer than 0 ends the transfer. */
static int on_progress(long bytes, long total, struct debuginfod *debuginfod)
{
	enum { TOLD_A_SECOND = 5 };
	int64_t now = now_ns();
	if (is_stopped(debuginfod))
		return 1;
	if (now >= debuginfod->deadline_ns) {
		debuginfod->ran_out = true;
		return 1;
	}
	if (debuginfod->options.progress != NULL && now - debuginfod->told_ns >= SECOND_NS / TOLD_A_SECOND) {
		debuginfod->told_ns = now;
		debuginfod->options.progress(
			debuginfod->options.context, debuginfod->build_id, bytes, total > 0 ? total : 0);
	}
	return 0;
}

/* The library gives its callback no context but the client's, which only the library can tell. */
static int progress(struct client *client, long bytes, long total)
{
	void *(*get_data)(struct client *);
	return find_function(RTLD_DEFAULT, "debuginfod_get_user_data", &get_data)
		       ? on_progress(bytes, total, get_data(client))
		       : 0;
}

int debuginfod_fetch(void *context, const char *build_id)
{
	struct debuginfod *debuginfod = context;
	struct library *library = &debuginfod->library;
	int64_t begin = now_ns();
	if (debuginfod->left_ns <= 0 || is_stopped(debuginfod)) {
		debuginfod->ran_out |= debuginfod->left_ns <= 0;
		return -1;
	}
	/* One client for each file: whatever threads it had are gone when it is. */
	struct client *client = library->begin();
	if (client == NULL)
		return -1;
	debuginfod->build_id = build_id;
	debuginfod->deadline_ns = begin + debuginfod->left_ns;
	library->set_data(client, debuginfod);
	library->set_progress(client, progress);
	int fd = library->find(client, (const unsigned char *)build_id, 0, NULL);
	library->end(client);
	debuginfod->left_ns -= now_ns() - begin;
	return fd < 0 ? -1 : fd;
}

bool debuginfod_ran_out(const struct debuginfod *debuginfod)
{
	return debuginfod->ran_out;
}
