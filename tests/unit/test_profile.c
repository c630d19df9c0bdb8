/* The aggregated profile: what is the same sample and what is not, what a stack looks like afterwards, names
 * and sums. */
#include "encoder/profile.h"
#include "encoder/profile_data.h"
#include "tests/unit/self_space.h"
#include "unwind/unwinder.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <dlfcn.h>

static const struct labels no_labels = {0};

static int new_profile(void **state)
{
	*state = profile_new(PROFILE_CPU);
	return *state == NULL;
}

static int free_profile(void **state)
{
	profile_free(*state);
	return 0;
}

/* ---- helpers ---- */

static struct frame frame_at(uint64_t pc, bool is_return)
{
	return (struct frame){.pc = pc, .mapping = MAPPING_NONE, .is_return = is_return};
}

static void add_frames(struct profile *profile, struct frame *v, size_t n, const struct labels *labels)
{
	struct stack stack = {.v = v, .n = n, .cap = n, .why = STOP_ROOT};
	assert_int_equal(profile_add(profile, &stack, labels, 1, 10), 0);
}

/* All locations of a sample, leaf first; returns how many. */
static size_t read_sample(const struct profile *profile, uint32_t number, uint32_t *out, size_t cap)
{
	const uint32_t *pieces;
	const struct sample_key *key = profile_sample(profile, number, &pieces);
	size_t at = 0, n;
	for (uint32_t i = 0; i < key->n_pieces; i++) {
		const uint32_t *locations = profile_piece(profile, pieces[i], &n);
		assert_in_range(n, 1, PIECE_MAX);
		assert_true(cap - at >= n);
		memcpy(out + at, locations, n * sizeof *out);
		at += n;
	}
	assert_int_equal(at, key->n);
	return at;
}

static void assert_address(const struct profile *profile, uint32_t location, uint64_t address)
{
	const struct location_key *key = profile_location(profile, location);
	assert_false(key->made_up);
	assert_int_equal(key->address, address);
}

static void assert_made_up(const struct profile *profile, uint32_t location, const char *name)
{
	const struct location_key *key = profile_location(profile, location);
	assert_true(key->made_up);
	assert_int_equal(key->mapping, MAPPING_NONE);
	assert_string_equal(profile_string(profile, (uint32_t)key->address), name);
}

/* ---- what is one sample ---- */

static void same_stack_adds_up(void **state)
{
	struct profile *profile = *state;
	struct frame v[] = {frame_at(0x1000, false), frame_at(0x2000, true)};
	struct stack stack = {.v = v, .n = 2, .cap = 2, .why = STOP_ROOT};
	int64_t count, ns;
	assert_int_equal(profile_add(profile, &stack, &no_labels, 1, 10), 0);
	assert_int_equal(profile_add(profile, &stack, &no_labels, 3, 500), 0);
	assert_int_equal(profile_stacks(profile), 1);
	v[1].pc++;
	assert_int_equal(profile_add(profile, &stack, &no_labels, 0, 7), 0);
	assert_int_equal(profile_stacks(profile), 2);
	assert_int_equal(profile->sums[0].count, 4);
	assert_int_equal(profile->sums[0].ns, 510);
	assert_int_equal(profile->sums[1].count, 0);
	assert_int_equal(profile->sums[1].ns, 7);
	profile_totals(profile, &count, &ns);
	assert_int_equal(count, 4);
	assert_int_equal(ns, 517);
}

static void every_label_keeps_samples_apart(void **state)
{
	struct profile *profile = *state;
	const struct labels labels[] = {{0}, {.thread = "a"}, {.thread = "b"}, {.state = "a"}, {.syscall = "a"},
		{.tid = 1}, {.pid = 1}, {.tid = 2}, {.thread = "a", .state = "a"}, {.thread = "a", .tid = 1}};
	enum { N = sizeof labels / sizeof *labels };
	struct frame leaf = frame_at(0x1000, false);
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < N; i++)
			add_frames(profile, &leaf, 1, &labels[i]);
	assert_int_equal(profile_stacks(profile), N);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(profile->sums[i].count, 2);
	add_frames(profile, &leaf, 1, &(struct labels){.thread = "", .state = "", .syscall = ""});
	assert_int_equal(profile_stacks(profile), N);
}

