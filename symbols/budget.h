/* The limit of work on the debug information of one image. It comes from files that are not trusted: every loop
 * over it pays here. */
#ifndef SYMBOLS_BUDGET_H
#define SYMBOLS_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct budget {
	uint64_t left;
};

/* Takes `cost`; false, and nothing left, when there is not so much. */
bool budget_take(struct budget *budget, uint64_t cost);

#endif
