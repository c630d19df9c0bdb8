/* Views of files that are whole, odd, and too large. Written with the public schema's own library. */
#include "encoder/profile.pb-c.h"
#include "encoder/view.h"
#include "tests/unit/made_view.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef Perftools__Profiles__Profile Message;
typedef Perftools__Profiles__ValueType ValueType;
typedef Perftools__Profiles__Sample Sample;
typedef Perftools__Profiles__Label Label;
typedef Perftools__Profiles__Location Location;
typedef Perftools__Profiles__Line Line;
typedef Perftools__Profiles__Function Function;
typedef Perftools__Profiles__Mapping Mapping;

enum text {
	NONE,
	SAMPLES,
	COUNT,
	CPU,
	NS,
	OUTER,
	INNER,
	SYSTEM,
	FILE_A,
	MODULE,
	THREAD,
	TID,
	WORKER,
	SPECIAL,
	COMMENT
};

static char texts[][16] = {"", "samples", "count", "cpu", "nanoseconds", "outer", "inner", "_Zsystem", "/a.c",
	"/lib/z.so.1", "thread", "tid", "worker", "[heap]", "made for a test"};

enum { TEXTS = sizeof texts / sizeof *texts };

/* A message that a test changes before it is read: one sample with the stack outer > inner (inlined) >
 * nameless. */
struct made {
	Message message;
	char *strings[TEXTS];
	ValueType type[2], *types[2];
	Sample sample, *samples[1];
	uint64_t ids[2];
	int64_t values[2];
	Label label[2], *labels[2];
	Location location[2], *locations[2];
	Line line[2], *lines[2];
	Function function[2], *functions[2];
	Mapping mapping, *mappings[1];
	int64_t comments[1];
	struct pprof_file *file;
	struct view *view;
	struct error err;
};

static int setup(void **state)
{
	struct made *m = calloc(1, sizeof *m);
	*state = m;
	if (m == NULL)
		return 1;
	m->message = (Message)PERFTOOLS__PROFILES__PROFILE__INIT;
	for (size_t i = 0; i < TEXTS; i++)
		m->strings[i] = texts[i];
	m->message.string_table = m->strings;
	m->message.n_string_table = TEXTS;
	m->sample = (Sample)PERFTOOLS__PROFILES__SAMPLE__INIT;
	m->mapping = (Mapping)PERFTOOLS__PROFILES__MAPPING__INIT;
	for (size_t i = 0; i < 2; i++) {
		m->type[i] = (ValueType)PERFTOOLS__PROFILES__VALUE_TYPE__INIT;
		m->label[i] = (Label)PERFTOOLS__PROFILES__LABEL__INIT;
		m->location[i] = (Location)PERFTOOLS__PROFILES__LOCATION__INIT;
		m->line[i] = (Line)PERFTOOLS__PROFILES__LINE__INIT;
		m->function[i] = (Function)PERFTOOLS__PROFILES__FUNCTION__INIT;
		m->types[i] = &m->type[i];
		m->labels[i] = &m->label[i];
		m->locations[i] = &m->location[i];
		m->lines[i] = &m->line[i];
		m->functions[i] = &m->function[i];
		m->location[i].id = i + 1;
		m->location[i].mapping_id = 1;
		m->function[i].id = i + 1;
		m->values[i] = 7 + (int64_t)i;
	}
	m->samples[0] = &m->sample;
	m->mappings[0] = &m->mapping;
	m->message.sample_type = m->types;
	m->message.n_sample_type = 2;
	m->message.sample = m->samples;
	m->message.n_sample = 1;
	m->message.location = m->locations;
	m->message.n_location = 2;
	m->message.function = m->functions;
	m->message.n_function = 2;
	m->message.mapping = m->mappings;
	m->message.n_mapping = 1;
	m->message.comment = m->comments;
	m->message.n_comment = 1;
	m->comments[0] = COMMENT;
	m->type[0].type = SAMPLES;
	m->type[0].unit = COUNT;
	m->type[1].type = CPU;
	m->type[1].unit = NS;
	m->sample.location_id = m->ids;
	m->sample.n_location_id = 2;
	m->ids[0] = 2; /* the leaf first */
	m->ids[1] = 1;
	m->sample.value = m->values;
	m->sample.n_value = 2;
	m->sample.label = m->labels;
	m->sample.n_label = 2;
	m->label[0].key = THREAD;
	m->label[0].str = WORKER;
	m->label[1].key = TID;
	m->label[1].num = 42;
	m->location[0].address = 0x1000;
	m->location[0].line = m->lines;
	m->location[0].n_line = 2;
	m->location[1].address = 0x2000;
	m->line[0].function_id = 2; /* the innermost first */
	m->line[0].line = 20;
	m->line[1].function_id = 1;
	m->line[1].line = 10;
	m->function[0].name = OUTER;
	m->function[0].filename = FILE_A;
	m->function[0].start_line = 9;
	m->function[1].name = INNER;
	m->function[1].system_name = SYSTEM;
	m->mapping.id = 1;
	m->mapping.filename = MODULE;
	return 0;
}

