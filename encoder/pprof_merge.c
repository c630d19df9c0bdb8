#include "encoder/pprof_merge.h"

#include "encoder/pprof_file_data.h"
#include "encoder/table.h"
#include "encoder/view.h"

#include <stdlib.h>
#include <string.h>

static const size_t MEMORY_MAX = 1024u * 1024 * 1024;

/* As in encoder/profile_data.h: deep stacks share nearly all of their pieces. */
enum { PIECE_MAX = 64, PAGE = 4096 };

typedef Perftools__Profiles__Profile Profile;
typedef Perftools__Profiles__ValueType ValueType;
typedef Perftools__Profiles__Sample Sample;
typedef Perftools__Profiles__Label Label;
typedef Perftools__Profiles__Mapping Mapping;
typedef Perftools__Profiles__Location Location;
typedef Perftools__Profiles__Function Function;
typedef Perftools__Profiles__Line Line;

/* Strings, mappings and so on are meant by their numbers in the merge's tables. Keys have no padding. */
struct mapping_key {
	uint64_t size, offset, start; /* start: 0 where a build-id or a file's name tells more */
	uint32_t name, is_build_id;
};

struct function_key {
	uint32_t name, system_name, file, padding;
	int64_t start_line;
};

/* Followed by its lines. */
struct location_key {
	uint64_t address; /* as the first file has its mapping */
	uint32_t mapping; /* number + 1; 0 none */
	uint32_t is_folded;
};

struct line_key {
	uint32_t function, padding; /* number + 1; 0 none */
	int64_t line, column;
};

/* Followed by its pieces, leaf first, an unused word if they are odd in number, and its labels. */
struct sample_key {
	uint32_t locations, pieces;
	uint64_t labels;
};

struct label_key {
	uint32_t key, text;
	int64_t number;
	uint32_t unit, padding;
};

/* What is not in its key. */
struct mapping_rest {
	uint64_t start, limit;
	uint32_t path, build_id;
	bool is_used, has_functions, has_filenames, has_lines, has_inlines; /* of all that are used */
};

struct type {
	uint32_t type, unit;
};

/* What every file says of itself, put together. */
struct header {
	struct type *types, period_type;
	size_t n_types;
	int64_t period, time_ns, duration_ns;
	uint32_t default_type, drop_frames, keep_frames, doc_url;
};

struct buffer {
	uint8_t *v;
	size_t n, cap;
};

struct pprof_merge {
	size_t files;
	char *first_name;
	struct header header;
	struct table strings, mappings, functions, locations, pieces, samples, comments;
	struct mapping_rest *rest; /* by mapping */
	size_t rest_cap;
	int64_t *values; /* of each sample, one for each type */
	size_t values_cap;
	struct buffer key, stack; /* under construction */
};

/* One file on its way in. */
struct source {
	struct pprof_merge *merge;
	const struct pprof_file *file;
	const Profile *profile;
	struct place {
		uint64_t id;
		size_t at;
	} * places; /* of locations, ascending */
	uint32_t *numbers; /* by location, number + 1; 0: not met yet */
};

struct pprof_merge *pprof_merge_new(void)
{
	struct pprof_merge *merge = calloc(1, sizeof *merge);
	if (merge == NULL || table_intern(&merge->strings, "", 1) != 0) {
		pprof_merge_free(merge);
		return NULL;
	}
	return merge;
}

void pprof_merge_free(struct pprof_merge *merge)
{
	if (merge == NULL)
		return;
	struct table *tables[] = {&merge->strings, &merge->mappings, &merge->functions, &merge->locations,
		&merge->pieces, &merge->samples, &merge->comments};
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		table_free(tables[i]);
	free(merge->first_name);
	free(merge->header.types);
	free(merge->rest);
	free(merge->values);
	free(merge->key.v);
	free(merge->stack.v);
	free(merge);
}

/* ---- growing ---- */

