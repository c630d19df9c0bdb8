#include "attach/places.h"

#include "attach/ui.h"

#include <unistd.h>

/* For all files together: 1 GB over a line of 100 Mbit/s takes 80 s. */
static const int64_t FETCH_LIMIT_NS = INT64_C(120) * 1000000000;

static void show_progress(void *context, const char *build_id, int64_t bytes, int64_t total)
{
	(void)context;
	ui_fetching(build_id, bytes, total);
}

static void ask_servers(const struct options *options, int stop_fd, struct places *places)
{
	struct error err;
	struct debuginfod_options fetching = {.limit_ns = FETCH_LIMIT_NS, .stop_fd = stop_fd};
	if (!options->quiet && isatty(STDERR_FILENO))
		fetching.progress = show_progress;
	places->servers = debuginfod_open(&fetching, &err);
	if (places->servers == NULL)
		ui_error(err.message);
	else
		debug_places_fetch(places->folders, debuginfod_fetch, places->servers);
}

int places_open(const struct options *options, int stop_fd, struct places *places)
{
	*places = (struct places){.folders = debug_places_new()};
	if (places->folders == NULL)
		return -1;
	for (size_t i = 0; i < options->n_debug_paths; i++)
		if (debug_places_add(places->folders, options->debug_paths[i]) != 0)
			return -1;
	if (options->debuginfod)
		ask_servers(options, stop_fd, places);
	return 0;
}

void places_close(struct places *places)
{
	if (places->servers != NULL && debuginfod_ran_out(places->servers))
		ui_error("the time for fetching debug files was used up: some names are missing; what was "
			 "fetched is "
			 "kept for the next time");
	debug_places_free(places->folders);
	debuginfod_close(places->servers);
	*places = (struct places){0};
}
