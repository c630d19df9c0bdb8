#include "attach/capture.h"
#include "attach/target.h"

#include <string.h>
#include <sys/mman.h>

enum {
	RED_ZONE = 128, /* below rsp, a leaf's (psABI AMD64, 3.2.2) */
	COPIES_TOUCHED = 1 << 20, /* faulted in beforehand: no page fault of ours lengthens a pause */
	VDSO_FRAMES = 1024, /* the red zone, and what a function of the vdso pushes */
	GOROUTINE_TRIES = 64, /* words that may be one */
	HOME_MIN_BYTES = 16 << 10, /* smaller than any thread's stack: not worth searching */
};

int copies_new(struct copies *copies, size_t size)
{
	void *bytes =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		return -1;
	memset(bytes, 0, size < COPIES_TOUCHED ? size : COPIES_TOUCHED);
	*copies = (struct copies){bytes, 0, size};
	return 0;
}

void copies_free(struct copies *copies)
{
	if (copies->bytes != NULL)
		munmap(copies->bytes, copies->cap);
	*copies = (struct copies){0};
}

static size_t most_bytes(const struct capture_hint *hint)
{
	return hint->max_bytes > 0 ? hint->max_bytes : CAPTURE_MAX_BYTES;
}

/* How much to copy upwards of `start`. The end of the mapping is the end of the stack, unless the stack lies in
 * a heap (goroutines): there only what was needed lately is worth copying. */
