/* The file as a reader has it: written, unzipped, unpacked, and every reference followed. Then read by `go tool
 * pprof`, where there is one. */
#include "encoder/pprof.h"
#include "encoder/profile.pb-c.h"
#include "tests/unit/self_space.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <zlib.h>

typedef Perftools__Profiles__Profile Message;

struct fixture {
	struct profile *profile;
	struct space *space;
	struct isolated *isolated;
	char path[4096];
	int fd;
	Message *message;
};

static const struct pprof_times times = {1700000000123456789, 2000000000, 10012345};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	*state = f;
	if (f == NULL)
		return 1;
	f->profile = profile_new(PROFILE_CPU);
	f->space = self_space(f->path);
	f->isolated = isolated_new(&isolated_defaults, -1);
	f->fd = memfd_create("profile", MFD_CLOEXEC);
	return f->profile == NULL || f->space == NULL || f->isolated == NULL || f->fd < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	if (f->message != NULL)
		perftools__profiles__profile__free_unpacked(f->message, NULL);
	profile_free(f->profile);
	isolated_free(f->isolated);
	space_free(f->space);
	close(f->fd);
	free(f);
	return 0;
}

/* ---- helpers ---- */

/* An address in an inlined function: here() is the inlined one, around() the physical one. */
static inline __attribute__((always_inline)) void *here(void)
{
	void *address;
	__asm__ volatile("lea 0(%%rip), %0\n\tnop" : "=r"(address));
	return address;
}

__attribute__((noinline)) static void *around(void)
{
	return here();
}

static struct frame frame_in(const struct space *space, uint64_t address, bool is_return)
{
	struct frame frame = {.pc = address, .mapping = space_find(space, address), .is_return = is_return};
	assert_int_not_equal(frame.mapping, MAPPING_NONE);
	return frame;
}

static void add(
	struct fixture *f, struct frame *v, size_t n, const struct labels *labels, int64_t count, int64_t ns)
{
	struct stack stack = {.v = v, .n = n, .cap = n, .why = STOP_ROOT};
	assert_int_equal(profile_add(f->profile, &stack, labels, count, ns), 0);
}

/* Symbolizes, writes and reads back. */
static const Message *written(struct fixture *f)
{
	static uint8_t bytes[1 << 22];
	struct error err;
	assert_int_equal(profile_symbolize(f->profile, f->space, f->isolated, -1), 0);
	assert_int_equal(pprof_write(f->profile, &times, f->fd, &err), 0);
	assert_int_equal(lseek(f->fd, 0, SEEK_SET), 0);
	gzFile file = gzdopen(dup(f->fd), "rb");
	assert_non_null(file);
	int len = gzread(file, bytes, sizeof bytes);
	assert_in_range(len, 1, (int)sizeof bytes - 1);
	assert_false(gzdirect(file)); /* gzip, not plain */
	assert_int_equal(gzclose(file), Z_OK);
	f->message = perftools__profiles__profile__unpack(NULL, (size_t)len, bytes);
	assert_non_null(f->message);
	return f->message;
}

static const char *text(const Message *m, int64_t index)
{
	assert_in_range(index, 0, m->n_string_table - 1);
	return m->string_table[index];
}

static const char *function_name(const Message *m, const Perftools__Profiles__Location *location, size_t line)
{
	assert_true(line < location->n_line);
	uint64_t id = location->line[line]->function_id;
	assert_in_range(id, 1, m->n_function);
	return text(m, m->function[id - 1]->name);
}

static const Perftools__Profiles__Location *location_of(const Message *m, size_t sample, size_t at)
{
	assert_true(sample < m->n_sample && at < m->sample[sample]->n_location_id);
	uint64_t id = m->sample[sample]->location_id[at];
	assert_in_range(id, 1, m->n_location);
	return m->location[id - 1];
}

