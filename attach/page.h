/* What `top` has on the screen: a list of functions, of threads, or of one function's callers, and where in it
 * one is. */
#ifndef ATTACH_PAGE_H
#define ATTACH_PAGE_H

#include "attach/live.h"
#include "attach/ranking.h"
#include "attach/screen.h"

enum page_list { PAGE_FUNCTIONS, PAGE_THREADS, PAGE_CALLERS, PAGE_HELP };

/* What a key asks for beyond the page itself. */
enum page_wish { WISH_NOTHING, WISH_QUIT, WISH_OTHER_KIND, WISH_SUSPEND };

/* What stands above the list. */
struct page_facts {
	const struct target *target;
	enum profile_kind kind;
	struct live_facts live; /* as of the last window */
	double own_cpus; /* that we have used ourselves, with the processes that read symbols */
	double naming_seconds; /* for which names have been looked up by now */
};

struct page {
	enum page_list list;
	enum ranking_order order;
	bool paused;
	size_t at, top; /* the chosen row, and the first one shown */
	size_t back_at; /* the row that was chosen before one went into its callers */
	char function[1024]; /* whose callers are shown */
	size_t rows, height; /* of the list, as last drawn */
};

void page_draw(
	struct page *page, struct screen *screen, struct ranking *ranking, const struct page_facts *facts);
enum page_wish page_key(struct page *page, struct ranking *ranking, int key);

#endif
