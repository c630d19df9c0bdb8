#include "attach/capture.h"
#include "attach/target.h"

#include <string.h>
#include <sys/mman.h>

enum {
	RED_ZONE = 128, /* below rsp, a leaf's (psABI AMD64, 3.2.2) */
	COPIES_TOUCHED = 1 << 20, /* faulted in beforehand: no page fault of ours lengthens a pause */
	HOME_MIN_BYTES = 16 << 10, /* smaller than any thread's stack: not worth searching */
};

int copies_new(struct copies *copies)
{
	void *bytes = mmap(NULL, COPIES_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bytes == MAP_FAILED)
		return -1;
	memset(bytes, 0, COPIES_TOUCHED);
	*copies = (struct copies){bytes, 0, COPIES_BYTES};
	return 0;
}

void copies_free(struct copies *copies)
{
	if (copies->bytes != NULL)
		munmap(copies->bytes, copies->cap);
	*copies = (struct copies){0};
}

/* How much to copy upwards of `start`. The end of the mapping is the end of the stack, unless the stack lies in
 * a heap (goroutines): there only what was needed lately is worth copying. */
static size_t bytes_from(const struct space *space, uint64_t start, size_t want)
{
	const struct map *map = space_map(space, start);
	size_t usual = want > CAPTURE_MIN_BYTES ? want : CAPTURE_MIN_BYTES;
	if (map == NULL)
		return usual; /* a new thread's: the kernel stops at its end */
	uint64_t used = map->end - start;
	if (used <= CAPTURE_ALL_BYTES)
		return (size_t)used;
	if (strcmp(map->path, "[stack]") == 0)
		return used < CAPTURE_MAX_BYTES ? (size_t)used : CAPTURE_MAX_BYTES;
	return used < usual ? (size_t)used : usual;
}

static void copy_region(pid_t tid, uint64_t start, size_t len, struct copies *copies, struct region *out)
{
	size_t room = copies->cap - copies->used;
	out->start = start;
	out->bytes = copies->bytes + copies->used;
	out->len = target_read(tid, start, out->bytes, len < room ? len : room);
	copies->used += (out->len + 15) & ~(size_t)15;
}

/* The thread's ordinary stack when rsp is elsewhere, or NULL. */
static const struct map *home_of(
	const struct space *space, const struct capture_hint *hint, const struct region *first)
{
	const struct map *home = hint->home != 0 ? space_map(space, hint->home) : NULL;
	if (home == NULL || !home->write || home->end - home->start < HOME_MIN_BYTES)
		return NULL;
	return first->start >= home->start && first->start < home->end ? NULL : home;
}

/* On an alternate stack the signal frame holds the interrupted rsp, and nothing that points into the ordinary
 * stack points below it but leftovers: so the lowest pointer found is where to copy from. Not exact, and need
 * not be: the walk reads only what it needs. */
static uint64_t lowest_pointer(const struct region *region, const struct map *into)
{
	uint64_t lowest = UINT64_MAX;
	for (size_t at = 0; region->len - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
		uint64_t word;
		memcpy(&word, region->bytes + at, sizeof word);
		if (word >= into->start && word < into->end && word < lowest)
			lowest = word;
	}
	return lowest;
}

void capture_stack(
	const struct space *space, const struct capture_hint *hint, struct copies *copies, struct snapshot *out)
{
	uint64_t sp = out->regs.r[AMD64_RSP];
	uint64_t start = sp > RED_ZONE ? (sp - RED_ZONE) & ~UINT64_C(7) : 0;
	const struct map *map = space_map(space, sp);
	if (map != NULL && start < map->start)
		start = map->start;
	copy_region(out->tid, start, bytes_from(space, start, hint->want_bytes), copies, &out->region[0]);
	out->region[1] = (struct region){0};
	const struct map *home = home_of(space, hint, &out->region[0]);
	if (home == NULL || out->region[0].len < sizeof(uint64_t))
		return;
	uint64_t lowest = lowest_pointer(&out->region[0], home);
	if (lowest == UINT64_MAX)
		return;
	uint64_t from = lowest - home->start > RED_ZONE ? (lowest - RED_ZONE) & ~UINT64_C(7) : home->start;
	copy_region(out->tid, from, bytes_from(space, from, hint->want_bytes), copies, &out->region[1]);
}

size_t capture_want_more(size_t want_bytes)
{
	size_t more = want_bytes < CAPTURE_ALL_BYTES ? 4 * CAPTURE_ALL_BYTES : want_bytes * 4;
	return more < CAPTURE_MAX_BYTES ? more : CAPTURE_MAX_BYTES;
}