static void labels_are_copied(void **state)
{
	struct profile *profile = *state;
	const uint32_t *pieces;
	char name[] = "worker";
	struct frame leaf = frame_at(0x1000, false);
	add_frames(profile, &leaf, 1,
		&(struct labels){.thread = name, .state = "S", .syscall = "read", .tid = 7, .pid = 6});
	memset(name, 'x', sizeof name - 1);
	const struct sample_key *key = profile_sample(profile, 0, &pieces);
	assert_string_equal(profile_string(profile, key->thread), "worker");
	assert_string_equal(profile_string(profile, key->state), "S");
	assert_string_equal(profile_string(profile, key->syscall), "read");
	assert_int_equal(key->tid, 7);
	assert_int_equal(key->pid, 6);
}

/* Return address 0x1001 and exact pc 0x1000 are the same place; the same address in another mapping (after
 * dlclose) is not. */
static void location_is_mapping_and_looked_up_address(void **state)
{
	struct profile *profile = *state;
	struct frame v[] = {{0x1001, 0, true}, {0x1000, 0, false}, {0x1001, 0, false}, {0x1000, 1, false}};
	uint32_t locations[4];
	add_frames(profile, v, 4, &no_labels);
	assert_int_equal(read_sample(profile, 0, locations, 4), 4);
	assert_int_equal(locations[0], locations[1]);
	assert_int_equal(profile->locations.n, 3);
	assert_address(profile, locations[0], 0x1000);
	assert_address(profile, locations[2], 0x1001);
	assert_address(profile, locations[3], 0x1000);
	assert_int_equal(profile_location(profile, locations[3])->mapping, 1);
}

/* ---- stacks that are not whole ---- */

static void truncated_stack_names_its_reason_at_the_root(void **state)
{
	struct profile *profile = *state;
	struct frame v[] = {frame_at(0x1000, false), frame_at(0x2001, true)};
	for (int why = 0; why < STOP_KINDS; why++) {
		struct stack stack = {.v = v, .n = 2, .cap = 2, .why = (enum stop)why};
		uint32_t locations[3];
		char expected[96];
		assert_int_equal(profile_add(profile, &stack, &no_labels, 1, 1), 0);
		assert_int_equal(profile_stacks(profile), why + 1);
		size_t n = read_sample(profile, (uint32_t)why, locations, 3);
		assert_int_equal(n, why == STOP_ROOT ? 2 : 3);
		assert_address(profile, locations[0], 0x1000);
		assert_address(profile, locations[1], 0x2000);
		snprintf(expected, sizeof expected, "[truncated: %s]", stop_name((enum stop)why));
		if (why != STOP_ROOT)
			assert_made_up(profile, locations[2], expected);
	}
}

static void empty_stack_is_its_reason(void **state)
{
	struct profile *profile = *state;
	uint32_t location;
	char expected[96];
	struct stack stack = {.why = STOP_NO_MAPPING};
	assert_int_equal(profile_add(profile, &stack, &no_labels, 1, 1), 0);
	assert_int_equal(read_sample(profile, 0, &location, 1), 1);
	snprintf(expected, sizeof expected, "[truncated: %s]", stop_name(STOP_NO_MAPPING));
	assert_made_up(profile, location, expected);
	stack.why = STOP_ROOT;
	assert_int_equal(profile_add(profile, &stack, &no_labels, 1, 1), 0);
	assert_int_equal(read_sample(profile, 1, &location, 1), 0);
}

/* Lengths around the size of a piece, a gap at each place that matters, also behind the last frame. */
static void any_length_and_gap_comes_back_in_order(void **state)
{
	static const size_t lengths[] = {1, 2, 63, 64, 65, 127, 128, 129, 300};
	struct profile *profile = *state;
	struct frame v[300];
	uint32_t number = 0, locations[302];
	for (size_t i = 0; i < 300; i++)
		v[i] = frame_at(0x1000 + 16 * i, i > 0);
	for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
		size_t n = lengths[l], gaps[] = {SIZE_MAX, 0, 1, n / 2, n - 1, n, n + 5};
		for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++, number++) {
			bool gap = gaps[g] != SIZE_MAX;
			size_t expected = gaps[g] < n ? gaps[g] : n, at = 0;
			struct stack stack = {.v = v,
				.n = n,
				.cap = n,
				.gap_at = gap ? gaps[g] : 0,
				.gap_frames = gap ? 1000 + g : 0,
				.why = STOP_COPY_END};
			/* The label keeps the cases apart where two of the gaps are the same place. */
			assert_int_equal(
				profile_add(profile, &stack, &(struct labels){.tid = (pid_t)number + 1}, 1, 1),
				0);
			assert_int_equal(read_sample(profile, number, locations, 302), n + gap + 1);
			for (size_t i = 0; i <= n; i++) {
				char name[64];
				snprintf(name, sizeof name, "[%zu frames left out]", 1000 + g);
				if (gap && i == expected)
					assert_made_up(profile, locations[at++], name);
				if (i < n)
					assert_address(profile, locations[at++], v[i].pc - v[i].is_return);
			}
			assert_true(profile_location(profile, locations[at])->made_up);
		}
	}
}

