/* Debug files by build-id from the servers in the environment variable DEBUGINFOD_URLS, through libdebuginfod
 * of elfutils, which is loaded when it is first needed: only where somebody asked for it does this program use
 * the network. Source: debuginfod_find_debuginfo(3). */
#ifndef SYMBOLS_DEBUGINFOD_H
#define SYMBOLS_DEBUGINFOD_H

#include "unwind/error.h"

#include <stdbool.h>
#include <stdint.h>

struct debuginfod;

struct debuginfod_options {
	int64_t limit_ns; /* for all files together; afterwards there are none */
	int stop_fd; /* when it becomes readable, no more is fetched; -1: none */
	/* Called some times a second while one is fetched; may be NULL. `total` is 0 when not known. */
	void (*progress)(void *context, const char *build_id, int64_t bytes, int64_t total);
	void *context;
};

/* NULL, with the remedy in *err, when the library is not installed, no server is named, or memory is out. */
struct debuginfod *debuginfod_open(const struct debuginfod_options *options, struct error *err);
void debuginfod_close(struct debuginfod *debuginfod);
/* A descriptor of the debug file with this build-id (lowercase hex), or -1. `context` is the struct debuginfod:
 * for debug_places_fetch(). */
int debuginfod_fetch(void *context, const char *build_id);
/* Whether the time was used up before everything was asked for. */
bool debuginfod_ran_out(const struct debuginfod *debuginfod);

#endif
