/* Files that share code and stacks, and files that only seem to. Written with the public schema's own library.
 */
#include "encoder/pprof_merge.h"
#include "encoder/profile.pb-c.h"
#include "encoder/view.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef Perftools__Profiles__Profile Message;

enum text {
	NONE,
	SAMPLES,
	COUNT,
	WALL,
	PROGRAM,
	BUILD_ID,
	OTHER_ID,
	ANONYMOUS,
	F,
	G,
	TID,
	THREAD,
	WORKER,
	TEXTS
};

static char texts[TEXTS][16] = {"", "samples", "count", "wall", "/bin/a", "abcd", "ef01", "[anonymous]", "f",
	"g", "tid", "thread", "worker"};

enum { DEEP = 200 };

/* What a test changes before it is read: one sample, f called by g, in one mapping. */
struct made {
	uint64_t start;
	enum text path, build_id, type;
	bool has_functions, labels_turned, dangles;
	int64_t value;
	size_t depth; /* of g below f */
};

static const struct made plain = {.start = 0x10000,
	.path = PROGRAM,
	.build_id = BUILD_ID,
	.type = SAMPLES,
	.has_functions = true,
	.value = 3,
	.depth = 1};

static struct pprof_file *read_message(const Message *message)
{
	struct error err;
	size_t len = perftools__profiles__profile__get_packed_size(message);
	uint8_t *bytes = malloc(len);
	assert_non_null(bytes);
	perftools__profiles__profile__pack(message, bytes);
	int fd = memfd_create("made", MFD_CLOEXEC);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	lseek(fd, 0, SEEK_SET);
	struct pprof_file *file = pprof_file_read(fd, "made", &err);
	assert_non_null(file);
	free(bytes);
	close(fd);
	return file;
}

static struct pprof_file *make(const struct made *made)
{
	Message message = PERFTOOLS__PROFILES__PROFILE__INIT;
	Perftools__Profiles__ValueType type = PERFTOOLS__PROFILES__VALUE_TYPE__INIT, *types[] = {&type};
	Perftools__Profiles__Mapping mapping = PERFTOOLS__PROFILES__MAPPING__INIT, *mappings[] = {&mapping};
	Perftools__Profiles__Function function[2], *functions[] = {&function[0], &function[1]};
	Perftools__Profiles__Line line[2], *lines[][1] = {{&line[0]}, {&line[1]}};
	Perftools__Profiles__Location location[2], *locations[] = {&location[0], &location[1]};
	Perftools__Profiles__Label label[2], *labels[] = {&label[0], &label[1]};
	Perftools__Profiles__Sample sample = PERFTOOLS__PROFILES__SAMPLE__INIT, *samples[] = {&sample};
	uint64_t ids[DEEP + 2];
	int64_t values[] = {made->value};
	char *strings[TEXTS];
	for (size_t i = 0; i < TEXTS; i++)
		strings[i] = texts[i];
	for (size_t i = 0; i < 2; i++) {
		perftools__profiles__function__init(&function[i]);
		perftools__profiles__line__init(&line[i]);
		perftools__profiles__location__init(&location[i]);
		perftools__profiles__label__init(&label[i]);
		function[i].id = line[i].function_id = 70 + i;
		function[i].name = i == 0 ? F : G;
		line[i].line = 1 + (int64_t)i;
		location[i].id = 7 + i;
		location[i].mapping_id = 5;
		location[i].address = made->start + 0x100 * (i + 1);
		location[i].line = lines[i];
		location[i].n_line = 1;
	}
	ids[0] = 7;
	for (size_t i = 1; i <= made->depth; i++)
		ids[i] = 8;
	ids[made->depth + 1] = 99; /* there is none */
	mapping.id = 5;
	mapping.memory_start = made->start;
	mapping.memory_limit = made->start + 0x1000;
	mapping.filename = made->path;
	mapping.build_id = made->build_id;
	mapping.has_functions = made->has_functions;
	type.type = made->type;
	type.unit = COUNT;
	label[made->labels_turned].key = TID;
	label[made->labels_turned].num = 4;
	label[!made->labels_turned].key = THREAD;
	label[!made->labels_turned].str = WORKER;
	sample.location_id = ids;
	sample.n_location_id = made->depth + 1 + made->dangles;
	sample.value = values;
	sample.n_value = 1;
	sample.label = labels;
	sample.n_label = 2;
	message.n_sample_type = message.n_mapping = message.n_sample = 1;
	message.n_function = message.n_location = 2;
	message.sample_type = types;
	message.mapping = mappings;
	message.function = functions;
	message.location = locations;
	message.sample = samples;
	message.string_table = strings;
	message.n_string_table = TEXTS;
	return read_message(&message);
}

