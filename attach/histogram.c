#include "attach/histogram.h"

/* Values below 16 have a bucket each; above, 16 buckets for every power of two. */
static size_t bucket_of(uint64_t ns)
{
	if (ns < 16)
		return (size_t)ns;
	unsigned shift = 59u - (unsigned)__builtin_clzll(ns);
	return (size_t)(shift + 1) * 16 + (size_t)((ns >> shift) & 15);
}

/* The middle of a bucket. */
static uint64_t value_of(size_t bucket)
{
	if (bucket < 16)
		return bucket;
	unsigned shift = (unsigned)(bucket / 16) - 1;
	return ((16 + (uint64_t)(bucket % 16)) << shift) + ((UINT64_C(1) << shift) >> 1);
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
	histogram->bucket[bucket_of(ns)]++;
	histogram->count++;
	if (ns > histogram->max_ns)
		histogram->max_ns = ns;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
	double wanted = (double)histogram->count * percent / 100;
	uint64_t seen = 0;
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->bucket[i];
		if (seen > 0 && (double)seen >= wanted)
			return value_of(i) < histogram->max_ns ? value_of(i) : histogram->max_ns;
	}
	return 0;
}