static int reserve(void *array, size_t *cap, size_t need, size_t size)
{
	void **v = array;
	if (need <= *cap)
		return 0;
	void *larger = reallocarray(*v, need * 2, size);
	if (larger == NULL)
		return -1;
	*v = larger;
	*cap = need * 2;
	return 0;
}

static int append(struct buffer *buffer, const void *bytes, size_t n)
{
	if (reserve(&buffer->v, &buffer->cap, buffer->n + n + 1, 1) != 0)
		return -1;
	if (n > 0)
		memcpy(buffer->v + buffer->n, bytes, n);
	buffer->n += n;
	return 0;
}

static size_t bytes_of(const struct table *table)
{
	return table->used + table->n * (sizeof *table->keys + 2 * sizeof *table->slots);
}

static bool is_too_large(const struct pprof_merge *merge)
{
	size_t bytes = bytes_of(&merge->strings) + bytes_of(&merge->mappings) + bytes_of(&merge->functions) +
		       bytes_of(&merge->locations) + bytes_of(&merge->pieces) + bytes_of(&merge->samples);
	return bytes + merge->values_cap * sizeof *merge->values > MEMORY_MAX;
}

/* ---- one file's parts -> numbers; TABLE_NONE when memory is out ---- */

static uint32_t intern_text(const struct source *source, int64_t number)
{
	const char *text = pprof_file_text(source->file, number);
	return table_intern(&source->merge->strings, text, strlen(text) + 1);
}

/* As go tool pprof: the same part of the same file. What lies in no file is the same only at the same address.
 */
static int make_mapping_key(const struct source *source, const Mapping *mapping, struct mapping_key *key)
{
	const char *path = pprof_file_text(source->file, mapping->filename);
	bool has_build_id = *pprof_file_text(source->file, mapping->build_id) != '\0';
	*key = (struct mapping_key){.size = (mapping->memory_limit - mapping->memory_start + PAGE - 1) / PAGE,
		.offset = mapping->file_offset,
		.name = intern_text(source, has_build_id ? mapping->build_id : mapping->filename),
		.is_build_id = has_build_id};
	if (!has_build_id && (path[0] == '\0' || path[0] == '['))
		key->start = mapping->memory_start;
	return key->name != TABLE_NONE ? 0 : -1;
}

static uint32_t intern_mapping(const struct source *source, const Mapping *mapping)
{
	struct pprof_merge *merge = source->merge;
	struct mapping_key key;
	size_t known = merge->mappings.n;
	if (make_mapping_key(source, mapping, &key) != 0 ||
		reserve(&merge->rest, &merge->rest_cap, known + 1, sizeof *merge->rest) != 0)
		return TABLE_NONE;
	struct mapping_rest rest = {.start = mapping->memory_start,
		.limit = mapping->memory_limit,
		.path = intern_text(source, mapping->filename),
		.build_id = intern_text(source, mapping->build_id)};
	if (rest.path == TABLE_NONE || rest.build_id == TABLE_NONE)
		return TABLE_NONE;
	uint32_t number = table_intern(&merge->mappings, &key, sizeof key);
	if (number == known)
		merge->rest[number] = rest;
	return number;
}

/* The result claims to have names only if nobody who brought addresses did not. */
static void use_mapping(struct mapping_rest *rest, const Mapping *mapping)
{
	rest->has_functions = mapping->has_functions && (rest->has_functions || !rest->is_used);
	rest->has_filenames = mapping->has_filenames && (rest->has_filenames || !rest->is_used);
	rest->has_lines = mapping->has_line_numbers && (rest->has_lines || !rest->is_used);
	rest->has_inlines = mapping->has_inline_frames && (rest->has_inlines || !rest->is_used);
	rest->is_used = true;
}

static uint32_t intern_function(const struct source *source, const Function *function)
{
	struct function_key key = {.name = intern_text(source, function->name),
		.system_name = intern_text(source, function->system_name),
		.file = intern_text(source, function->filename),
		.start_line = function->start_line};
	if (key.name == TABLE_NONE || key.system_name == TABLE_NONE || key.file == TABLE_NONE)
		return TABLE_NONE;
	return table_intern(&source->merge->functions, &key, sizeof key);
}

