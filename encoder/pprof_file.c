#include "encoder/pprof_file.h"

#include "encoder/pprof.h"
#include "encoder/pprof_file_data.h"
#include "encoder/table.h"
#include "encoder/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

/* The largest profiles that people keep are some ten MB. A message of two bytes takes a hundred in memory. */
static const size_t FILE_BYTES_MAX = 256u * 1024 * 1024;
static const size_t MEMORY_MAX = 1024u * 1024 * 1024;

enum { FIRST_BYTES = 64 * 1024, COMMENT_BYTES = 8192 };

typedef Perftools__Profiles__Profile Profile;
typedef Perftools__Profiles__Location Location;
typedef Perftools__Profiles__Function Function;
typedef Perftools__Profiles__Line Line;

/* The number under which a message of the file is referred to, and its place. */
struct identity {
	uint64_t id;
	size_t at;
};

struct new_function {
	uint64_t name, system_name, file;
	int64_t start_line;
};

struct pprof_file {
	ProtobufCAllocator allocator;
	size_t memory_left;
	Profile *profile;
	struct identity *mappings, *functions; /* ascending */
	size_t *locations; /* by module */
	size_t *first; /* module m has locations[first[m] .. first[m + 1]) */
	struct table strings, added; /* texts; struct new_function. By number: behind those of the file */
	size_t n_strings, n_functions; /* what the file had */
	size_t strings_cap, functions_cap;
	uint64_t next_function_id;
};

/* ---- reading ---- */

static void *allocate(void *context, size_t size)
{
	struct pprof_file *file = context;
	size_t cost = size + 16;
	if (size > MEMORY_MAX || cost > file->memory_left)
		return NULL;
	file->memory_left -= cost;
	return malloc(size > 0 ? size : 1);
}

static void release(void *context, void *memory)
{
	(void)context;
	free(memory);
}

static uint8_t *read_all(gzFile in, const char *name, size_t *len, struct error *err)
{
	size_t cap = FIRST_BYTES;
	uint8_t *bytes = malloc(cap);
	*len = 0;
	while (bytes != NULL) {
		int got = gzread(in, bytes + *len, (unsigned)(cap - *len));
		if (got < 0) {
			int why;
			gzerror(in, &why);
			if (why == Z_ERRNO)
				error_set(err, "%s cannot be read: %s", name, strerror(errno));
			else
				error_set(err, "%s is not a profile, or it is damaged: it does not decompress",
					name);
			break;
		}
		*len += (size_t)got;
		if (got == 0)
			return bytes;
		if (*len < cap)
			continue;
		cap *= 2;
		uint8_t *larger = cap <= FILE_BYTES_MAX ? realloc(bytes, cap) : NULL;
		if (larger == NULL) {
			error_set(err, "%s is too large: a profile of up to %zu MB can be read", name,
				FILE_BYTES_MAX / 1024 / 1024);
			break;
		}
		bytes = larger;
	}
	free(bytes);
	return NULL;
}

static uint8_t *read_file(int fd, const char *name, size_t *len, struct error *err)
{
	int copy = dup(fd);
	gzFile in = copy >= 0 ? gzdopen(copy, "rb") : NULL;
	error_set(err, "%s cannot be read: memory is out", name);
	if (in == NULL) {
		if (copy >= 0)
			close(copy);
		return NULL;
	}
	uint8_t *bytes = read_all(in, name, len, err);
	gzclose(in);
	return bytes;
}

