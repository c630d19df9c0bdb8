/* What a run was like, as lines of text: the summary on standard error and the profile's comments say the same.
 * Pure. */
#ifndef ATTACH_REPORT_H
#define ATTACH_REPORT_H

#include "attach/sampler.h"

enum { REPORT_LINES = 16, REPORT_WIDTH = 256 };

struct report {
	char line[REPORT_LINES][REPORT_WIDTH];
	size_t n;
};

void report_make(
	const struct sampler_result *result, const struct sampler_options *options, struct report *report);
/* How often the two unwinders differ. */
void report_add_comparison(struct report *report, const struct unwinder_comparison *comparison);
/* How many processes there were, where children are profiled, too. */
void report_add_family(struct report *report, const struct family *family, const struct sampler_result *result);
/* One more line. */
void report_add(struct report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One module, for -v and the comments: its share of the samples, and how good its names are. */
enum { REPORT_MODULE_WIDTH = 4096 + REPORT_WIDTH };
void report_module(const struct profile_module *module, int64_t samples, char text[REPORT_MODULE_WIDTH]);
/* One line for each module that matters (1 % of the samples) and is not named whole, or whose files were
 * trouble; or one that says that all is well. */
void report_symbols(struct report *report, const struct profile_module *modules, size_t n, int64_t samples);
/* True when the file does not hold what was asked for: ended early, threads that could not be sampled, memory
 * out. */
bool report_is_partial(const struct sampler_result *result);

#endif