static int add_line(const struct source *source, const Line *line)
{
	const Function *function = pprof_file_function(source->file, line->function_id);
	struct line_key key = {.line = line->line, .column = line->column};
	if (function != NULL) {
		uint32_t number = intern_function(source, function);
		if (number == TABLE_NONE)
			return -1;
		key.function = number + 1;
	}
	return append(&source->merge->key, &key, sizeof key);
}

static uint32_t intern_location(const struct source *source, const Location *location)
{
	struct pprof_merge *merge = source->merge;
	const Mapping *mapping = pprof_file_mapping(source->file, location->mapping_id);
	struct location_key key = {.address = location->address, .is_folded = location->is_folded != 0};
	if (mapping != NULL) {
		uint32_t number = intern_mapping(source, mapping);
		if (number == TABLE_NONE)
			return TABLE_NONE;
		use_mapping(&merge->rest[number], mapping);
		key.mapping = number + 1;
		/* Programs and libraries lie elsewhere in each process. */
		key.address += merge->rest[number].start - mapping->memory_start;
	}
	merge->key.n = 0;
	if (append(&merge->key, &key, sizeof key) != 0)
		return TABLE_NONE;
	for (size_t i = 0; i < location->n_line; i++)
		if (add_line(source, location->line[i]) != 0)
			return TABLE_NONE;
	return table_intern(&merge->locations, merge->key.v, merge->key.n);
}

/* ---- samples ---- */

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static size_t find_place(const struct source *source, uint64_t id)
{
	size_t low = 0, high = source->profile->n_location;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (source->places[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	bool found = low < source->profile->n_location && source->places[low].id == id;
	return found ? source->places[low].at : SIZE_MAX;
}

/* The numbers of the sample's locations in merge->stack. An id that the file does not have is left out. */
static int fill_stack(const struct source *source, const Sample *sample)
{
	struct buffer *stack = &source->merge->stack;
	stack->n = 0;
	for (size_t i = 0; i < sample->n_location_id; i++) {
		size_t at = find_place(source, sample->location_id[i]);
		if (at == SIZE_MAX)
			continue;
		if (source->numbers[at] == 0)
			source->numbers[at] = intern_location(source, source->profile->location[at]) + 1;
		/* TABLE_NONE + 1 */
		if (source->numbers[at] == 0)
			return -1;
		uint32_t number = source->numbers[at] - 1;
		if (append(stack, &number, sizeof number) != 0)
			return -1;
	}
	return 0;
}

/* Only the first piece is short: what is counted from the root stays the same while the leaf end of a recursion
 * comes and goes. */
static int cut_stack(struct pprof_merge *merge, struct sample_key *key)
{
	key->locations = (uint32_t)(merge->stack.n / sizeof(uint32_t));
	for (size_t first = 0, n; first < key->locations; first += n) {
		n = (key->locations - first) % PIECE_MAX;
		if (n == 0)
			n = PIECE_MAX;
		uint32_t piece = table_intern(
			&merge->pieces, merge->stack.v + first * sizeof(uint32_t), n * sizeof(uint32_t));
		if (piece == TABLE_NONE || append(&merge->key, &piece, sizeof piece) != 0)
			return -1;
		key->pieces++;
	}
	static const uint32_t unused = 0;
	return key->pieces % 2 != 0 ? append(&merge->key, &unused, sizeof unused) : 0;
}

static int compare_labels(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct label_key));
}

static int add_labels(const struct source *source, const Sample *sample)
{
	struct buffer *key = &source->merge->key;
	size_t first = key->n;
	for (size_t i = 0; i < sample->n_label; i++) {
		const Label *label = sample->label[i];
		struct label_key added = {.key = intern_text(source, label->key),
			.text = intern_text(source, label->str),
			.number = label->num,
			.unit = intern_text(source, label->num_unit)};
		if (added.key == TABLE_NONE || added.text == TABLE_NONE || added.unit == TABLE_NONE ||
			append(key, &added, sizeof added) != 0)
			return -1;
	}
	/* Their order means nothing. */
	if (sample->n_label > 1)
		qsort(key->v + first, sample->n_label, sizeof(struct label_key), compare_labels);
	return 0;
}