static int teardown(void **state)
{
	struct made *m = *state;
	view_free(m->view);
	pprof_file_free(m->file);
	free(m);
	return 0;
}

static struct view *view_of(struct made *m)
{
	size_t len = perftools__profiles__profile__get_packed_size(&m->message);
	uint8_t *bytes = malloc(len);
	int fd = memory_file();
	assert_non_null(bytes);
	perftools__profiles__profile__pack(&m->message, bytes);
	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	m->file = pprof_file_read(fd, "made", &m->err);
	assert_non_null(m->file);
	m->view = view_new(m->file, "made", &m->err);
	close(fd);
	free(bytes);
	return m->view;
}

static const struct view_frame *frame_at(const struct view *view, size_t i)
{
	assert_true(i < view->samples[0].n_frames);
	return &view->frames[view->samples[0].frames[i]];
}

static void stacks_are_from_root_to_leaf_with_inlined_calls(void **state)
{
	const struct view *view = view_of(*state);
	assert_non_null(view);
	assert_int_equal(view->samples[0].n_frames, 3);
	assert_string_equal(frame_at(view, 0)->function, "outer");
	assert_string_equal(frame_at(view, 0)->file, "/a.c");
	assert_int_equal(frame_at(view, 0)->line, 10);
	assert_int_equal(frame_at(view, 0)->start_line, 9);
	assert_int_equal(frame_at(view, 0)->address, 0x1000);
	assert_false(frame_at(view, 0)->inlined);
	assert_string_equal(frame_at(view, 1)->function, "inner");
	assert_string_equal(frame_at(view, 1)->system_name, "_Zsystem");
	assert_true(frame_at(view, 1)->inlined);
	assert_string_equal(frame_at(view, 2)->function, "[z.so.1]");
	assert_string_equal(frame_at(view, 2)->module, "/lib/z.so.1");
	assert_false(frame_at(view, 2)->named);
	assert_int_equal(view->n_frames, 3); /* and none that no stack has */
}

static void values_labels_and_head(void **state)
{
	int64_t tid = 0;
	const struct view *view = view_of(*state);
	assert_non_null(view);
	assert_int_equal(view->samples[0].values[1], 8);
	assert_string_equal(view_text(&view->samples[0], "thread"), "worker");
	assert_null(view_text(&view->samples[0], "tid"));
	assert_null(view_text(&view->samples[0], "other"));
	assert_true(view_number(&view->samples[0], "tid", &tid));
	assert_int_equal(tid, 42);
	assert_false(view_number(&view->samples[0], "thread", &tid));
	assert_int_equal(view->type, 1);
	assert_string_equal(view->comments[0], "made for a test");
}

static void the_default_type_is_the_first_of_its_name(void **state)
{
	struct made *m = *state;
	m->type[1].type = SAMPLES;
	m->message.default_sample_type = SAMPLES;
	assert_int_equal(view_of(m)->type, 0);
}

static void what_has_no_name_has_its_module_or_address(void **state)
{
	struct made *m = *state;
	m->mapping.filename = SPECIAL;
	m->location[0].mapping_id = 0;
	m->location[0].n_line = 0;
	const struct view *view = view_of(m);
	assert_string_equal(frame_at(view, 0)->function, "0x1000");
	assert_string_equal(frame_at(view, 1)->function, "[heap]");
}