/* A sample of each kind: two modules, an inlined call, memory without a file, a made-up frame, labels. */
static void fill(struct fixture *f)
{
	void *libc_function = dlsym(RTLD_DEFAULT, "lfind");
	assert_non_null(libc_function);
	struct frame libc = frame_in(f->space, (uint64_t)(uintptr_t)libc_function, false);
	struct frame inlined = frame_in(f->space, (uint64_t)(uintptr_t)around() + 1, true);
	struct frame jit = frame_in(f->space, JIT_START + 0x43, true);
	struct frame first[] = {libc, inlined, jit}, second[] = {jit};
	const struct labels labels = {
		.thread = "worker", .state = "S", .syscall = "read", .tid = 71, .pid = 70};
	add(f, first, 3, &labels, 3, 30000000);
	add(f, second, 1, &(struct labels){.tid = 72}, 4, 40000000);
	struct stack truncated = {
		.v = first, .n = 3, .cap = 3, .gap_at = 1, .gap_frames = 12, .why = STOP_NO_INFO};
	assert_int_equal(profile_add(f->profile, &truncated, &(struct labels){0}, 1, 10000000), 0);
	assert_int_equal(profile_add_named(f->profile, "[cpu between samples]", &labels, 0, 5), 0);
	assert_int_equal(profile_comment(f->profile, "for people"), 0);
	assert_int_equal(profile_comment(f->profile, "# in bulk %d%%", 5), 0);
}

/* ---- the whole message ---- */

static void header_has_types_times_and_comments(void **state)
{
	struct fixture *f = *state;
	fill(f);
	const Message *m = written(f);
	assert_string_equal(text(m, 0), "");
	assert_int_equal(m->n_sample_type, 2);
	assert_string_equal(text(m, m->sample_type[0]->type), "samples");
	assert_string_equal(text(m, m->sample_type[0]->unit), "count");
	assert_string_equal(text(m, m->sample_type[1]->type), "cpu");
	assert_string_equal(text(m, m->sample_type[1]->unit), "nanoseconds");
	assert_string_equal(text(m, m->period_type->type), "cpu");
	assert_string_equal(text(m, m->period_type->unit), "nanoseconds");
	assert_int_equal(m->period, 10012345);
	assert_int_equal(m->time_nanos, 1700000000123456789);
	assert_int_equal(m->duration_nanos, 2000000000);
	assert_int_equal(m->drop_frames, 0);
	assert_int_equal(m->keep_frames, 0);
	assert_int_equal(m->default_sample_type, 0);
	assert_int_equal(m->n_comment, 2);
	assert_string_equal(text(m, m->comment[0]), "for people");
	assert_string_equal(text(m, m->comment[1]), "# in bulk 5%");
}

static void state_profile_is_wall(void **state)
{
	struct fixture *f = *state;
	profile_free(f->profile);
	f->profile = profile_new(PROFILE_STATE);
	assert_non_null(f->profile);
	fill(f);
	const Message *m = written(f);
	assert_int_equal(m->n_sample_type, 2);
	assert_string_equal(text(m, m->sample_type[0]->type), "samples");
	assert_string_equal(text(m, m->sample_type[1]->type), "wall");
	assert_string_equal(text(m, m->period_type->type), "wall");
	assert_string_equal(text(m, m->period_type->unit), "nanoseconds");
}