static void made_up_frames_are_shared_by_name(void **state)
{
	struct profile *profile = *state;
	uint32_t location;
	assert_int_equal(profile_add_named(profile, "[cpu between samples]", &no_labels, 0, 5), 0);
	assert_int_equal(profile_add_named(profile, "[cpu between samples]", &no_labels, 0, 6), 0);
	assert_int_equal(profile_add_named(profile, "[other]", &no_labels, 1, 1), 0);
	assert_int_equal(profile_stacks(profile), 2);
	assert_int_equal(profile->sums[0].ns, 11);
	assert_int_equal(read_sample(profile, 0, &location, 1), 1);
	assert_made_up(profile, location, "[cpu between samples]");
}

/* ---- size ---- */

static void hundred_thousand_stacks(void **state)
{
	enum { N = 100000 };
	struct profile *profile = *state;
	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < N; i++) {
			struct frame v[] = {frame_at(i % 1000, false), frame_at(0x100000 + i / 1000, false)};
			struct stack stack = {.v = v, .n = 2, .cap = 2, .why = STOP_ROOT};
			assert_int_equal(profile_add(profile, &stack, &no_labels, 1, i), 0);
		}
	assert_int_equal(profile_stacks(profile), N);
	assert_int_equal(profile->locations.n, 1000 + N / 1000);
	for (uint32_t i = 0; i < N; i++) {
		uint32_t locations[2];
		assert_int_equal(profile->sums[i].count, 2);
		assert_int_equal(profile->sums[i].ns, 2 * (int64_t)i);
		assert_int_equal(read_sample(profile, i, locations, 2), 2);
		assert_address(profile, locations[0], i % 1000);
		assert_address(profile, locations[1], 0x100000 + i / 1000);
	}
}

static size_t table_bytes(const struct table *table)
{
	return table->used + table->n * sizeof *table->keys + table->n_slots * sizeof *table->slots;
}

static size_t stacks_bytes(const struct profile *profile)
{
	return table_bytes(&profile->pieces) + table_bytes(&profile->samples);
}

enum { DEEP = 5000, DEEP_STACKS = 2000 };

/* A recursion seen at every depth, and one deeper than is kept: a plain list of locations has 40 MB for each of
 * the two. */
static void deep_stacks_are_compact(void **state)
{
	struct profile *profile = *state;
	static struct frame v[DEEP];
	for (size_t i = 0; i < DEEP; i++)
		v[i] = frame_at(0x1000 + i % 3, true);
	for (size_t i = 0; i < DEEP_STACKS; i++) {
		struct stack whole = {.v = v, .n = DEEP - i, .cap = DEEP, .why = STOP_ROOT};
		struct stack cut = {.v = v,
			.n = DEEP,
			.cap = DEEP,
			.gap_at = DEEP / 2,
			.gap_frames = i + 1,
			.why = STOP_ROOT};
		assert_int_equal(profile_add(profile, &whole, &no_labels, 1, 1), 0);
		assert_int_equal(profile_add(profile, &cut, &no_labels, 1, 1), 0);
	}
	assert_int_equal(profile_stacks(profile), 2 * DEEP_STACKS);
	assert_true(stacks_bytes(profile) < 4 << 20);
}

/* The worst case costs little more than the plain list. */
static void unlike_deep_stacks_cost_what_they_hold(void **state)
{
	enum { N = 200 };
	struct profile *profile = *state;
	static struct frame v[DEEP];
	uint32_t random = 1;
	for (size_t i = 0; i < N; i++) {
		for (size_t k = 0; k < DEEP; k++) {
			random = random * 1664525 + 1013904223;
			v[k] = frame_at(0x1000 + random / 65536 % 64, true);
		}
		add_frames(profile, v, DEEP, &no_labels);
	}
	assert_int_equal(profile_stacks(profile), N);
	assert_true(stacks_bytes(profile) < sizeof(uint32_t) * DEEP * N * 3 / 2);
}

/* ---- comments ---- */

