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
	table_free(&profile->pieces);
	table_free(&profile->samples);
	free(profile->sums);
	free(profile->stack.v);
	free(profile->key.v);
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

const struct sample_key *profile_sample(const struct profile *profile, uint32_t number, const uint32_t **pieces)
{
	size_t len;
	const struct sample_key *key = table_key(&profile->samples, number, &len);
	*pieces = (const uint32_t *)(key + 1);
	return key;
}

const uint32_t *profile_piece(const struct profile *profile, uint32_t number, size_t *n)
{
	size_t len;
	const uint32_t *locations = table_key(&profile->pieces, number, &len);
	*n = len / sizeof *locations;
	return locations;
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

static int reserve(struct words *words, size_t need)
{
	if (need <= words->cap)
		return 0;
	uint32_t *larger = realloc(words->v, need * 2 * sizeof *larger);
	if (larger == NULL)
		return -1;
	words->v = larger;
	words->cap = need * 2;
	return 0;
}

static int make_key(struct profile *profile, const struct labels *labels, size_t n, struct sample_key *key)
{
	*key = (struct sample_key){
		.process = profile_intern(profile, labels->process != NULL ? labels->process : ""),
		.thread = profile_intern(profile, labels->thread != NULL ? labels->thread : ""),
		.state = profile_intern(profile, labels->state != NULL ? labels->state : ""),
		.syscall = profile_intern(profile, labels->syscall != NULL ? labels->syscall : ""),
		.backed_off = profile_intern(profile, labels->backed_off != NULL ? labels->backed_off : ""),
		.tid = labels->tid,
		.pid = labels->pid,
		.n = (uint32_t)n};
	bool failed = key->process == TABLE_NONE || key->thread == TABLE_NONE || key->state == TABLE_NONE ||
		      key->syscall == TABLE_NONE || key->backed_off == TABLE_NONE;
	return failed ? -1 : 0;
}

/* Cuts stack[first..end) into pieces. Only the first is short: what is counted from the root stays the same
 * while the leaf end of a recursion comes and goes. */
static int cut(struct profile *profile, struct sample_key *key, size_t first, size_t end)
{
	uint32_t *pieces = profile->key.v + sizeof *key / sizeof(uint32_t);
	for (size_t n; first < end; first += n) {
		n = (end - first) % PIECE_MAX;
		if (n == 0)
			n = PIECE_MAX;
		uint32_t piece = table_intern(&profile->pieces, profile->stack.v + first, n * sizeof(uint32_t));
		if (piece == TABLE_NONE)
			return -1;
		pieces[key->n_pieces++] = piece;
	}
	return 0;
}

static int add_key(struct profile *profile, size_t words, int64_t count, int64_t ns)
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
	uint32_t number = table_intern(&profile->samples, profile->key.v, words * sizeof(uint32_t));
	if (number == TABLE_NONE)
		return -1;
	if (number == known)
		profile->sums[number] = (struct sums){0, 0};
	profile->sums[number].count += count;
	profile->sums[number].ns += ns;
	return 0;
}

/* Adds the `n` locations in profile->stack. stack[gap] is the mark of a gap, a piece of its own: its number
 * differs from stack to stack, what is on its two sides often does not. `gap` is n when there is none. */
static int add_stack(
	struct profile *profile, const struct labels *labels, size_t n, size_t gap, int64_t count, int64_t ns)
{
	struct sample_key key;
	size_t header = sizeof key / sizeof(uint32_t);
	/* At most three short pieces: the two sides' and the mark. */
	if (reserve(&profile->key, header + n / PIECE_MAX + 3) != 0 || make_key(profile, labels, n, &key) != 0)
		return -1;
	if (cut(profile, &key, 0, gap) != 0)
		return -1;
	if (gap < n && (cut(profile, &key, gap, gap + 1) != 0 || cut(profile, &key, gap + 1, n) != 0))
		return -1;
	memcpy(profile->key.v, &key, sizeof key);
	return add_key(profile, header + key.n_pieces, count, ns);
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
	if (make_marks(profile, stack, &marks) != 0 || reserve(&profile->stack, stack->n + 2) != 0)
		return -1;
	uint32_t *locations = profile->stack.v;
	size_t at = 0, gap = SIZE_MAX;
	for (size_t i = 0; i <= stack->n; i++) {
		/* Also when nothing is known beyond the gap. */
		if (marks.gap != TABLE_NONE && gap == SIZE_MAX && (i == stack->gap_at || i == stack->n)) {
			gap = at;
			locations[at++] = marks.gap;
		}
		if (i == stack->n)
			break;
		const struct frame *frame = &stack->v[i];
		uint32_t number = intern_location(profile, frame->pc - frame->is_return, frame->mapping, false);
		if (number == TABLE_NONE)
			return -1;
		locations[at++] = number;
	}
	if (marks.root != TABLE_NONE)
		locations[at++] = marks.root;
	return add_stack(profile, labels, at, gap < at ? gap : at, count, ns);
}

int profile_add_named(
	struct profile *profile, const char *frame, const struct labels *labels, int64_t count, int64_t ns)
{
	uint32_t number = intern_made_up(profile, frame);
	if (number == TABLE_NONE || reserve(&profile->stack, 1) != 0)
		return -1;
	profile->stack.v[0] = number;
	return add_stack(profile, labels, 1, 1, count, ns);
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