static void ids_are_sequential_and_references_lead_somewhere(void **state)
{
	struct fixture *f = *state;
	fill(f);
	const Message *m = written(f);
	assert_int_equal(m->n_sample, 4);
	assert_true(m->n_function > 3 && m->n_location > 3 && m->n_mapping == 3);
	for (size_t i = 0; i < m->n_mapping; i++) {
		assert_int_equal(m->mapping[i]->id, i + 1);
		assert_true(m->mapping[i]->memory_start < m->mapping[i]->memory_limit);
		text(m, m->mapping[i]->build_id);
	}
	for (size_t i = 0; i < m->n_function; i++) {
		assert_int_equal(m->function[i]->id, i + 1);
		assert_string_not_equal(text(m, m->function[i]->name), "");
		text(m, m->function[i]->system_name);
		text(m, m->function[i]->filename);
	}
	for (size_t i = 0; i < m->n_location; i++) {
		const Perftools__Profiles__Location *location = m->location[i];
		assert_int_equal(location->id, i + 1);
		assert_in_range(location->mapping_id, 0, m->n_mapping);
		for (size_t k = 0; k < location->n_line; k++)
			function_name(m, location, k);
		if (location->mapping_id == 0)
			continue;
		const Perftools__Profiles__Mapping *mapping = m->mapping[location->mapping_id - 1];
		assert_true(location->address >= mapping->memory_start &&
			    location->address < mapping->memory_limit);
	}
	for (size_t i = 0; i < m->n_sample; i++) {
		assert_int_equal(m->sample[i]->n_value, 2);
		for (size_t k = 0; k < m->sample[i]->n_location_id; k++)
			location_of(m, i, k);
	}
}

/* ---- mappings ---- */

static void first_mapping_is_the_main_binary(void **state)
{
	struct fixture *f = *state;
	struct frame jit = frame_in(f->space, JIT_START, false);
	add(f, &jit, 1, &(struct labels){0}, 1, 1); /* below the main binary, which has no frame at all */
	const Message *m = written(f);
	const struct mapping *main_mapping = space_mapping(f->space, 0);
	assert_int_equal(m->n_mapping, 2);
	assert_string_equal(text(m, m->mapping[0]->filename), f->path);
	assert_string_equal(text(m, m->mapping[0]->build_id), image_build_id(main_mapping->image));
	assert_int_equal(m->mapping[0]->memory_start, main_mapping->start);
	assert_int_equal(m->mapping[0]->memory_limit, main_mapping->end);
	assert_int_equal(m->mapping[0]->file_offset, main_mapping->offset);
	assert_int_not_equal(m->mapping[0]->file_offset, 0);
	assert_false(m->mapping[0]->has_functions);
	assert_int_equal(m->mapping[1]->memory_start, JIT_START);
	assert_int_equal(location_of(m, 0, 0)->mapping_id, 2);
}

/* Readers look no further where a flag is set. The program has DWARF; the memory without a file has nothing. */
static void flags_say_what_is_complete(void **state)
{
	struct fixture *f = *state;
	fill(f);
	const Message *m = written(f);
	size_t n, complete = 0;
	const struct profile_module *modules = profile_modules(f->profile, &n);
	assert_int_equal(n, 2);
	for (size_t i = 0; i < m->n_mapping; i++) {
		const Perftools__Profiles__Mapping *mapping = m->mapping[i];
		bool expected = false;
		for (size_t k = 0; k < n; k++)
			expected |= strcmp(modules[k].path, text(m, mapping->filename)) == 0 &&
				    modules[k].quality.complete;
		assert_int_equal(mapping->has_functions, expected);
		assert_int_equal(mapping->has_filenames, expected);
		assert_int_equal(mapping->has_line_numbers, expected);
		assert_int_equal(mapping->has_inline_frames, expected);
		complete += expected;
	}
	assert_in_range(complete, 1, m->n_mapping - 1);
}

/* ---- samples ---- */

static void stack_is_leaf_first_and_inlined_call_too(void **state)
{
	struct fixture *f = *state;
	fill(f);
	const Message *m = written(f);
	const Perftools__Profiles__Location *libc = location_of(m, 0, 0), *own = location_of(m, 0, 1),
					    *jit = location_of(m, 0, 2);
	assert_int_equal(m->sample[0]->n_location_id, 3);
	assert_int_equal(m->sample[0]->value[0], 3);
	assert_int_equal(m->sample[0]->value[1], 30000000);
	assert_int_equal(libc->address, (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "lfind"));
	assert_int_equal(own->address, (uint64_t)(uintptr_t)around()); /* the return address - 1 */
	assert_int_equal(own->n_line, 2);
	assert_string_equal(function_name(m, own, 0), "here");
	assert_string_equal(function_name(m, own, 1), "around");
	const Perftools__Profiles__Function *function = m->function[own->line[1]->function_id - 1];
	assert_string_equal(text(m, function->system_name), "around");
	assert_non_null(strstr(text(m, function->filename), "test_pprof.c"));
	assert_true(function->start_line > 0 && own->line[1]->line > function->start_line);
	assert_int_equal(jit->address, JIT_START + 0x42);
	assert_int_equal(jit->n_line, 0);
	assert_int_not_equal(jit->mapping_id, 0);
}