/* Both, merged and shown. */
struct merged {
	struct pprof_file *file;
	struct view *view;
};

static void merge(const struct made *a, const struct made *b, struct merged *merged)
{
	struct error err;
	const struct made *both[] = {a, b};
	struct pprof_merge *merge = pprof_merge_new();
	assert_non_null(merge);
	for (size_t i = 0; i < 2; i++) {
		struct pprof_file *file = make(both[i]);
		assert_int_equal(pprof_merge_add(merge, file, "made", &err), 0);
		pprof_file_free(file); /* nothing of it is borrowed */
	}
	merged->file = pprof_merge_finish(merge, &err);
	pprof_merge_free(merge);
	assert_non_null(merged->file);
	merged->view = view_new(merged->file, "merged", &err);
	assert_non_null(merged->view);
}

static void merged_free(struct merged *merged)
{
	view_free(merged->view);
	pprof_file_free(merged->file);
}

static void the_same_code_elsewhere_in_memory(void **state)
{
	(void)state;
	struct merged m;
	struct made there = plain;
	there.start = 0x7f0000;
	there.path = ANONYMOUS; /* its build-id tells that it is the same */
	merge(&plain, &there, &m);
	assert_int_equal(pprof_file_modules(m.file), 1);
	struct pprof_module module = pprof_file_module(m.file, 0);
	assert_int_equal(module.n, 2);
	assert_int_equal(module.start, plain.start);
	assert_string_equal(module.path, "/bin/a");
	assert_int_equal(pprof_file_address(m.file, 0, 0), plain.start + 0x100);
	assert_int_equal(m.view->n_samples, 1);
	assert_int_equal(m.view->samples[0].values[0], 6);
	assert_int_equal(m.view->samples[0].n_labels, 2);
	merged_free(&m);
}

static void other_code_stays_apart(void **state)
{
	(void)state;
	struct made other = plain, here = plain, there = plain;
	struct merged m;
	other.build_id = OTHER_ID;
	merge(&plain, &other, &m);
	assert_int_equal(pprof_file_modules(m.file), 2);
	assert_int_equal(m.view->n_samples, 2);
	merged_free(&m);
	/* What lies in no file, at another address. */
	here.path = there.path = ANONYMOUS;
	here.build_id = there.build_id = NONE;
	there.start = 0x7f0000;
	merge(&here, &there, &m);
	assert_int_equal(pprof_file_modules(m.file), 2);
	merged_free(&m);
	there.start = here.start;
	merge(&here, &there, &m);
	assert_int_equal(pprof_file_modules(m.file), 1);
	merged_free(&m);
}

static bool claims_functions(const struct merged *m)
{
	struct pprof_file *file = m->file;
	int fd = memfd_create("claims", MFD_CLOEXEC);
	struct error err;
	assert_int_equal(pprof_file_write(file, fd, &err), 0);
	lseek(fd, 0, SEEK_SET);
	/* Uncompressed by the reader that is under test elsewhere, unpacked by the library. */
	char path[64];
	snprintf(path, sizeof path, "gzip -dc /proc/%d/fd/%d", getpid(), fd);
	FILE *pipe = popen(path, "r");
	uint8_t bytes[65536];
	size_t len = fread(bytes, 1, sizeof bytes, pipe);
	pclose(pipe);
	close(fd);
	Message *message = perftools__profiles__profile__unpack(NULL, len, bytes);
	assert_non_null(message);
	bool claims = message->mapping[0]->has_functions;
	perftools__profiles__profile__free_unpacked(message, NULL);
	return claims;
}