static int add_values(struct pprof_merge *merge, uint32_t number, size_t known, const Sample *sample)
{
	size_t types = merge->header.n_types;
	if (reserve(&merge->values, &merge->values_cap, (number + (size_t)1) * types, sizeof *merge->values) !=
		0)
		return -1;
	int64_t *values = merge->values + number * types;
	if (number == known)
		memset(values, 0, types * sizeof *values);
	for (size_t i = 0; i < types && i < sample->n_value; i++)
		view_add(&values[i], sample->value[i]);
	return 0;
}

static bool is_zero(const Sample *sample)
{
	for (size_t i = 0; i < sample->n_value; i++)
		if (sample->value[i] != 0)
			return false;
	return true;
}

static int add_sample(const struct source *source, const Sample *sample)
{
	struct pprof_merge *merge = source->merge;
	struct sample_key key = {.labels = sample->n_label};
	if (is_zero(sample))
		return 0;
	if (fill_stack(source, sample) != 0)
		return -1;
	merge->key.n = 0;
	if (append(&merge->key, &key, sizeof key) != 0 || cut_stack(merge, &key) != 0 ||
		add_labels(source, sample) != 0)
		return -1;
	memcpy(merge->key.v, &key, sizeof key);
	size_t known = merge->samples.n;
	uint32_t number = table_intern(&merge->samples, merge->key.v, merge->key.n);
	return number != TABLE_NONE ? add_values(merge, number, known, sample) : -1;
}

static int add_samples(struct source *source, const char *name, struct error *err)
{
	const Profile *profile = source->profile;
	for (size_t i = 0; i < profile->n_location; i++)
		source->places[i] = (struct place){profile->location[i]->id, i};
	qsort(source->places, profile->n_location, sizeof *source->places, compare_places);
	for (size_t i = 0; i < profile->n_sample; i++) {
		if (add_sample(source, profile->sample[i]) != 0)
			return -1;
		if (is_too_large(source->merge))
			return error_set(err,
				"with %s the profiles are too large together: up to %zu MB can be merged", name,
				MEMORY_MAX / 1024 / 1024);
	}
	return 0;
}

/* ---- headers ---- */

static int read_type(const struct source *source, const ValueType *type, struct type *out)
{
	*out = (struct type){0, 0};
	if (type == NULL)
		return 0;
	*out = (struct type){intern_text(source, type->type), intern_text(source, type->unit)};
	return out->type != TABLE_NONE && out->unit != TABLE_NONE ? 0 : -1;
}

static int begin_header(const struct source *source, const char *name)
{
	struct header *header = &source->merge->header;
	const Profile *profile = source->profile;
	source->merge->first_name = strdup(name);
	header->types = calloc(profile->n_sample_type + 1, sizeof *header->types);
	if (source->merge->first_name == NULL || header->types == NULL)
		return -1;
	header->n_types = profile->n_sample_type;
	for (size_t i = 0; i < header->n_types; i++)
		if (read_type(source, profile->sample_type[i], &header->types[i]) != 0)
			return -1;
	header->drop_frames = intern_text(source, profile->drop_frames);
	header->keep_frames = intern_text(source, profile->keep_frames);
	header->doc_url = intern_text(source, profile->doc_url);
	bool failed = header->drop_frames == TABLE_NONE || header->keep_frames == TABLE_NONE ||
		      header->doc_url == TABLE_NONE;
	if (profile->n_mapping > 0)
		failed |= intern_mapping(source, profile->mapping[0]) == TABLE_NONE;
	return failed ? -1 : read_type(source, profile->period_type, &header->period_type);
}