static int compare_identity(const void *a, const void *b)
{
	const struct identity *x = a, *y = b;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

/* The place of an id; n when there is none. Of two with the same id, the first. */
static size_t find(const struct identity *v, size_t n, uint64_t id)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (v[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && v[lo].id == id ? v[lo].at : n;
}

static size_t module_of(const struct pprof_file *file, const Location *location)
{
	size_t n = file->profile->n_mapping;
	return location->mapping_id != 0 ? find(file->mappings, n, location->mapping_id) : n;
}

static int index_make(struct pprof_file *file)
{
	const Profile *profile = file->profile;
	file->mappings = calloc(profile->n_mapping + 1, sizeof *file->mappings);
	file->functions = calloc(profile->n_function + 1, sizeof *file->functions);
	file->locations = calloc(profile->n_location + 1, sizeof *file->locations);
	file->first = calloc(profile->n_mapping + 2, sizeof *file->first);
	if (file->mappings == NULL || file->functions == NULL || file->locations == NULL || file->first == NULL)
		return -1;
	for (size_t i = 0; i < profile->n_mapping; i++)
		file->mappings[i] = (struct identity){profile->mapping[i]->id, i};
	for (size_t i = 0; i < profile->n_function; i++) {
		uint64_t id = profile->function[i]->id;
		file->functions[i] = (struct identity){id, i};
		if (id >= file->next_function_id)
			file->next_function_id = id + 1;
	}
	qsort(file->mappings, profile->n_mapping, sizeof *file->mappings, compare_identity);
	qsort(file->functions, profile->n_function, sizeof *file->functions, compare_identity);
	/* Counted, summed up, filled from the end of each module's part. */
	for (size_t i = 0; i < profile->n_location; i++) {
		size_t module = module_of(file, profile->location[i]);
		if (module < profile->n_mapping)
			file->first[module]++;
	}
	for (size_t m = 1; m <= profile->n_mapping; m++)
		file->first[m] += file->first[m - 1];
	for (size_t i = profile->n_location; i-- > 0;) {
		size_t module = module_of(file, profile->location[i]);
		if (module < profile->n_mapping)
			file->locations[--file->first[module]] = i;
	}
	return 0;
}

const Profile *pprof_file_message(const struct pprof_file *file)
{
	return file->profile;
}

const char *pprof_file_text(const struct pprof_file *file, int64_t number)
{
	const Profile *profile = file->profile;
	return number > 0 && (uint64_t)number < profile->n_string_table ? profile->string_table[number] : "";
}

/* file->profile is there. */
static int complete(struct pprof_file *file, const char *name, struct error *err)
{
	const Profile *profile = file->profile;
	file->n_strings = file->strings_cap = profile->n_string_table;
	file->n_functions = file->functions_cap = profile->n_function;
	file->next_function_id = 1;
	if (index_make(file) != 0)
		return error_set(err, "memory is out");
	/* Ids from here on must not run over. */
	if (file->next_function_id == 0 || file->next_function_id > UINT64_MAX / 2)
		return error_set(err, "%s is damaged: a function's id is too large", name);
	return 0;
}

static int parse(struct pprof_file *file, const uint8_t *bytes, size_t len, const char *name, struct error *err)
{
	file->profile = perftools__profiles__profile__unpack(&file->allocator, len, bytes);
	const Profile *profile = file->profile;
	if (profile == NULL || profile->n_string_table == 0 || profile->string_table[0][0] != '\0')
		return error_set(err, "%s is not a profile in pprof's format, or it is damaged", name);
	return complete(file, name, err);
}

static struct pprof_file *new_file(void)
{
	struct pprof_file *file = calloc(1, sizeof *file);
	if (file == NULL)
		return NULL;
	file->allocator = (ProtobufCAllocator){allocate, release, file};
	file->memory_left = MEMORY_MAX;
	return file;
}

struct pprof_file *pprof_file_wrap(Profile *profile, struct error *err)
{
	struct pprof_file *file = new_file();
	error_set(err, "memory is out");
	if (file == NULL) {
		perftools__profiles__profile__free_unpacked(profile, NULL);
		return NULL;
	}
	file->profile = profile;
	if (complete(file, "the result", err) == 0)
		return file;
	pprof_file_free(file);
	return NULL;
}

struct pprof_file *pprof_file_read(int fd, const char *name, struct error *err)
{
	size_t len;
	struct pprof_file *file = new_file();
	uint8_t *bytes = file != NULL ? read_file(fd, name, &len, err) : NULL;
	if (bytes == NULL) {
		free(file);
		return NULL;
	}
	if (parse(file, bytes, len, name, err) != 0) {
		pprof_file_free(file);
		file = NULL;
	}
	free(bytes);
	return file;
}

void pprof_file_free(struct pprof_file *file)
{
	if (file == NULL)
		return;
	if (file->profile != NULL)
		perftools__profiles__profile__free_unpacked(file->profile, &file->allocator);
	free(file->mappings);
	free(file->functions);
	free(file->locations);
	free(file->first);
	table_free(&file->strings);
	table_free(&file->added);
	free(file);
}

/* ---- asking ---- */

size_t pprof_file_modules(const struct pprof_file *file)
{
	return file->profile->n_mapping;
}

struct pprof_module pprof_file_module(const struct pprof_file *file, size_t module)
{
	const Perftools__Profiles__Mapping *mapping = file->profile->mapping[module];
	return (struct pprof_module){.path = pprof_file_text(file, mapping->filename),
		.build_id = pprof_file_text(file, mapping->build_id),
		.start = mapping->memory_start,
		.limit = mapping->memory_limit,
		.offset = mapping->file_offset,
		.n = file->first[module + 1] - file->first[module]};
}

static Location *location_of(const struct pprof_file *file, size_t module, size_t i)
{
	return file->profile->location[file->locations[file->first[module] + i]];
}

uint64_t pprof_file_address(const struct pprof_file *file, size_t module, size_t i)
{
	return location_of(file, module, i)->address;
}

/* ---- naming ---- */

/* How much is known of one place. */
struct knowledge {
	bool function, line;
	size_t depth;
};

static bool says_more(const struct knowledge *a, const struct knowledge *b)
{
	if (a->function != b->function)
		return a->function;
	if (a->line != b->line)
		return a->line;
	return a->function && a->depth > b->depth;
}

const Perftools__Profiles__Mapping *pprof_file_mapping(const struct pprof_file *file, uint64_t id)
{
	size_t n = file->profile->n_mapping, at = id != 0 ? find(file->mappings, n, id) : n;
	return at < n ? file->profile->mapping[at] : NULL;
}

const Function *pprof_file_function(const struct pprof_file *file, uint64_t id)
{
	const Profile *profile = file->profile;
	if (id >= file->next_function_id) {
		uint64_t at = id - file->next_function_id;
		return at < profile->n_function - file->n_functions ? profile->function[file->n_functions + at]
								    : NULL;
	}
	size_t at = find(file->functions, file->n_functions, id);
	return at < file->n_functions ? profile->function[at] : NULL;
}

static struct knowledge known(const struct pprof_file *file, const Location *location)
{
	struct knowledge knowledge = {.depth = location->n_line};
	for (size_t i = 0; i < location->n_line; i++) {
		const Function *function = pprof_file_function(file, location->line[i]->function_id);
		if (function == NULL)
			continue;
		knowledge.function |= *pprof_file_text(file, function->name) != '\0' ||
				      *pprof_file_text(file, function->system_name) != '\0';
		knowledge.line |= location->line[i]->line != 0;
	}
	return knowledge;
}

static struct knowledge offered(const struct symbolized *found)
{
	struct knowledge knowledge = {.depth = found->n};
	for (size_t i = 0; i < found->n; i++) {
		knowledge.function |= found->lines[i].function[0] != '\0';
		knowledge.line |= found->lines[i].line != 0;
	}
	return knowledge;
}

/* Room for one more pointer in an array that the message owns. */
static int grow(void *array, size_t n, size_t *cap)
{
	void **v = array, *larger;
	if (n < *cap)
		return 0;
	size_t wanted = *cap < 64 ? 128 : *cap * 2;
	larger = reallocarray(*v, wanted, sizeof(void *));
	if (larger == NULL)
		return -1;
	*v = larger;
	*cap = wanted;
	return 0;
}

/* The number of a text in the file's table, added if new; -1 when memory is out. */
static int64_t text_add(struct pprof_file *file, const char *added)
{
	Profile *profile = file->profile;
	if (added[0] == '\0')
		return 0;
	uint32_t number = table_intern(&file->strings, added, strlen(added));
	if (number == TABLE_NONE)
		return -1;
	size_t at = file->n_strings + number;
	if (at < profile->n_string_table)
		return (int64_t)at;
	char *copy = strdup(added);
	if (copy == NULL || grow(&profile->string_table, profile->n_string_table, &file->strings_cap) != 0) {
		free(copy);
		return -1;
	}
	utf8_clean(copy);
	profile->string_table[profile->n_string_table++] = copy;
	return (int64_t)at;
}

/* The id of a function; 0 when memory is out. */
static uint64_t function_add(struct pprof_file *file, const struct source_line *source)
{
	Profile *profile = file->profile;
	int64_t name = text_add(file, source->function), system_name = text_add(file, source->system_name),
		path = text_add(file, source->file);
	if (name < 0 || system_name < 0 || path < 0)
		return 0;
	struct new_function key = {(uint64_t)name, (uint64_t)system_name, (uint64_t)path, source->start_line};
	uint32_t number = table_intern(&file->added, &key, sizeof key);
	if (number == TABLE_NONE)
		return 0;
	if (file->n_functions + number < profile->n_function)
		return file->next_function_id + number;
	Function *function = malloc(sizeof *function);
	if (function == NULL || grow(&profile->function, profile->n_function, &file->functions_cap) != 0) {
		free(function);
		return 0;
	}
	perftools__profiles__function__init(function);
	function->id = file->next_function_id + number;
	function->name = name;
	function->system_name = system_name;
	function->filename = path;
	function->start_line = source->start_line;
	profile->function[profile->n_function++] = function;
	return function->id;
}

static void lines_free(Line **lines, size_t n)
{
	for (size_t i = 0; i < n; i++)
		perftools__profiles__line__free_unpacked(lines[i], NULL);
	free(lines);
}

static int lines_replace(struct pprof_file *file, Location *location, const struct symbolized *found)
{
	Line **lines = calloc(found->n, sizeof(Line *));
	size_t n = 0;
	for (; lines != NULL && n < found->n; n++) {
		uint64_t id = function_add(file, &found->lines[n]);
		Line *line = id != 0 ? malloc(sizeof *line) : NULL;
		if (line == NULL)
			break;
		perftools__profiles__line__init(line);
		line->function_id = id;
		line->line = found->lines[n].line;
		lines[n] = line;
	}
	if (lines == NULL || n < found->n) {
		lines_free(lines, n);
		return -1;
	}
	lines_free(location->line, location->n_line);
	location->line = lines;
	location->n_line = n;
	return 0;
}

int pprof_file_name(struct pprof_file *file, size_t module, size_t i, const struct symbolized *found)
{
	Location *location = location_of(file, module, i);
	struct knowledge before = known(file, location), now = offered(found);
	if (!now.function || !says_more(&now, &before))
		return 0;
	return lines_replace(file, location, found) == 0 ? 1 : -1;
}

void pprof_file_complete(struct pprof_file *file, size_t module)
{
	Perftools__Profiles__Mapping *mapping = file->profile->mapping[module];
	mapping->has_functions = mapping->has_filenames = mapping->has_line_numbers =
		mapping->has_inline_frames = 1;
}

int pprof_file_comment(struct pprof_file *file, const char *format, ...)
{
	Profile *profile = file->profile;
	char comment[COMMENT_BYTES];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(comment, sizeof comment, format, arguments);
	va_end(arguments);
	int64_t number = text_add(file, comment);
	int64_t *larger =
		number >= 0 ? reallocarray(profile->comment, profile->n_comment + 1, sizeof *larger) : NULL;
	if (larger == NULL)
		return -1;
	profile->comment = larger;
	profile->comment[profile->n_comment++] = number;
	return 0;
}

/* ---- writing ---- */

struct writer {
	ProtobufCBuffer base;
	gzFile out;
	int failure;
};

static void append(ProtobufCBuffer *buffer, size_t len, const uint8_t *bytes)
{
	struct writer *writer = (struct writer *)buffer;
	if (writer->failure != 0 || len == 0)
		return;
	errno = 0;
	if (len > INT32_MAX || gzwrite(writer->out, bytes, (unsigned)len) != (int)len)
		writer->failure = errno != 0 ? errno : EIO;
}

int pprof_file_write(const struct pprof_file *file, int fd, struct error *err)
{
	struct writer writer = {.base = {append}};
	int copy = dup(fd);
	writer.out = copy >= 0 ? gzdopen(copy, "wb") : NULL;
	if (writer.out == NULL) {
		if (copy >= 0)
			close(copy);
		return pprof_write_failed(ENOMEM, err);
	}
	perftools__profiles__profile__pack_to_buffer(file->profile, &writer.base);
	errno = 0;
	if (gzclose(writer.out) != Z_OK && writer.failure == 0)
		writer.failure = errno != 0 ? errno : EIO;
	return writer.failure == 0 ? 0 : pprof_write_failed(writer.failure, err);
}
