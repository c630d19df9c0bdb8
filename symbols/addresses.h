/* Sorted addresses: the form in which every reader of this room takes its questions. */
#ifndef SYMBOLS_ADDRESSES_H
#define SYMBOLS_ADDRESSES_H

#include <stddef.h>
#include <stdint.h>

/* The index of the first of pcs[0..n) that is not below `pc`; n when there is none. */
static inline size_t addresses_from(const uint64_t *pcs, size_t n, uint64_t pc)
{
	size_t lo = 0;
	while (lo < n) {
		size_t mid = lo + (n - lo) / 2;
		if (pcs[mid] < pc)
			lo = mid + 1;
		else
			n = mid;
	}
	return lo;
}

#endif