static void numbers_that_refer_to_nothing_are_left_out(void **state)
{
	struct made *m = *state;
	m->ids[1] = 99; /* no such location */
	m->location[1].mapping_id = 98;
	m->label[0].str = -5;
	m->label[1].key = 1000;
	m->comments[0] = INT64_MAX;
	m->sample.n_value = 1;
	const struct view *view = view_of(m);
	assert_int_equal(view->samples[0].n_frames, 1);
	assert_string_equal(frame_at(view, 0)->function, "0x2000");
	assert_string_equal(view_text(&view->samples[0], "thread"), "");
	assert_string_equal(view->samples[0].labels[1].key, "");
	assert_string_equal(view->comments[0], "");
	assert_int_equal(view->samples[0].values[1], 0);
}

static void lines_that_no_file_has_are_unknown(void **state)
{
	struct made *m = *state;
	m->line[0].line = INT64_MAX;
	m->line[1].line = -1;
	m->function[0].start_line = INT64_MIN;
	const struct view *view = view_of(m);
	assert_int_equal(frame_at(view, 0)->line, 0);
	assert_int_equal(frame_at(view, 0)->start_line, 0);
	assert_int_equal(frame_at(view, 1)->line, 0);
}

static void a_stack_beyond_the_limit_keeps_its_leaf(void **state)
{
	enum { DEPTH = 70000 };
	struct made *m = *state;
	uint64_t *ids = calloc(DEPTH, sizeof *ids);
	assert_non_null(ids);
	for (size_t i = 0; i < DEPTH; i++)
		ids[i] = i == 0 ? 2 : 1;
	m->sample.location_id = ids;
	m->sample.n_location_id = DEPTH;
	const struct view *view = view_of(m);
	free(ids);
	size_t n = view->samples[0].n_frames;
	assert_in_range(n, 65536, 65537);
	assert_non_null(strstr(frame_at(view, 0)->function, "[truncated: "));
	assert_string_equal(frame_at(view, n - 1)->function, "[z.so.1]");
	assert_string_equal(frame_at(view, n - 2)->function, "inner");
	/* Two frames a location: it is cut between them. */
	assert_string_equal(frame_at(view, 1)->function, "inner");
	assert_string_equal(frame_at(view, 2)->function, "outer");
}

static void more_frames_or_values_than_memory_holds_are_refused(void **state)
{
	enum { DEPTH = 65000, MANY = 1100 };
	struct made *m = *state;
	static uint64_t ids[DEPTH];
	static Sample *samples[MANY];
	for (size_t i = 0; i < DEPTH; i++)
		ids[i] = 2;
	for (size_t i = 0; i < MANY; i++)
		samples[i] = &m->sample;
	m->sample.location_id = ids;
	m->sample.n_location_id = DEPTH;
	m->message.sample = samples;
	m->message.n_sample = MANY;
	assert_null(view_of(m));
	assert_non_null(strstr(m->err.message, "made is too large"));
	pprof_file_free(m->file);
	static ValueType *types[MANY * 100];
	for (size_t i = 0; i < MANY * 100; i++)
		types[i] = &m->type[0];
	m->message.sample_type = types;
	m->message.n_sample_type = MANY * 100;
	m->sample.n_location_id = 1;
	assert_null(view_of(m));
	assert_non_null(strstr(m->err.message, "values"));
}

static void a_file_without_kinds_of_samples_has_nothing_to_show(void **state)
{
	struct made *m = *state;
	m->message.n_sample_type = 0;
	assert_null(view_of(m));
	assert_non_null(strstr(m->err.message, "no kind of samples"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(stacks_are_from_root_to_leaf_with_inlined_calls),
		TEST(values_labels_and_head),
		TEST(the_default_type_is_the_first_of_its_name),
		TEST(what_has_no_name_has_its_module_or_address),
		TEST(numbers_that_refer_to_nothing_are_left_out),
		TEST(lines_that_no_file_has_are_unknown),
		TEST(a_stack_beyond_the_limit_keeps_its_leaf),
		TEST(more_frames_or_values_than_memory_holds_are_refused),
		TEST(a_file_without_kinds_of_samples_has_nothing_to_show),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
