/* Durations in log-linear buckets, 1/16 wide (at most 6 % off): fixed memory, no allocation, percentiles at any
 * time. */
#ifndef ATTACH_HISTOGRAM_H
#define ATTACH_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 16 * 61 };

struct histogram {
	uint64_t bucket[HISTOGRAM_BUCKETS];
	uint64_t count, max_ns;
};

void histogram_add(struct histogram *histogram, uint64_t ns);
/* The value below which `percent` of the durations lie; 0 when there is none. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

#endif