static const char *type_name(const struct pprof_merge *merge, const struct type *type)
{
	size_t len;
	return table_key(&merge->strings, type->type, &len);
}

/* What is added up must be of the same kind, value by value. */
static int check_types(const struct source *source, const char *name, struct error *err)
{
	const struct header *header = &source->merge->header;
	const Profile *profile = source->profile;
	bool is_same = profile->n_sample_type == header->n_types;
	struct type last = {0, 0}; /* the one that is shown */
	for (size_t i = 0; i < profile->n_sample_type; i++) {
		if (read_type(source, profile->sample_type[i], &last) != 0)
			return -1;
		is_same = is_same && last.type == header->types[i].type && last.unit == header->types[i].unit;
	}
	if (is_same)
		return 0;
	struct type first = header->n_types > 0 ? header->types[header->n_types - 1] : (struct type){0, 0};
	return error_set(err, "%s counts %.64s, and %s %.64s: only profiles of one kind make one", name,
		type_name(source->merge, &last), source->merge->first_name, type_name(source->merge, &first));
}

static int add_header(const struct source *source)
{
	struct pprof_merge *merge = source->merge;
	struct header *header = &merge->header;
	const Profile *profile = source->profile;
	if (header->default_type == 0)
		header->default_type = intern_text(source, profile->default_sample_type);
	if (header->default_type == TABLE_NONE)
		return -1;
	if (profile->time_nanos != 0 && (header->time_ns == 0 || profile->time_nanos < header->time_ns))
		header->time_ns = profile->time_nanos;
	if (profile->period > header->period)
		header->period = profile->period;
	view_add(&header->duration_ns, profile->duration_nanos);
	for (size_t i = 0; i < profile->n_comment; i++) {
		uint32_t text = intern_text(source, profile->comment[i]);
		if (text == TABLE_NONE || table_intern(&merge->comments, &text, sizeof text) == TABLE_NONE)
			return -1;
	}
	return 0;
}

int pprof_merge_add(
	struct pprof_merge *merge, const struct pprof_file *file, const char *name, struct error *err)
{
	struct source source = {merge, file, pprof_file_message(file), NULL, NULL};
	error_set(err, "memory is out while %s is merged", name);
	source.places = calloc(source.profile->n_location + 1, sizeof *source.places);
	source.numbers = calloc(source.profile->n_location + 1, sizeof *source.numbers);
	int outcome = source.places != NULL && source.numbers != NULL ? 0 : -1;
	if (outcome == 0 && merge->files++ == 0)
		outcome = begin_header(&source, name);
	if (outcome == 0)
		outcome = check_types(&source, name, err);
	if (outcome == 0)
		outcome = add_header(&source);
	if (outcome == 0)
		outcome = add_samples(&source, name, err);
	free(source.places);
	free(source.numbers);
	return outcome;
}

/* ---- numbers -> the result. A message counts what it has, so that it can be freed at any time. ---- */

static void *new_message(const ProtobufCMessageDescriptor *descriptor)
{
	void *message = malloc(descriptor->sizeof_message);
	if (message != NULL)
		protobuf_c_message_init(descriptor, message);
	return message;
}

static ValueType *make_type(const struct type *type)
{
	ValueType *message = new_message(&perftools__profiles__value_type__descriptor);
	if (message != NULL) {
		message->type = type->type;
		message->unit = type->unit;
	}
	return message;
}

