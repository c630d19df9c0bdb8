#include "symbols/known.h"

#include "symbols/arena.h"

#include <stdlib.h>
#include <string.h>

enum {
	FIRST_SLOTS = 1024,
	ANSWERS_MAX = 1 << 18, /* some 100 MB */
	FAILURES_MAX = 64, /* images; when there are more, the others are asked again and again */
};

struct slot {
	const struct image *image; /* NULL: the slot is free */
	uint64_t vaddr;
	struct symbolized answer;
};

struct failure {
	const struct image *image;
	unsigned times;
};

struct known {
	struct arena *arena;
	struct slot *slots; /* open addressing, at most half full */
	size_t n_slots, n;
	struct failure failures[FAILURES_MAX];
	size_t n_failures;
};

struct known *known_new(void)
{
	struct known *known = calloc(1, sizeof *known);
	if (known == NULL)
		return NULL;
	known->arena = arena_new();
	known->slots = calloc(FIRST_SLOTS, sizeof *known->slots);
	known->n_slots = FIRST_SLOTS;
	if (known->arena != NULL && known->slots != NULL)
		return known;
	known_free(known);
	return NULL;
}

void known_free(struct known *known)
{
	if (known == NULL)
		return;
	arena_free(known->arena);
	free(known->slots);
	free(known);
}

/* The slot of the address, or the free one where it belongs. */
static struct slot *slot_of(struct slot *slots, size_t n_slots, const struct image *image, uint64_t vaddr)
{
	uint64_t hash = (vaddr ^ (uint64_t)(uintptr_t)image) * UINT64_C(0x9e3779b97f4a7c15);
	size_t i = (size_t)(hash >> 32) & (n_slots - 1);
	while (slots[i].image != NULL && (slots[i].image != image || slots[i].vaddr != vaddr))
		i = (i + 1) & (n_slots - 1);
	return &slots[i];
}

bool known_find(const struct known *known, const struct image *image, uint64_t vaddr, struct symbolized *out)
{
	const struct slot *slot = slot_of(known->slots, known->n_slots, image, vaddr);
	if (slot->image == NULL)
		return false;
	*out = slot->answer;
	return true;
}

static int grow(struct known *known)
{
	size_t n = known->n_slots * 2;
	struct slot *slots = calloc(n, sizeof *slots);
	if (slots == NULL)
		return -1;
	for (size_t i = 0; i < known->n_slots; i++)
		if (known->slots[i].image != NULL)
			*slot_of(slots, n, known->slots[i].image, known->slots[i].vaddr) = known->slots[i];
	free(known->slots);
	known->slots = slots;
	known->n_slots = n;
	return 0;
}

static bool copy_text(struct arena *arena, const char **text)
{
	*text = arena_string(arena, *text, strlen(*text));
	return *text != NULL;
}

int known_keep(struct known *known, const struct image *image, uint64_t vaddr, const struct symbolized *answer)
{
	if (known->n * 2 >= known->n_slots && grow(known) != 0)
		return -1;
	struct source_line *lines = arena_alloc(known->arena, (answer->n + 1) * sizeof *lines);
	if (lines == NULL)
		return -1;
	for (size_t i = 0; i < answer->n; i++) {
		lines[i] = answer->lines[i];
		if (!copy_text(known->arena, &lines[i].function) ||
			!copy_text(known->arena, &lines[i].system_name) ||
			!copy_text(known->arena, &lines[i].file))
			return -1;
	}
	struct slot *slot = slot_of(known->slots, known->n_slots, image, vaddr);
	known->n += slot->image == NULL;
	*slot = (struct slot){image, vaddr, {lines, answer->n}};
	return 0;
}

void known_tidy(struct known *known)
{
	if (known->n < ANSWERS_MAX)
		return;
	struct arena *fresh = arena_new();
	if (fresh == NULL)
		return;
	arena_free(known->arena);
	known->arena = fresh;
	memset(known->slots, 0, known->n_slots * sizeof *known->slots);
	known->n = 0;
}

unsigned known_failures(const struct known *known, const struct image *image)
{
	for (size_t i = 0; i < known->n_failures; i++)
		if (known->failures[i].image == image)
			return known->failures[i].times;
	return 0;
}

void known_failed(struct known *known, const struct image *image)
{
	for (size_t i = 0; i < known->n_failures; i++)
		if (known->failures[i].image == image) {
			known->failures[i].times++;
			return;
		}
	if (known->n_failures < FAILURES_MAX)
		known->failures[known->n_failures++] = (struct failure){image, 1};
}