static void comments_keep_their_order(void **state)
{
	struct profile *profile = *state;
	char expected[32], *longest = calloc(1, 10001);
	assert_non_null(longest);
	memset(longest, 'x', 10000);
	for (int i = 0; i < 100; i++)
		assert_int_equal(profile_comment(profile, "comment %d", i % 50), 0);
	assert_int_equal(profile_comment(profile, "%s", longest), 0);
	assert_int_equal(profile->n_comments, 101);
	for (int i = 0; i < 100; i++) {
		snprintf(expected, sizeof expected, "comment %d", i % 50);
		assert_string_equal(profile_string(profile, profile->comments[i]), expected);
	}
	const char *kept = profile_string(profile, profile->comments[100]);
	assert_in_range(strlen(kept), 4096, 9999);
	assert_memory_equal(kept, longest, strlen(kept));
	free(longest);
}

/* ---- names ---- */

__attribute__((noinline)) static int hot(int x)
{
	return x * 3 + 1;
}

__attribute__((noinline)) static int warm(int x)
{
	return hot(x) + 2;
}

/* By address, so that both are there and apart. */
static int (*const volatile functions[])(int) = {hot, warm};

static struct frame frame_in(const struct space *space, uint64_t address, bool is_return)
{
	struct frame frame = {.pc = address, .mapping = space_find(space, address), .is_return = is_return};
	assert_int_not_equal(frame.mapping, MAPPING_NONE);
	return frame;
}

static void add_leaf(struct profile *profile, struct frame leaf, int64_t count, int64_t ns)
{
	struct stack stack = {.v = &leaf, .n = 1, .cap = 1, .why = STOP_ROOT};
	assert_int_equal(profile_add(profile, &stack, &no_labels, count, ns), 0);
}

struct named {
	struct space *space;
	struct isolated *isolated;
	char path[4096];
};

static void named_open(struct named *named)
{
	named->space = self_space(named->path);
	named->isolated = isolated_new(&isolated_defaults, -1);
	assert_non_null(named->space);
	assert_non_null(named->isolated);
}

static void named_close(struct named *named)
{
	isolated_free(named->isolated);
	space_free(named->space);
}

static void top_sums_leaves_by_name(void **state)
{
	struct profile *profile = *state;
	struct profile_top top[8];
	struct named named;
	uint64_t hot_at = (uint64_t)(uintptr_t)functions[0], warm_at = (uint64_t)(uintptr_t)functions[1];
	named_open(&named);
	add_leaf(profile, frame_in(named.space, warm_at, false), 5, 100);
	add_leaf(profile, frame_in(named.space, hot_at, false), 1, 60);
	add_leaf(profile, frame_in(named.space, hot_at + 1, false), 2, 70);
	add_leaf(profile, frame_in(named.space, JIT_START + 0x42, false), 1, 90);
	assert_int_equal(profile_add_named(profile, "[cpu between samples]", &no_labels, 0, 110), 0);
	assert_int_equal(profile_symbolize(profile, named.space, named.isolated, -1), 0);
	assert_int_equal(profile_top(profile, top, 8), 4);
	assert_string_equal(top[0].function, "hot");
	assert_int_equal(top[0].ns, 130);
	assert_int_equal(top[0].count, 3);
	assert_string_equal(top[1].function, "[cpu between samples]");
	assert_string_equal(top[2].function, "warm");
	assert_int_equal(top[2].count, 5);
	assert_string_equal(top[3].function, "[no file]");
	memset(top, 0, sizeof top);
	assert_int_equal(profile_top(profile, top, 2), 2);
	assert_int_equal(top[1].ns, 110);
	assert_null(top[2].function);
	named_close(&named);
}

/* A sample counts once for a module, however many of its frames are there. */
static void modules_count_samples_once(void **state)
{
	struct profile *profile = *state;
	struct named named;
	size_t n;
	named_open(&named);
	void *libc_function = dlsym(RTLD_DEFAULT, "lfind");
	uint64_t libc_at = (uint64_t)(uintptr_t)libc_function;
	assert_non_null(libc_function);
	struct frame own = frame_in(named.space, (uint64_t)(uintptr_t)functions[0], false);
	struct frame libc = frame_in(named.space, libc_at, false);
	struct frame both[] = {libc, own, libc, own}, mine[] = {own, own};
	struct stack stacks[] = {{.v = both, .n = 4, .cap = 4, .why = STOP_ROOT},
		{.v = mine, .n = 2, .cap = 2, .why = STOP_ROOT}};
	assert_int_equal(profile_add(profile, &stacks[0], &no_labels, 3, 3), 0);
	assert_int_equal(profile_add(profile, &stacks[1], &no_labels, 4, 4), 0);
	add_leaf(profile, frame_in(named.space, JIT_START, false), 50, 50);
	assert_int_equal(profile_symbolize(profile, named.space, named.isolated, -1), 0);
	const struct profile_module *modules = profile_modules(profile, &n);
	assert_int_equal(n, 2);
	assert_string_equal(modules[0].path, named.path);
	assert_int_equal(modules[0].samples, 7);
	assert_int_equal(modules[0].quality.addresses, 1);
	assert_int_equal(modules[0].quality.with_function, 1);
	assert_non_null(strstr(modules[1].path, "libc"));
	assert_int_equal(modules[1].samples, 3);
	named_close(&named);
}

