#include "encoder/view.h"

#include "encoder/pprof_file_data.h"
#include "encoder/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file of some MB can name billions of frames: a location has many inlined calls, and every stack names it.
 */
enum { STACK_MAX = 65536, FRAMES_MAX = 64 * 1024 * 1024, VALUES_MAX = 64 * 1024 * 1024, NAME_WIDTH = 512 };

typedef Perftools__Profiles__Profile Profile;
typedef Perftools__Profiles__Sample Sample;
typedef Perftools__Profiles__Location Location;
typedef Perftools__Profiles__Line Line;
typedef Perftools__Profiles__Label Label;
typedef Perftools__Profiles__Mapping Mapping;
typedef Perftools__Profiles__Function Function;

/* Equal keys are the same frame. */
struct frame_key {
	const Function *function;
	const Mapping *mapping;
	int64_t line;
	uint64_t address, inlined;
};

/* The frames of a location: by_line[first .. first + n), innermost first. */
struct place {
	uint64_t id;
	uint32_t first, n;
};

struct owned {
	struct view view; /* first: what callers see */
	const struct pprof_file *file;
	struct view_type *types;
	struct view_frame *frames;
	struct view_sample *samples;
	struct view_label *labels;
	int64_t *values;
	uint32_t *stacks; /* of all samples, one behind the other */
	const char **comments;
	char *name;
	struct table keys, names; /* struct frame_key; the names that we made, with their final 0 */
	uint32_t *name_of; /* by frame: its made name + 1, 0 none */
	struct place *places; /* ascending by id */
	uint32_t *by_line;
	uint32_t cut; /* the frame that says that there were more; TABLE_NONE while no stack needs it */
};

/* ---- frames ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

/* As pprof calls what has no name. */
static uint32_t make_name(struct owned *owned, const struct frame_key *key)
{
	char name[NAME_WIDTH];
	const char *path = key->mapping != NULL ? pprof_file_text(owned->file, key->mapping->filename) : "";
	if (path[0] == '[')
		snprintf(name, sizeof name, "%s", path);
	else if (path[0] != '\0')
		snprintf(name, sizeof name, "[%s]", base_name(path));
	else
		snprintf(name, sizeof name, "0x%llx", (unsigned long long)key->address);
	return table_intern(&owned->names, name, strlen(name) + 1);
}

static int64_t line_number(int64_t line)
{
	return line > 0 && line <= INT32_MAX ? line : 0;
}

static void fill_frame(struct owned *owned, const struct frame_key *key, struct view_frame *frame)
{
	const struct pprof_file *file = owned->file;
	const Function *function = key->function;
	*frame = (struct view_frame){.function = "",
		.system_name = function != NULL ? pprof_file_text(file, function->system_name) : "",
		.file = function != NULL ? pprof_file_text(file, function->filename) : "",
		.module = key->mapping != NULL ? pprof_file_text(file, key->mapping->filename) : "",
		.line = line_number(key->line),
		.start_line = function != NULL ? line_number(function->start_line) : 0,
		.address = key->address,
		.inlined = key->inlined != 0};
	if (function != NULL)
		frame->function = pprof_file_text(file, function->name);
	if (frame->function[0] == '\0')
		frame->function = frame->system_name;
	frame->named = frame->function[0] != '\0';
}

/* The number of the frame; TABLE_NONE when memory is out. */
static uint32_t add_frame(struct owned *owned, const struct frame_key *key)
{
	return table_intern(&owned->keys, key, sizeof *key);
}

static int add_place(struct owned *owned, const Location *location, struct place *place)
{
	const Mapping *mapping = pprof_file_mapping(owned->file, location->mapping_id);
	struct frame_key key = {.mapping = mapping, .address = location->address};
	*place = (struct place){.id = location->id, .first = place->first, .n = 1};
	if (location->n_line == 0) {
		owned->by_line[place->first] = add_frame(owned, &key);
		return owned->by_line[place->first] != TABLE_NONE ? 0 : -1;
	}
	place->n = (uint32_t)location->n_line;
	for (size_t i = 0; i < location->n_line; i++) {
		const Line *line = location->line[i];
		key.function = pprof_file_function(owned->file, line->function_id);
		key.line = line->line;
		key.inlined = i + 1 < location->n_line;
		uint32_t number = add_frame(owned, &key);
		if (number == TABLE_NONE)
			return -1;
		owned->by_line[place->first + i] = number;
	}
	return 0;
}

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return (x->first > y->first) - (x->first < y->first);
}