static void assert_made_up(const Message *m, const Perftools__Profiles__Location *location, const char *name)
{
	assert_int_equal(location->address, 0);
	assert_int_equal(location->mapping_id, 0);
	assert_int_equal(location->n_line, 1);
	assert_string_equal(function_name(m, location, 0), name);
}

static void made_up_frames_have_a_function_and_no_address(void **state)
{
	struct fixture *f = *state;
	fill(f);
	const Message *m = written(f);
	assert_int_equal(m->sample[2]->n_location_id, 5);
	assert_made_up(m, location_of(m, 2, 1), "[12 frames left out]");
	assert_made_up(m, location_of(m, 2, 4), "[truncated: no unwind information]");
	assert_made_up(m, location_of(m, 3, 0), "[cpu between samples]");
}

static void assert_label(const Message *m, const Perftools__Profiles__Label *label, const char *key,
	const char *str, int64_t num)
{
	assert_string_equal(text(m, label->key), key);
	assert_string_equal(text(m, label->str), str);
	assert_int_equal(label->num, num);
	assert_int_equal(label->num_unit, 0);
}

static void labels_are_strings_or_numbers(void **state)
{
	struct fixture *f = *state;
	fill(f);
	const Message *m = written(f);
	Perftools__Profiles__Label **label = m->sample[0]->label;
	assert_int_equal(m->sample[0]->n_label, 5);
	assert_label(m, label[0], "thread", "worker", 0);
	assert_label(m, label[1], "state", "S", 0);
	assert_label(m, label[2], "syscall", "read", 0);
	assert_label(m, label[3], "tid", "", 71);
	assert_label(m, label[4], "pid", "", 70);
	assert_int_equal(m->sample[1]->n_label, 1);
	assert_label(m, m->sample[1]->label[0], "tid", "", 72);
	assert_int_equal(m->sample[2]->n_label, 0);
}

/* A stack of several pieces, through the file. */
static void deep_stack_keeps_its_order(void **state)
{
	enum { DEEP = 1000 };
	struct fixture *f = *state;
	struct frame v[DEEP];
	for (size_t i = 0; i < DEEP; i++)
		v[i] = (struct frame){.pc = 0x5000 + 7 * i, .mapping = MAPPING_NONE};
	add(f, v, DEEP, &(struct labels){0}, 1, 1);
	const Message *m = written(f);
	assert_int_equal(m->sample[0]->n_location_id, DEEP);
	for (size_t i = 0; i < DEEP; i++)
		assert_int_equal(location_of(m, 0, i)->address, v[i].pc);
}

/* Readers refuse strings that are not UTF-8 (RFC 3629): a stray byte, a surrogate, an overlong form, a cut
 * sequence. */
static void strings_are_utf8(void **state)
{
	struct fixture *f = *state;
	const struct labels labels = {.thread = "\xff\xc3\xa9\xed\xa0\x80",
		.state = "\xc0\xaf\xf0\x9f\x98\x80",
		.syscall = "a\xe2\x82"};
	assert_int_equal(profile_add_named(f->profile, "[x]", &labels, 1, 1), 0);
	const Message *m = written(f);
	assert_int_equal(m->sample[0]->n_label, 3);
	assert_label(m, m->sample[0]->label[0], "thread", "?\xc3\xa9???", 0);
	assert_label(m, m->sample[0]->label[1], "state", "??\xf0\x9f\x98\x80", 0);
	assert_label(m, m->sample[0]->label[2], "syscall", "a??", 0);
}