static int open_context(void *context, const struct map *map)
{
	(void)map;
	return open(context, O_RDONLY | O_CLOEXEC);
}

static size_t read_nothing(void *context, uint64_t address, void *buffer, size_t len)
{
	(void)context, (void)address, (void)buffer, (void)len;
	return 0;
}

/* Assembled without any symbol, but with lines: .text alone in one page of `path`. Returns its file offset. */
static uint64_t assemble_bare(const char *folder, char *path, size_t cap)
{
	char command[1024];
	struct section section;
	struct error err;
	snprintf(path, cap, "%s/bare.so", folder);
	snprintf(command, sizeof command,
		"cd %s && printf '.text\\nnop\\nnop\\nret\\n' >bare.s && cc -g -shared -nostdlib -o bare.so "
		"bare.s",
		folder);
	assert_int_equal(system(command), 0);
	struct image *image = image_open(open(path, O_RDONLY | O_CLOEXEC), path, &err);
	assert_non_null(image);
	assert_true(image_section(image, ".text", &section));
	image_free(image);
	return section.offset;
}

/* A line whose function nobody knows would be a function without a name: there is only the address. */
static void line_without_function_is_left_out(void **state)
{
	struct profile *profile = *state;
	char folder[] = "/tmp/test_profile.XXXXXX", path[64], maps[256], command[128];
	assert_non_null(mkdtemp(folder));
	uint64_t offset = assemble_bare(folder, path, sizeof path), page = offset & ~UINT64_C(4095);
	struct space_source source = {path, open_context, read_nothing, NULL};
	struct space *space = space_new(&source, path);
	struct symbolizer *symbolizer = symbolizer_new();
	struct isolated *isolated = isolated_new(&isolated_defaults, -1);
	assert_true(space != NULL && symbolizer != NULL && isolated != NULL);
	snprintf(maps, sizeof maps, "00400000-00401000 r-xp %08llx 08:01 77 %s\n", (unsigned long long)page,
		path);
	assert_int_equal(space_update(space, maps, strlen(maps)), 1);
	add_leaf(profile, frame_in(space, 0x400000 + offset - page, false), 1, 1);
	/* There is something to leave out. */
	uint64_t vaddr;
	struct symbolized found;
	struct symbol_quality quality;
	const struct mapping *mapping = space_mapping(space, 0);
	assert_true(mapping_vaddr(mapping, 0x400000 + offset - page, &vaddr));
	assert_int_equal(symbolizer_image(symbolizer, mapping->image, &vaddr, 1, &found, &quality), 0);
	assert_int_equal(found.n, 1);
	assert_string_equal(found.lines[0].function, "");
	assert_int_equal(found.lines[0].line, 2);
	assert_int_equal(profile_symbolize(profile, space, isolated, -1), 0);
	assert_int_equal(profile->by_location[0].n, 0);
	assert_int_equal(profile->functions.n, 0);
	symbolizer_free(symbolizer);
	isolated_free(isolated);
	space_free(space);
	snprintf(command, sizeof command, "rm -r %s", folder);
	assert_int_equal(system(command), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, new_profile, free_profile)
	const struct CMUnitTest tests[] = {TEST(same_stack_adds_up), TEST(every_label_keeps_samples_apart),
		TEST(labels_are_copied), TEST(location_is_mapping_and_looked_up_address),
		TEST(truncated_stack_names_its_reason_at_the_root), TEST(empty_stack_is_its_reason),
		TEST(any_length_and_gap_comes_back_in_order), TEST(made_up_frames_are_shared_by_name),
		TEST(hundred_thousand_stacks), TEST(deep_stacks_are_compact),
		TEST(unlike_deep_stacks_cost_what_they_hold), TEST(comments_keep_their_order),
		TEST(top_sums_leaves_by_name), TEST(modules_count_samples_once),
		TEST(line_without_function_is_left_out)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
