/* Where debug files are looked for, as the command line says. */
#ifndef ATTACH_PLACES_H
#define ATTACH_PLACES_H

#include "attach/options.h"
#include "symbols/debugfiles.h"
#include "symbols/debuginfod.h"

struct places {
	struct debug_places *folders; /* with the servers behind them, if they are asked */
	struct debuginfod *servers; /* may be NULL */
};

/* `stop_fd`: when it becomes readable, nothing more is fetched (-1: none). A server that cannot be asked is
 * told to people, and done without. -1 when memory is out; *places goes to places_close() in any case. */
int places_open(const struct options *options, int stop_fd, struct places *places);
void places_close(struct places *places);

#endif
