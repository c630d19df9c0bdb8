#include "encoder/profile.h"
#include "encoder/profile_data.h"
#include "unwind/unwinder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct profile *profile_new(enum profile_kind kind)
{
	struct profile *profile = calloc(1, sizeof *profile);
	if (profile == NULL || profile_intern(profile, "") != 0) {
		profile_free(profile);
		return NULL;
	}
	profile->kind = kind;
	return profile;
}

void profile_free(struct profile *profile)
{
	if (profile == NULL)
		return;
	table_free(&profile->strings);
	table_free(&profile->locations);
	table_free(&profile->functions);
	table_free(&profile->samples);
	free(profile->sums);
	free(profile->scratch);
	free(profile->comments);
	free(profile->by_location);
	free(profile->lines);
	free(profile->modules);
	free(profile->mapping_complete);
	free(profile);
}

/* Strings are interned with their terminator. */
uint32_t profile_intern(struct profile *profile, const char *text)
{
	return table_intern(&profile->strings, text, strlen(text) + 1);
}

const char *profile_string(const struct profile *profile, uint32_t number)
{
	size_t len;
	return table_key(&profile->strings, number, &len);
}

const struct location_key *profile_location(const struct profile *profile, uint32_t number)
{
	size_t len;
	return table_key(&profile->locations, number, &len);
}

const struct function_key *profile_function(const struct profile *profile, uint32_t number)
{
	size_t len;
	return table_key(&profile->functions, number, &len);
}

const struct sample_key *profile_sample(
	const struct profile *profile, uint32_t number, const uint32_t **locations)
{
	size_t len;
	const struct sample_key *key = table_key(&profile->samples, number, &len);
	*locations = (const uint32_t *)(key + 1);
	return key;
}

/* ---- adding ---- */

static uint32_t intern_location(struct profile *profile, uint64_t address, uint32_t mapping, bool made_up)
{
	struct location_key key = {address, mapping, made_up};
	return table_intern(&profile->locations, &key, sizeof key);
}

static uint32_t intern_made_up(struct profile *profile, const char *name)
{
	uint32_t string = profile_intern(profile, name);
	return string == TABLE_NONE ? TABLE_NONE : intern_location(profile, string, MAPPING_NONE, true);
}

/* Room for a sample of `n` locations; returns where they go, NULL when memory is out. */
static uint32_t *make_key(struct profile *profile, const struct labels *labels, size_t n)
{
	size_t need = sizeof(struct sample_key) / sizeof(uint32_t) + n;
	if (need > profile->scratch_cap) {
		uint32_t *larger = realloc(profile->scratch, need * sizeof *larger);
		if (larger == NULL)
			return NULL;
		profile->scratch = larger;
		profile->scratch_cap = need;
	}
	struct sample_key key = {
		.thread = profile_intern(profile, labels->thread != NULL ? labels->thread : ""),
		.state = profile_intern(profile, labels->state != NULL ? labels->state : ""),
		.syscall = profile_intern(profile, labels->syscall != NULL ? labels->syscall : ""),
		.tid = labels->tid,
		.pid = labels->pid,
		.n = (uint32_t)n};
	if (key.thread == TABLE_NONE || key.state == TABLE_NONE || key.syscall == TABLE_NONE)
		return NULL;
	memcpy(profile->scratch, &key, sizeof key);
	return profile->scratch + sizeof key / sizeof(uint32_t);
}

static int add_key(struct profile *profile, size_t n, int64_t count, int64_t ns)
{
	size_t known = profile->samples.n;
	if (known == profile->sums_cap) {
		size_t cap = known > 0 ? known * 2 : 256;
		struct sums *larger = realloc(profile->sums, cap * sizeof *larger);
		if (larger == NULL)
			return -1;
		profile->sums = larger;
		profile->sums_cap = cap;
	}
	uint32_t number = table_intern(
		&profile->samples, profile->scratch, sizeof(struct sample_key) + n * sizeof(uint32_t));
	if (number == TABLE_NONE)
		return -1;
	if (number == known)
		profile->sums[number] = (struct sums){0, 0};
	profile->sums[number].count += count;
	profile->sums[number].ns += ns;
	return 0;
}

/* The made-up frames of a stack that is not whole. */
struct marks {
	uint32_t gap, root; /* TABLE_NONE: not needed */
};

static int make_marks(struct profile *profile, const struct stack *stack, struct marks *marks)
{
	char name[96];
	*marks = (struct marks){TABLE_NONE, TABLE_NONE};
	if (stack->gap_frames > 0) {
		snprintf(name, sizeof name, "[%zu frames left out]", stack->gap_frames);
		marks->gap = intern_made_up(profile, name);
		if (marks->gap == TABLE_NONE)
			return -1;
	}
	if (stack->why == STOP_ROOT)
		return 0;
	snprintf(name, sizeof name, "[truncated: %s]", stop_name(stack->why));
	marks->root = intern_made_up(profile, name);
	return marks->root == TABLE_NONE ? -1 : 0;
}

int profile_add(struct profile *profile, const struct stack *stack, const struct labels *labels, int64_t count,
	int64_t ns)
{
	struct marks marks;
	if (make_marks(profile, stack, &marks) != 0)
		return -1;
	size_t n = stack->n + (marks.gap != TABLE_NONE) + (marks.root != TABLE_NONE), at = 0;
	uint32_t *locations = make_key(profile, labels, n);
	if (locations == NULL)
		return -1;
	for (size_t i = 0; i < stack->n; i++) {
		const struct frame *frame = &stack->v[i];
		if (i == stack->gap_at && marks.gap != TABLE_NONE)
			locations[at++] = marks.gap;
		uint32_t number = intern_location(profile, frame->pc - frame->is_return, frame->mapping, false);
		if (number == TABLE_NONE)
			return -1;
		locations[at++] = number;
	}
	if (marks.root != TABLE_NONE)
		locations[at++] = marks.root;
	return add_key(profile, n, count, ns);
}

int profile_add_named(
	struct profile *profile, const char *frame, const struct labels *labels, int64_t count, int64_t ns)
{
	uint32_t number = intern_made_up(profile, frame);
	uint32_t *locations = number != TABLE_NONE ? make_key(profile, labels, 1) : NULL;
	if (locations == NULL)
		return -1;
	locations[0] = number;
	return add_key(profile, 1, count, ns);
}

int profile_comment(struct profile *profile, const char *format, ...)
{
	char text[4096 + 512]; /* a path and what is said of it */
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (profile->n_comments == profile->comments_cap) {
		size_t cap = profile->comments_cap > 0 ? profile->comments_cap * 2 : 32;
		uint32_t *larger = realloc(profile->comments, cap * sizeof *larger);
		if (larger == NULL)
			return -1;
		profile->comments = larger;
		profile->comments_cap = cap;
	}
	uint32_t number = profile_intern(profile, text);
	if (number == TABLE_NONE)
		return -1;
	profile->comments[profile->n_comments++] = number;
	return 0;
}

void profile_totals(const struct profile *profile, int64_t *count, int64_t *ns)
{
	*count = *ns = 0;
	for (size_t i = 0; i < profile->samples.n; i++) {
		*count += profile->sums[i].count;
		*ns += profile->sums[i].ns;
	}
}

size_t profile_stacks(const struct profile *profile)
{
	return profile->samples.n;
}