static int make_header(const struct pprof_merge *merge, Profile *profile)
{
	const struct header *header = &merge->header;
	profile->sample_type = calloc(header->n_types + 1, sizeof *profile->sample_type);
	profile->comment = calloc(merge->comments.n + 1, sizeof *profile->comment);
	profile->period_type = make_type(&header->period_type);
	if (profile->sample_type == NULL || profile->comment == NULL || profile->period_type == NULL)
		return -1;
	for (size_t i = 0; i < header->n_types; i++) {
		profile->sample_type[i] = make_type(&header->types[i]);
		if (profile->sample_type[i] == NULL)
			return -1;
		profile->n_sample_type++;
	}
	for (uint32_t i = 0; i < merge->comments.n; i++) {
		size_t len;
		uint32_t text;
		memcpy(&text, table_key(&merge->comments, i, &len), sizeof text);
		profile->comment[profile->n_comment++] = text;
	}
	profile->period = header->period;
	profile->time_nanos = header->time_ns;
	profile->duration_nanos = header->duration_ns;
	profile->default_sample_type = header->default_type;
	profile->drop_frames = header->drop_frames;
	profile->keep_frames = header->keep_frames;
	profile->doc_url = header->doc_url;
	return 0;
}

static int make_strings(const struct pprof_merge *merge, Profile *profile)
{
	profile->string_table = calloc(merge->strings.n + 1, sizeof *profile->string_table);
	if (profile->string_table == NULL)
		return -1;
	for (uint32_t i = 0; i < merge->strings.n; i++) {
		size_t len;
		char *text = strdup(table_key(&merge->strings, i, &len));
		if (text == NULL)
			return -1;
		profile->string_table[profile->n_string_table++] = text;
	}
	return 0;
}

static int make_mappings(const struct pprof_merge *merge, Profile *profile)
{
	profile->mapping = calloc(merge->mappings.n + 1, sizeof *profile->mapping);
	if (profile->mapping == NULL)
		return -1;
	for (uint32_t i = 0; i < merge->mappings.n; i++) {
		const struct mapping_rest *rest = &merge->rest[i];
		size_t len;
		struct mapping_key key;
		Mapping *mapping = new_message(&perftools__profiles__mapping__descriptor);
		if (mapping == NULL)
			return -1;
		memcpy(&key, table_key(&merge->mappings, i, &len), sizeof key);
		mapping->id = i + (uint64_t)1;
		mapping->memory_start = rest->start;
		mapping->memory_limit = rest->limit;
		mapping->file_offset = key.offset;
		mapping->filename = rest->path;
		mapping->build_id = rest->build_id;
		mapping->has_functions = rest->has_functions;
		mapping->has_filenames = rest->has_filenames;
		mapping->has_line_numbers = rest->has_lines;
		mapping->has_inline_frames = rest->has_inlines;
		profile->mapping[profile->n_mapping++] = mapping;
	}
	return 0;
}

static int make_functions(const struct pprof_merge *merge, Profile *profile)
{
	profile->function = calloc(merge->functions.n + 1, sizeof *profile->function);
	if (profile->function == NULL)
		return -1;
	for (uint32_t i = 0; i < merge->functions.n; i++) {
		size_t len;
		struct function_key key;
		Function *function = new_message(&perftools__profiles__function__descriptor);
		if (function == NULL)
			return -1;
		memcpy(&key, table_key(&merge->functions, i, &len), sizeof key);
		function->id = i + (uint64_t)1;
		function->name = key.name;
		function->system_name = key.system_name;
		function->filename = key.file;
		function->start_line = key.start_line;
		profile->function[profile->n_function++] = function;
	}
	return 0;
}

static int make_lines(const uint8_t *keys, size_t n, Location *location)
{
	location->line = calloc(n + 1, sizeof *location->line);
	if (location->line == NULL)
		return -1;
	for (; location->n_line < n; location->n_line++) {
		struct line_key key;
		Line *line = new_message(&perftools__profiles__line__descriptor);
		if (line == NULL)
			return -1;
		memcpy(&key, keys + location->n_line * sizeof key, sizeof key);
		line->function_id = key.function;
		line->line = key.line;
		line->column = key.column;
		location->line[location->n_line] = line;
	}
	return 0;
}