static void names_are_claimed_only_if_all_have_them(void **state)
{
	(void)state;
	struct made without = plain;
	struct merged m;
	without.has_functions = false;
	const struct {
		const struct made *a, *b;
		bool claims;
	} cases[] = {{&plain, &plain, true}, {&plain, &without, false}, {&without, &plain, false}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		merge(cases[i].a, cases[i].b, &m);
		assert_int_equal(claims_functions(&m), cases[i].claims);
		merged_free(&m);
	}
}

static void labels_in_another_order_are_the_same(void **state)
{
	(void)state;
	struct made turned = plain;
	struct merged m;
	int64_t tid;
	turned.labels_turned = true;
	merge(&plain, &turned, &m);
	assert_int_equal(m.view->n_samples, 1);
	assert_string_equal(view_text(&m.view->samples[0], "thread"), "worker");
	assert_true(view_number(&m.view->samples[0], "tid", &tid));
	assert_int_equal(tid, 4);
	merged_free(&m);
}

static void references_to_nothing_are_left_out(void **state)
{
	(void)state;
	struct made dangling = plain;
	struct merged m;
	dangling.dangles = true;
	merge(&plain, &dangling, &m);
	assert_int_equal(m.view->n_samples, 1);
	assert_int_equal(m.view->samples[0].n_frames, 2);
	merged_free(&m);
}

static void deep_stacks_keep_their_order(void **state)
{
	(void)state;
	static const size_t depths[] = {62, 63, 64, 127, 128, DEEP};
	for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
		struct made deep = plain;
		struct merged m;
		deep.depth = depths[i];
		merge(&deep, &plain, &m);
		assert_int_equal(m.view->n_samples, 2);
		const struct view_sample *sample = &m.view->samples[0];
		assert_int_equal(sample->n_frames, depths[i] + 1);
		for (size_t k = 0; k < sample->n_frames; k++)
			assert_string_equal(m.view->frames[sample->frames[k]].function,
				k + 1 < sample->n_frames ? "g" : "f");
		assert_string_equal(view_text(sample, "thread"), "worker");
		merged_free(&m);
	}
}

static void values_never_run_over(void **state)
{
	(void)state;
	struct made huge = plain;
	struct merged m;
	huge.value = INT64_MAX - 1;
	merge(&huge, &plain, &m);
	assert_int_equal(m.view->samples[0].values[0], INT64_MAX);
	merged_free(&m);
}

static void what_says_nothing_is_left_out(void **state)
{
	(void)state;
	struct made zero = plain;
	struct merged m;
	zero.value = 0;
	zero.build_id = OTHER_ID;
	merge(&plain, &zero, &m);
	assert_int_equal(m.view->n_samples, 1);
	assert_int_equal(pprof_file_modules(m.file), 1);
	merged_free(&m);
}

static void other_kinds_are_refused(void **state)
{
	(void)state;
	struct error err;
	struct made wall = plain;
	wall.type = WALL;
	struct pprof_file *a = make(&plain), *b = make(&wall);
	struct pprof_merge *merge = pprof_merge_new();
	assert_int_equal(pprof_merge_add(merge, a, "a.pb.gz", &err), 0);
	assert_int_equal(pprof_merge_add(merge, b, "b.pb.gz", &err), -1);
	assert_string_equal(
		err.message, "b.pb.gz counts wall, and a.pb.gz samples: only profiles of one kind make one");
	pprof_merge_free(merge);
	pprof_file_free(a);
	pprof_file_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_code_elsewhere_in_memory),
		cmocka_unit_test(other_code_stays_apart),
		cmocka_unit_test(names_are_claimed_only_if_all_have_them),
		cmocka_unit_test(labels_in_another_order_are_the_same),
		cmocka_unit_test(references_to_nothing_are_left_out),
		cmocka_unit_test(deep_stacks_keep_their_order),
		cmocka_unit_test(values_never_run_over),
		cmocka_unit_test(what_says_nothing_is_left_out),
		cmocka_unit_test(other_kinds_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