static void empty_profile_is_a_valid_file(void **state)
{
	struct fixture *f = *state;
	const Message *m = written(f);
	assert_int_equal(m->n_sample, 0);
	assert_int_equal(m->n_sample_type, 2);
	assert_int_equal(m->n_mapping, 1);
	assert_string_equal(text(m, 0), "");
}

/* ---- failures ---- */

static void assert_write_fails(struct fixture *f, int fd, int expected)
{
	struct error err = {""};
	assert_int_equal(pprof_write(f->profile, &times, fd, &err), -1);
	if (strstr(err.message, strerror(expected)) == NULL)
		fail_msg("'%s' does not say '%s'", err.message, strerror(expected));
}

static void failed_write_has_its_errno(void **state)
{
	struct fixture *f = *state;
	int ends[2], full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	fill(f);
	assert_true(full >= 0);
	assert_int_equal(profile_symbolize(f->profile, f->space, f->isolated, -1), 0);
	assert_write_fails(f, full, ENOSPC);
	close(full);
	assert_write_fails(f, -1, EBADF);
	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);
	assert_write_fails(f, ends[1], EPIPE);
	signal(SIGPIPE, before);
	close(ends[1]);
}

/* ---- another reader ---- */

/* What `go tool pprof ARGUMENTS FILE` prints; false when it failed. */
static bool go_pprof(const struct fixture *f, const char *arguments, char *out, size_t cap)
{
	char command[256];
	snprintf(command, sizeof command, "go tool pprof %s -symbolize=none /proc/%d/fd/%d 2>&1", arguments,
		(int)getpid(), f->fd);
	FILE *pipe_end = popen(command, "r");
	if (pipe_end == NULL)
		return false;
	size_t len = fread(out, 1, cap - 1, pipe_end);
	out[len] = '\0';
	return pclose(pipe_end) == 0;
}

static void assert_printed(const char *out, const char *expected)
{
	if (strstr(out, expected) == NULL)
		fail_msg("'%s' is not in:\n%s", expected, out);
}

static void go_tool_reads_it(void **state)
{
	static char out[1 << 16];
	struct fixture *f = *state;
	if (system("command -v go >/dev/null 2>&1") != 0)
		skip();
	fill(f);
	written(f);
	assert_true(go_pprof(f, "-raw", out, sizeof out));
	assert_printed(out, "PeriodType: cpu nanoseconds\nPeriod: 10012345\n");
	assert_printed(out, "Duration: 2s");
	assert_printed(out, "for people");
	assert_printed(out, "samples/count cpu/nanoseconds");
	assert_printed(out, "3   30000000: 1 2 3");
	assert_printed(out, "[truncated: no unwind information]");
	assert_printed(out, "thread:[worker]");
	assert_printed(out, "tid:[71]");
	assert_true(go_pprof(f, "-top", out, sizeof out));
	assert_printed(out, "Type: cpu");
	assert_printed(out, "Total samples = 80ms");
	assert_printed(out, "here (inline)");
	assert_true(go_pprof(f, "-top -tagfocus=thread=worker", out, sizeof out));
	assert_printed(out, "30ms");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {TEST(header_has_types_times_and_comments),
		TEST(state_profile_is_wall), TEST(ids_are_sequential_and_references_lead_somewhere),
		TEST(first_mapping_is_the_main_binary), TEST(flags_say_what_is_complete),
		TEST(stack_is_leaf_first_and_inlined_call_too),
		TEST(made_up_frames_have_a_function_and_no_address), TEST(labels_are_strings_or_numbers),
		TEST(deep_stack_keeps_its_order), TEST(strings_are_utf8), TEST(empty_profile_is_a_valid_file),
		TEST(failed_write_has_its_errno), TEST(go_tool_reads_it)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