static int make_locations(const struct pprof_merge *merge, Profile *profile)
{
	profile->location = calloc(merge->locations.n + 1, sizeof *profile->location);
	if (profile->location == NULL)
		return -1;
	for (uint32_t i = 0; i < merge->locations.n; i++) {
		size_t len;
		const uint8_t *bytes = table_key(&merge->locations, i, &len);
		struct location_key key;
		Location *location = new_message(&perftools__profiles__location__descriptor);
		if (location == NULL)
			return -1;
		profile->location[profile->n_location++] = location;
		memcpy(&key, bytes, sizeof key);
		location->id = i + (uint64_t)1;
		location->mapping_id = key.mapping;
		location->address = key.address;
		location->is_folded = key.is_folded != 0;
		if (make_lines(bytes + sizeof key, (len - sizeof key) / sizeof(struct line_key), location) != 0)
			return -1;
	}
	return 0;
}

static int make_stack(
	const struct pprof_merge *merge, const struct sample_key *key, const uint8_t *pieces, Sample *sample)
{
	sample->location_id = calloc((size_t)key->locations + 1, sizeof *sample->location_id);
	if (sample->location_id == NULL)
		return -1;
	for (uint32_t i = 0; i < key->pieces; i++) {
		uint32_t piece;
		size_t len;
		memcpy(&piece, pieces + i * sizeof piece, sizeof piece);
		const uint32_t *locations = table_key(&merge->pieces, piece, &len);
		for (size_t k = 0; k < len / sizeof *locations; k++)
			sample->location_id[sample->n_location_id++] = (uint64_t)locations[k] + 1;
	}
	return 0;
}

static int make_labels(const uint8_t *keys, size_t n, Sample *sample)
{
	sample->label = calloc(n + 1, sizeof *sample->label);
	if (sample->label == NULL)
		return -1;
	for (; sample->n_label < n; sample->n_label++) {
		struct label_key key;
		Label *label = new_message(&perftools__profiles__label__descriptor);
		if (label == NULL)
			return -1;
		memcpy(&key, keys + sample->n_label * sizeof key, sizeof key);
		label->key = key.key;
		label->str = key.text;
		label->num = key.number;
		label->num_unit = key.unit;
		sample->label[sample->n_label] = label;
	}
	return 0;
}

static int make_sample(const struct pprof_merge *merge, uint32_t number, Sample *sample)
{
	size_t len, types = merge->header.n_types;
	const uint8_t *bytes = table_key(&merge->samples, number, &len);
	struct sample_key key;
	memcpy(&key, bytes, sizeof key);
	size_t words = key.pieces + key.pieces % 2;
	bytes += sizeof key;
	sample->value = calloc(types + 1, sizeof *sample->value);
	if (sample->value == NULL || make_stack(merge, &key, bytes, sample) != 0)
		return -1;
	for (size_t i = 0; i < types; i++)
		sample->value[sample->n_value++] = merge->values[number * types + i];
	return make_labels(bytes + words * sizeof(uint32_t), key.labels, sample);
}

static int make_samples(const struct pprof_merge *merge, Profile *profile)
{
	profile->sample = calloc(merge->samples.n + 1, sizeof *profile->sample);
	if (profile->sample == NULL)
		return -1;
	for (uint32_t i = 0; i < merge->samples.n; i++) {
		Sample *sample = new_message(&perftools__profiles__sample__descriptor);
		if (sample == NULL)
			return -1;
		profile->sample[profile->n_sample++] = sample;
		if (make_sample(merge, i, sample) != 0)
			return -1;
	}
	return 0;
}

struct pprof_file *pprof_merge_finish(const struct pprof_merge *merge, struct error *err)
{
	Profile *profile = new_message(&perftools__profiles__profile__descriptor);
	error_set(err, "memory is out");
	if (profile == NULL)
		return NULL;
	if (make_header(merge, profile) != 0 || make_strings(merge, profile) != 0 ||
		make_mappings(merge, profile) != 0 || make_functions(merge, profile) != 0 ||
		make_locations(merge, profile) != 0 || make_samples(merge, profile) != 0) {
		perftools__profiles__profile__free_unpacked(profile, NULL);
		return NULL;
	}
	return pprof_file_wrap(profile, err);
}
