#include "encoder/filter.h"

#include <stdlib.h>
#include <string.h>

int filter_pattern(regex_t *regex, const char *pattern, struct error *err)
{
	char why[128];
	int failure = regcomp(regex, pattern, REG_EXTENDED | REG_NOSUB);
	if (failure == 0)
		return 0;
	regerror(failure, regex, why, sizeof why);
	return error_set(err, "'%s' is not a regular expression (%s): see man 7 regex", pattern, why);
}

int filter_compile(struct filter *filter, const char *focus, const char *ignore, struct error *err)
{
	if (focus != NULL && filter_pattern(&filter->focus, focus, err) != 0)
		return -1;
	filter->has_focus = focus != NULL;
	if (ignore != NULL && filter_pattern(&filter->ignore, ignore, err) != 0)
		return -1;
	filter->has_ignore = ignore != NULL;
	return 0;
}

void filter_free(struct filter *filter)
{
	if (filter->has_focus)
		regfree(&filter->focus);
	if (filter->has_ignore)
		regfree(&filter->ignore);
	filter->has_focus = filter->has_ignore = false;
}

enum { FOCUSED = 1, IGNORED = 2 };

static bool matches(const regex_t *regex, const struct view_frame *frame)
{
	const char *texts[] = {frame->function, frame->file, frame->module};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (texts[i][0] != '\0' && regexec(regex, texts[i], 0, NULL, 0) == 0)
			return true;
	return false;
}

static bool has_label(const struct view_sample *sample, const char *key, const char *wanted)
{
	const char *text = wanted != NULL ? view_text(sample, key) : NULL;
	return wanted == NULL || (text != NULL && strcmp(text, wanted) == 0);
}

static bool has_labels(const struct filter *filter, const struct view_sample *sample)
{
	int64_t tid;
	if (!has_label(sample, "state", filter->state) || !has_label(sample, "thread", filter->thread) ||
		!has_label(sample, "process", filter->process))
		return false;
	return filter->tid == 0 || (view_number(sample, "tid", &tid) && tid == filter->tid);
}

static bool is_shown(const struct filter *filter, const uint8_t *marks, const struct view_sample *sample)
{
	unsigned found = 0;
	for (size_t i = 0; i < sample->n_frames; i++)
		found |= marks[sample->frames[i]];
	if ((filter->has_focus && (found & FOCUSED) == 0) || (found & IGNORED) != 0)
		return false;
	return has_labels(filter, sample);
}

struct view *filter_apply(const struct filter *filter, const struct view *view)
{
	struct view *out = malloc(sizeof *out);
	uint8_t *marks = calloc(view->n_frames + 1, 1);
	struct view_sample *samples = calloc(view->n_samples + 1, sizeof *samples);
	if (out == NULL || marks == NULL || samples == NULL) {
		free(out);
		free(marks);
		free(samples);
		return NULL;
	}
	for (size_t i = 0; i < view->n_frames; i++) {
		marks[i] |= filter->has_focus && matches(&filter->focus, &view->frames[i]) ? FOCUSED : 0;
		marks[i] |= filter->has_ignore && matches(&filter->ignore, &view->frames[i]) ? IGNORED : 0;
	}
	*out = *view;
	out->samples = samples;
	out->n_samples = 0;
	for (size_t i = 0; i < view->n_samples; i++)
		if (is_shown(filter, marks, &view->samples[i]))
			samples[out->n_samples++] = view->samples[i];
	free(marks);
	return out;
}

void filter_view_free(struct view *view)
{
	if (view == NULL)
		return;
	free((void *)view->samples);
	free(view);
}