static size_t bytes_from(const struct space *space, uint64_t start, const struct capture_hint *hint)
{
	const struct map *map = space_map(space, start);
	size_t most = most_bytes(hint);
	size_t usual = hint->want_bytes > CAPTURE_MIN_BYTES ? hint->want_bytes : CAPTURE_MIN_BYTES;
	if (map == NULL)
		return usual; /* a new thread's: the kernel stops at its end */
	uint64_t used = map->end - start;
	if (used <= CAPTURE_ALL_BYTES)
		return (size_t)used;
	if (strcmp(map->path, "[stack]") == 0)
		return used < most ? (size_t)used : most;
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

/* From `start` up to a stack's known end. */
static size_t bytes_to(uint64_t start, uint64_t end, size_t want)
{
	size_t usual = want > CAPTURE_ALL_BYTES ? want : CAPTURE_ALL_BYTES;
	return end - start < usual ? (size_t)(end - start) : usual;
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
 * stack [start, end) points below it but leftovers: so the lowest pointer found is where to copy from. Not
 * exact, and need not be: the walk reads only what it needs. UINT64_MAX: there is none. */
static uint64_t lowest_pointer(const struct region *region, uint64_t start, uint64_t end)
{
	uint64_t lowest = UINT64_MAX;
	for (size_t at = 0; at < region->len && region->len - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
		uint64_t word;
		memcpy(&word, region->bytes + at, sizeof word);
		if (word >= start && word < end && word < lowest)
			lowest = word;
	}
	return lowest;
}

/* The address from where to copy, with the red zone, but not below `bottom`. */
static uint64_t with_red_zone(uint64_t sp, uint64_t bottom)
{
	return sp - bottom > RED_ZONE ? (sp - RED_ZONE) & ~UINT64_C(7) : bottom;
}

static void copy_home(
	const struct space *space, const struct capture_hint *hint, struct copies *copies, struct snapshot *out)
{
	const struct map *home = home_of(space, hint, &out->region[0]);
	if (home == NULL)
		return;
	uint64_t lowest = lowest_pointer(&out->region[0], home->start, home->end);
	if (lowest == UINT64_MAX)
		return;
	uint64_t from = with_red_zone(lowest, home->start);
	copy_region(out->tid, from, bytes_from(space, from, hint), copies, &out->region[1]);
}

/* ---- Go ---- */

/* Words of runtime.g and runtime.m on amd64, as far as all releases since 1.16 have them alike. */
enum { G_LO = 0, G_HI = 1, G_M = 6, G_SP = 7, G_PC = 8, G_WORDS = 14, M_G0 = 0, M_WORDS = 25 };

/* Where m.curg and g.sched.bp are: since 1.25, and before. */
static const struct go_layout {
	size_t curg, bp;
} go_layouts[] = {{23, 12}, {24, 13}};

static bool read_words(pid_t tid, uint64_t address, uint64_t *words, size_t n)
{
	return address != 0 && target_read(tid, address, words, n * sizeof *words) == n * sizeof *words;
}

/* Is it a goroutine of `m`, with a stack that can be one? */
static bool is_g(const uint64_t *g, uint64_t m)
{
	enum { STACK_MAX = 1 << 30 }; /* runtime/debug.SetMaxStack */
	return g[G_M] == m && g[G_LO] < g[G_HI] && g[G_HI] - g[G_LO] <= STACK_MAX;
}

/* Reads a goroutine of `m`; `known` is one that was read before, from `known_at`. */
static bool read_g(
	pid_t tid, uint64_t address, uint64_t m, const uint64_t *known, uint64_t known_at, uint64_t *g)
{
	if (address == known_at)
		memcpy(g, known, G_WORDS * sizeof *g);
	else if (address % 8 != 0 || !read_words(tid, address, g, G_WORDS))
		return false;
	return is_g(g, m);
}

static bool holds(const uint64_t *g, uint64_t address)
{
	return address >= g[G_LO] && address < g[G_HI];
}

/* What is found of Go's stacks by the word where the thread keeps its goroutine. */
struct go_stacks {
	uint64_t g0[G_WORDS], curg[G_WORDS];
	bool has_curg;
};

/* By any goroutine of the thread. m.curg is what the thread works for, also while the current goroutine is its
 * g0 or the one for signals. */
static bool find_go_stacks(pid_t tid, uint64_t current, struct go_stacks *stacks, struct goroutine *out)
{
	uint64_t g[G_WORDS], m[M_WORDS];
	if (!read_words(tid, current, g, G_WORDS) || !read_words(tid, g[G_M], m, M_WORDS) ||
		!read_g(tid, m[M_G0], g[G_M], g, current, stacks->g0))
		return false;
	for (size_t i = 0; i < sizeof go_layouts / sizeof *go_layouts && !stacks->has_curg; i++) {
		uint64_t address = m[go_layouts[i].curg];
		stacks->has_curg = address != m[M_G0] && read_g(tid, address, g[G_M], g, current, stacks->curg);
		if (stacks->has_curg)
			*out = (struct goroutine){stacks->curg[G_LO], stacks->curg[G_HI], stacks->curg[G_SP],
				stacks->curg[G_PC], stacks->curg[go_layouts[i].bp], stacks->g0[G_SP]};
	}
	return true;
}

/* What Go allocates lies in anonymous memory. */
static bool may_be_goroutine(const struct space *space, const struct region *stack, uint64_t word)
{
	const struct map *map = word % 8 == 0 ? space_map(space, word) : NULL;
	return map != NULL && map->write && map->inode == 0 &&
	       (stack->start < map->start || stack->start >= map->end);
}

/* Of a thread that sleeps in C, and was never stopped: asmcgocall has left the goroutine on this stack, which
 * is its g0's. */
static bool search_go_stacks(const struct space *space, pid_t tid, const struct region *stack,
	struct go_stacks *stacks, struct goroutine *out)
{
	unsigned tries = GOROUTINE_TRIES;
	for (size_t at = 0; at + sizeof(uint64_t) <= stack->len && tries > 0; at += sizeof(uint64_t)) {
		uint64_t word, g[G_WORDS];
		memcpy(&word, stack->bytes + at, sizeof word);
		if (!may_be_goroutine(space, stack, word))
			continue;
		tries--;
		if (read_words(tid, word, g, G_WORDS) && is_g(g, g[G_M]) &&
			find_go_stacks(tid, word, stacks, out) && stacks->has_curg &&
			holds(stacks->g0, stack->start + RED_ZONE))
			return true;
		*stacks = (struct go_stacks){.has_curg = false};
	}
	*out = (struct goroutine){0};
	return false;
}

/* Copies a stack on which rsp is not. Its goroutine says where it left it, or, for calls into the vdso
 * (nanotime1), only the frame pointer does, in its register or in the vdso's frame; for a signal's handler the
 * signal frame. */
static void copy_go_stack(const struct capture_hint *hint, const uint64_t *g, size_t searched,
	struct copies *copies, struct snapshot *out, struct region *region)
{
	uint64_t from = holds(g, g[G_SP]) ? g[G_SP] : UINT64_MAX, bp = out->regs.r[AMD64_RBP];
	struct region first = out->region[0];
	if (first.len > searched)
		first.len = searched;
	uint64_t lowest = lowest_pointer(&first, g[G_LO], g[G_HI]);
	if (lowest < from)
		from = lowest;
	if (holds(g, bp) && bp < from)
		from = bp;
	if (from == UINT64_MAX)
		return;
	from = with_red_zone(from, g[G_LO]);
	copy_region(out->tid, from, bytes_to(from, g[G_HI], hint->want_bytes), copies, region);
}

/* The other stacks of a Go thread, once that on which it is has been copied. */
static void copy_go_stacks(const struct capture_hint *hint, const struct go_stacks *stacks,
	struct copies *copies, struct snapshot *out)
{
	uint64_t sp = out->regs.r[AMD64_RSP];
	bool on_curg = stacks->has_curg && holds(stacks->curg, sp), on_g0 = holds(stacks->g0, sp);
	size_t searched = on_curg ? 0 : on_g0 ? VDSO_FRAMES : SIZE_MAX;
	if (stacks->has_curg && !on_curg)
		copy_go_stack(hint, stacks->curg, searched, copies, out, &out->region[1]);
	/* Go that C has called: the C frames lie on the thread's own stack. */
	if (!on_g0)
		copy_go_stack(hint, stacks->g0, searched, copies, out, &out->region[2]);
}

/* False when the thread is not known to be one of Go's. */
static bool capture_go(const struct space *space, const struct capture_hint *hint, uint64_t start,
	struct copies *copies, struct snapshot *out)
{
	struct go_stacks stacks = {.has_curg = false};
	uint64_t sp = out->regs.r[AMD64_RSP], current;
	if (hint->goroutine_at == 0 || !read_words(out->tid, hint->goroutine_at, &current, 1) ||
		!find_go_stacks(out->tid, current, &stacks, &out->goroutine))
		return false;
	bool on_curg = stacks.has_curg && holds(stacks.curg, sp);
	size_t len =
		on_curg ? bytes_to(start, stacks.curg[G_HI], hint->want_bytes) : bytes_from(space, start, hint);
	copy_region(out->tid, start, len, copies, &out->region[0]);
	if (out->region[0].len >= sizeof(uint64_t))
		copy_go_stacks(hint, &stacks, copies, out);
	return true;
}

/* ---- */

void capture_stack(
	const struct space *space, const struct capture_hint *hint, struct copies *copies, struct snapshot *out)
{
	uint64_t sp = out->regs.r[AMD64_RSP];
	uint64_t start = sp > RED_ZONE ? (sp - RED_ZONE) & ~UINT64_C(7) : 0;
	const struct map *map = space_map(space, sp);
	if (map != NULL && start < map->start)
		start = map->start;
	for (int i = 0; i < SNAPSHOT_REGIONS; i++)
		out->region[i] = (struct region){0};
	out->goroutine = (struct goroutine){0};
	if (capture_go(space, hint, start, copies, out))
		return;
	copy_region(out->tid, start, bytes_from(space, start, hint), copies, &out->region[0]);
	if (out->region[0].len < sizeof(uint64_t))
		return;
	struct go_stacks stacks = {.has_curg = false};
	if (hint->is_go && hint->goroutine_at == 0 &&
		search_go_stacks(space, out->tid, &out->region[0], &stacks, &out->goroutine))
		copy_go_stacks(hint, &stacks, copies, out);
	else
		copy_home(space, hint, copies, out);
}

void capture_want_more(struct capture_hint *hint)
{
	size_t more =
		hint->want_bytes < CAPTURE_ALL_BYTES ? 4 * (size_t)CAPTURE_ALL_BYTES : hint->want_bytes * 4;
	hint->want_bytes = more < most_bytes(hint) ? more : most_bytes(hint);
}