static int add_places(struct owned *owned, const Profile *profile)
{
	size_t lines = 0;
	for (size_t i = 0; i < profile->n_location; i++)
		lines += profile->location[i]->n_line > 0 ? profile->location[i]->n_line : 1;
	owned->places = calloc(profile->n_location + 1, sizeof *owned->places);
	owned->by_line = calloc(lines + 1, sizeof *owned->by_line);
	if (owned->places == NULL || owned->by_line == NULL || lines >= UINT32_MAX)
		return -1;
	uint32_t next = 0;
	for (size_t i = 0; i < profile->n_location; i++) {
		owned->places[i].first = next;
		if (add_place(owned, profile->location[i], &owned->places[i]) != 0)
			return -1;
		next += owned->places[i].n;
	}
	qsort(owned->places, profile->n_location, sizeof *owned->places, compare_places);
	return 0;
}

/* NULL when the file has no such location. Of two with the same id, the first. */
static const struct place *find_place(const struct owned *owned, uint64_t id)
{
	size_t n = pprof_file_message(owned->file)->n_location, lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (owned->places[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && owned->places[lo].id == id ? &owned->places[lo] : NULL;
}

/* ---- samples ---- */

/* How many frames a sample's stack has, at most STACK_MAX, then with one more that says so. */
static size_t stack_length(const struct owned *owned, const Sample *sample)
{
	size_t n = 0;
	for (size_t i = 0; i < sample->n_location_id; i++) {
		const struct place *place = find_place(owned, sample->location_id[i]);
		n += place != NULL ? place->n : 0;
		if (n > STACK_MAX)
			return STACK_MAX + 1;
	}
	return n;
}

/* The file has leaves first; what does not fit is left out at the root. */
static void fill_stack(const struct owned *owned, const Sample *sample, uint32_t *frames, size_t n)
{
	size_t left = n, whole = n <= STACK_MAX ? 0 : 1;
	for (size_t i = 0; i < sample->n_location_id; i++) {
		const struct place *place = find_place(owned, sample->location_id[i]);
		for (uint32_t k = 0; place != NULL && k < place->n && left > whole; k++)
			frames[--left] = owned->by_line[place->first + k];
	}
	if (whole > 0)
		frames[0] = owned->cut;
}

static void fill_labels(const struct owned *owned, const Sample *sample, struct view_label *labels)
{
	for (size_t i = 0; i < sample->n_label; i++) {
		const Label *label = sample->label[i];
		labels[i] = (struct view_label){.key = pprof_file_text(owned->file, label->key),
			.text = label->str != 0 ? pprof_file_text(owned->file, label->str) : NULL,
			.unit = pprof_file_text(owned->file, label->num_unit),
			.number = label->num};
	}
}

/* Counts what the samples have, before there is memory for it. */
static int measure(
	struct owned *owned, const Profile *profile, size_t *n_frames, size_t *n_labels, struct error *err)
{
	/* No location has this key. */
	static const struct frame_key cut = {.line = -1, .inlined = 2};
	if (profile->n_sample > VALUES_MAX / owned->view.n_types)
		return error_set(err, "%s is too large: its samples have more than %d million values",
			owned->name, VALUES_MAX / 1000000);
	for (size_t i = 0; i < profile->n_sample; i++) {
		size_t n = stack_length(owned, profile->sample[i]);
		*n_frames += n;
		*n_labels += profile->sample[i]->n_label;
		if (*n_frames > FRAMES_MAX)
			return error_set(err, "%s is too large: its stacks have more than %d million frames",
				owned->name, FRAMES_MAX / 1000000);
		if (n > STACK_MAX && owned->cut == TABLE_NONE)
			owned->cut = add_frame(owned, &cut);
		if (n > STACK_MAX && owned->cut == TABLE_NONE)
			return -1;
	}
	return 0;
}

static int add_samples(struct owned *owned, const Profile *profile, struct error *err)
{
	size_t n_frames = 0, n_labels = 0, types = owned->view.n_types;
	if (measure(owned, profile, &n_frames, &n_labels, err) != 0)
		return -1;
	owned->samples = calloc(profile->n_sample + 1, sizeof *owned->samples);
	owned->stacks = calloc(n_frames + 1, sizeof *owned->stacks);
	owned->labels = calloc(n_labels + 1, sizeof *owned->labels);
	owned->values = calloc(profile->n_sample * types + 1, sizeof *owned->values);
	if (owned->samples == NULL || owned->stacks == NULL || owned->labels == NULL || owned->values == NULL)
		return -1;
	uint32_t *stack = owned->stacks;
	struct view_label *labels = owned->labels;
	int64_t *values = owned->values;
	for (size_t i = 0; i < profile->n_sample; i++, values += types) {
		const Sample *sample = profile->sample[i];
		size_t n = stack_length(owned, sample);
		fill_stack(owned, sample, stack, n);
		fill_labels(owned, sample, labels);
		for (size_t k = 0; k < types && k < sample->n_value; k++)
			values[k] = sample->value[k];
		owned->samples[i] = (struct view_sample){stack, n, labels, sample->n_label, values};
		stack += n;
		labels += sample->n_label;
	}
	owned->view.samples = owned->samples;
	owned->view.n_samples = profile->n_sample;
	return 0;
}

/* ---- the whole ---- */

static int add_types(struct owned *owned, const Profile *profile)
{
	const struct pprof_file *file = owned->file;
	owned->types = calloc(profile->n_sample_type + 1, sizeof *owned->types);
	owned->comments = calloc(profile->n_comment + 1, sizeof *owned->comments);
	if (owned->types == NULL || owned->comments == NULL)
		return -1;
	for (size_t i = 0; i < profile->n_sample_type; i++)
		owned->types[i] = (struct view_type){pprof_file_text(file, profile->sample_type[i]->type),
			pprof_file_text(file, profile->sample_type[i]->unit)};
	for (size_t i = 0; i < profile->n_comment; i++)
		owned->comments[i] = pprof_file_text(file, profile->comment[i]);
	struct view *view = &owned->view;
	view->types = owned->types;
	view->n_types = profile->n_sample_type;
	view->type = view->n_types > 0 ? view->n_types - 1 : 0;
	const char *chosen = pprof_file_text(file, profile->default_sample_type);
	for (size_t i = view->n_types; chosen[0] != '\0' && i-- > 0;)
		if (strcmp(owned->types[i].type, chosen) == 0)
			view->type = i; /* of several the first, as pprof */
	view->comments = owned->comments;
	view->n_comments = profile->n_comment;
	view->time_ns = profile->time_nanos;
	view->duration_ns = profile->duration_nanos;
	return 0;
}

static int add_frames(struct owned *owned)
{
	size_t n = owned->keys.n, len;
	owned->frames = calloc(n + 1, sizeof *owned->frames);
	owned->name_of = calloc(n + 1, sizeof *owned->name_of);
	if (owned->frames == NULL || owned->name_of == NULL)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		struct frame_key key;
		memcpy(&key, table_key(&owned->keys, i, &len), sizeof key);
		fill_frame(owned, &key, &owned->frames[i]);
		if (owned->frames[i].named || i == owned->cut)
			continue;
		uint32_t name = make_name(owned, &key);
		if (name == TABLE_NONE)
			return -1;
		owned->name_of[i] = name + 1;
	}
	/* Their texts move no more. */
	for (uint32_t i = 0; i < n; i++)
		if (owned->name_of[i] != 0)
			owned->frames[i].function = table_key(&owned->names, owned->name_of[i] - 1, &len);
	if (owned->cut != TABLE_NONE)
		owned->frames[owned->cut].function =
			"[truncated: the profile has more frames than can be shown]";
	owned->view.frames = owned->frames;
	owned->view.n_frames = n;
	return 0;
}

static int build(struct owned *owned, struct error *err)
{
	const Profile *profile = pprof_file_message(owned->file);
	error_set(err, "memory is out while %s is read", owned->name);
	if (profile->n_sample_type == 0)
		return error_set(err, "%s has no kind of samples: there is nothing to show", owned->name);
	owned->cut = TABLE_NONE;
	if (add_types(owned, profile) != 0 || add_places(owned, profile) != 0 ||
		add_samples(owned, profile, err) != 0 || add_frames(owned) != 0)
		return -1;
	return 0;
}

struct view *view_new(const struct pprof_file *file, const char *name, struct error *err)
{
	struct owned *owned = calloc(1, sizeof *owned);
	error_set(err, "memory is out while %s is read", name);
	if (owned == NULL)
		return NULL;
	owned->file = file;
	owned->name = strdup(name);
	owned->view.name = owned->name;
	if (owned->name == NULL || build(owned, err) != 0) {
		view_free(&owned->view);
		return NULL;
	}
	free(owned->places);
	free(owned->by_line);
	free(owned->name_of);
	owned->places = NULL;
	owned->by_line = owned->name_of = NULL;
	return &owned->view;
}

void view_free(struct view *view)
{
	struct owned *owned = (struct owned *)view;
	if (owned == NULL)
		return;
	free(owned->types);
	free(owned->frames);
	free(owned->samples);
	free(owned->labels);
	free(owned->values);
	free(owned->stacks);
	free(owned->comments);
	free(owned->name);
	free(owned->places);
	free(owned->by_line);
	free(owned->name_of);
	table_free(&owned->keys);
	table_free(&owned->names);
	free(owned);
}

static const struct view_label *find_label(const struct view_sample *sample, const char *key)
{
	for (size_t i = 0; i < sample->n_labels; i++)
		if (strcmp(sample->labels[i].key, key) == 0)
			return &sample->labels[i];
	return NULL;
}

const char *view_text(const struct view_sample *sample, const char *key)
{
	const struct view_label *label = find_label(sample, key);
	return label != NULL ? label->text : NULL;
}

bool view_number(const struct view_sample *sample, const char *key, int64_t *number)
{
	const struct view_label *label = find_label(sample, key);
	if (label == NULL || label->text != NULL)
		return false;
	*number = label->number;
	return true;
}
