#include "encoder/pprof.h"
#include "encoder/profile.pb-c.h"
#include "encoder/profile_data.h"
#include "encoder/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

/* The file is written message by message, not built whole: a Profile message's repeated fields may come in any
 * number of pieces, each a Profile message itself, one after the other (Protocol Buffers, "Encoding", last one
 * wins / concatenation). So memory does not grow with the profile. */
struct writer {
	const struct profile *profile;
	gzFile file;
	uint8_t *packed;
	size_t packed_cap;
	uint32_t *mapping_id; /* by id of the space; 0: not in the file */
	uint32_t extra; /* number of the first string that is not in the profile's table */
	int failure; /* errno of the first failed write */
};

enum extra_string {
	EXTRA_SAMPLES,
	EXTRA_COUNT,
	EXTRA_CPU,
	EXTRA_WALL,
	EXTRA_NANOSECONDS,
	EXTRA_THREAD,
	EXTRA_STATE,
	EXTRA_SYSCALL,
	EXTRA_BACKED_OFF,
	EXTRA_TID,
	EXTRA_PID,
	EXTRA_PROCESS,
	EXTRA_STRINGS
};

static const char *const extra_strings[EXTRA_STRINGS] = {"samples", "count", "cpu", "wall", "nanoseconds",
	"thread", "state", "syscall", "backed_off", "tid", "pid", "process"};

static int64_t extra(const struct writer *writer, enum extra_string which)
{
	return (int64_t)writer->extra + which;
}

static void emit(struct writer *writer, const Perftools__Profiles__Profile *piece)
{
	if (writer->failure != 0)
		return;
	size_t len = perftools__profiles__profile__get_packed_size(piece);
	if (len > writer->packed_cap) {
		uint8_t *larger = realloc(writer->packed, len * 2);
		if (larger == NULL) {
			writer->failure = ENOMEM;
			return;
		}
		writer->packed = larger;
		writer->packed_cap = len * 2;
	}
	perftools__profiles__profile__pack(piece, writer->packed);
	errno = 0;
	if (len > 0 && gzwrite(writer->file, writer->packed, (unsigned)len) != (int)len)
		writer->failure = errno != 0 ? errno : EIO;
}

#define PIECE(name) Perftools__Profiles__Profile name = PERFTOOLS__PROFILES__PROFILE__INIT

static void write_string(struct writer *writer, const char *text)
{
	char *copy = strdup(text), *strings[1] = {copy};
	PIECE(piece);
	if (copy == NULL) {
		writer->failure = ENOMEM;
		return;
	}
	utf8_clean(copy);
	piece.n_string_table = 1;
	piece.string_table = strings;
	emit(writer, &piece);
	free(copy);
}

/* ---- mappings, functions, locations ---- */

static void mark_mappings(struct writer *writer)
{
	const struct profile *profile = writer->profile;
	uint32_t next = 1;
	size_t n = profile->space != NULL ? space_count(profile->space) : 0;
	/* pprof takes the first mapping for the main binary: it is written even if no frame lies in it. */
	if (n > 0)
		writer->mapping_id[0] = 1;
	for (uint32_t i = 0; i < profile->locations.n; i++) {
		const struct location_key *key = profile_location(profile, i);
		if (!key->made_up && key->mapping < n)
			writer->mapping_id[key->mapping] = 1;
	}
	for (size_t i = 0; i < n; i++)
		if (writer->mapping_id[i] != 0)
			writer->mapping_id[i] = next++;
}

/* File names and build-ids of mappings are not in the profile's strings: they follow them, two for each. */
static void write_mappings(struct writer *writer, uint32_t first_string)
{
	const struct profile *profile = writer->profile;
	size_t n = profile->space != NULL ? space_count(profile->space) : 0;
	for (uint32_t i = 0; i < n; i++) {
		if (writer->mapping_id[i] == 0)
			continue;
		const struct mapping *mapping = space_mapping(profile->space, i);
		bool complete = profile->mapping_complete != NULL && profile->mapping_complete[i] != 0;
		Perftools__Profiles__Mapping message = PERFTOOLS__PROFILES__MAPPING__INIT,
					     *messages[1] = {&message};
		PIECE(piece);
		message.id = writer->mapping_id[i];
		message.memory_start = mapping->start;
		message.memory_limit = mapping->end;
		message.file_offset = mapping->offset;
		message.filename = first_string + 2 * (int64_t)(writer->mapping_id[i] - 1);
		message.build_id = message.filename + 1;
		/* Any of these makes pprof look no further: said only where there is nothing more to find. */
		message.has_functions = message.has_filenames = message.has_line_numbers =
			message.has_inline_frames = complete;
		piece.n_mapping = 1;
		piece.mapping = messages;
		emit(writer, &piece);
	}
}

static void write_mapping_strings(struct writer *writer)
{
	const struct profile *profile = writer->profile;
	size_t n = profile->space != NULL ? space_count(profile->space) : 0;
	for (uint32_t i = 0; i < n; i++) {
		if (writer->mapping_id[i] == 0)
			continue;
		const struct mapping *mapping = space_mapping(profile->space, i);
		write_string(writer, mapping->path[0] != '\0' ? mapping->path : "[anonymous]");
		write_string(writer, mapping->image != NULL ? image_build_id(mapping->image) : "");
	}
}

static void write_functions(struct writer *writer)
{
	for (uint32_t i = 0; i < writer->profile->functions.n; i++) {
		const struct function_key *key = profile_function(writer->profile, i);
		Perftools__Profiles__Function message = PERFTOOLS__PROFILES__FUNCTION__INIT,
					      *messages[1] = {&message};
		PIECE(piece);
		message.id = i + 1;
		message.name = key->name;
		message.system_name = key->system_name;
		message.filename = key->file;
		message.start_line = key->start_line;
		piece.n_function = 1;
		piece.function = messages;
		emit(writer, &piece);
	}
}

static void write_location(struct writer *writer, uint32_t number)
{
	const struct profile *profile = writer->profile;
	const struct location_key *key = profile_location(profile, number);
	struct location_lines lines =
		profile->by_location != NULL ? profile->by_location[number] : (struct location_lines){0, 0};
	Perftools__Profiles__Location message = PERFTOOLS__PROFILES__LOCATION__INIT, *messages[1] = {&message};
	Perftools__Profiles__Line *line = calloc(lines.n + 1, sizeof *line),
				  **pointers = calloc(lines.n + 1, sizeof *pointers);
	PIECE(piece);
	if (line == NULL || pointers == NULL)
		writer->failure = ENOMEM;
	for (uint32_t i = 0; writer->failure == 0 && i < lines.n; i++) {
		perftools__profiles__line__init(&line[i]);
		line[i].function_id = profile->lines[lines.first + i].function + 1;
		line[i].line = profile->lines[lines.first + i].line;
		pointers[i] = &line[i];
	}
	message.id = number + 1;
	if (!key->made_up) {
		message.address = key->address;
		if (profile->space != NULL && key->mapping < space_count(profile->space))
			message.mapping_id = writer->mapping_id[key->mapping];
	}
	message.n_line = lines.n;
	message.line = pointers;
	piece.n_location = 1;
	piece.location = messages;
	emit(writer, &piece);
	free(line);
	free(pointers);
}

/* ---- samples ---- */

enum { LABELS_MAX = 7 };

struct label_list {
	Perftools__Profiles__Label label[LABELS_MAX], *pointers[LABELS_MAX];
	size_t n;
};

static void add_label(struct label_list *list, int64_t key, uint32_t string, int64_t number)
{
	if (string == 0 && number == 0)
		return;
	Perftools__Profiles__Label *label = &list->label[list->n];
	perftools__profiles__label__init(label);
	label->key = key;
	label->str = string;
	label->num = number;
	list->pointers[list->n++] = label;
}

static void write_sample(struct writer *writer, uint32_t number, uint64_t *ids)
{
	const uint32_t *pieces;
	const struct sample_key *key = profile_sample(writer->profile, number, &pieces);
	Perftools__Profiles__Sample message = PERFTOOLS__PROFILES__SAMPLE__INIT, *messages[1] = {&message};
	int64_t values[2] = {writer->profile->sums[number].count, writer->profile->sums[number].ns};
	struct label_list labels = {.n = 0};
	PIECE(piece);
	for (uint32_t i = 0, at = 0; i < key->n_pieces; i++) {
		size_t n;
		const uint32_t *locations = profile_piece(writer->profile, pieces[i], &n);
		for (size_t k = 0; k < n; k++)
			ids[at++] = (uint64_t)locations[k] + 1;
	}
	add_label(&labels, extra(writer, EXTRA_PROCESS), key->process, 0);
	add_label(&labels, extra(writer, EXTRA_THREAD), key->thread, 0);
	add_label(&labels, extra(writer, EXTRA_STATE), key->state, 0);
	add_label(&labels, extra(writer, EXTRA_SYSCALL), key->syscall, 0);
	add_label(&labels, extra(writer, EXTRA_BACKED_OFF), key->backed_off, 0);
	add_label(&labels, extra(writer, EXTRA_TID), 0, key->tid);
	add_label(&labels, extra(writer, EXTRA_PID), 0, key->pid);
	message.n_location_id = key->n;
	message.location_id = ids;
	message.n_value = 2;
	message.value = values;
	message.n_label = labels.n;
	message.label = labels.pointers;
	piece.n_sample = 1;
	piece.sample = messages;
	emit(writer, &piece);
}

static void write_samples(struct writer *writer)
{
	uint32_t deepest = 0;
	const uint32_t *pieces;
	for (uint32_t i = 0; i < writer->profile->samples.n; i++) {
		uint32_t n = profile_sample(writer->profile, i, &pieces)->n;
		deepest = n > deepest ? n : deepest;
	}
	uint64_t *ids = calloc((size_t)deepest + 1, sizeof *ids);
	if (ids == NULL)
		writer->failure = ENOMEM;
	for (uint32_t i = 0; writer->failure == 0 && i < writer->profile->samples.n; i++)
		write_sample(writer, i, ids);
	free(ids);
}

/* ---- the rest ---- */

static void write_header(struct writer *writer, const struct pprof_times *times)
{
	const struct profile *profile = writer->profile;
	Perftools__Profiles__ValueType type[2] = {
		PERFTOOLS__PROFILES__VALUE_TYPE__INIT, PERFTOOLS__PROFILES__VALUE_TYPE__INIT};
	Perftools__Profiles__ValueType *types[2] = {&type[0], &type[1]};
	int64_t *comments = calloc(profile->n_comments + 1, sizeof *comments);
	PIECE(piece);
	if (comments == NULL) {
		writer->failure = ENOMEM;
		return;
	}
	for (size_t i = 0; i < profile->n_comments; i++)
		comments[i] = profile->comments[i];
	type[0].type = extra(writer, EXTRA_SAMPLES);
	type[0].unit = extra(writer, EXTRA_COUNT);
	type[1].type = extra(writer, profile->kind == PROFILE_CPU ? EXTRA_CPU : EXTRA_WALL);
	type[1].unit = extra(writer, EXTRA_NANOSECONDS);
	piece.n_sample_type = 2;
	piece.sample_type = types;
	piece.period_type = &type[1];
	piece.period = times->period_ns;
	piece.time_nanos = times->time_ns;
	piece.duration_nanos = times->duration_ns;
	piece.n_comment = profile->n_comments;
	piece.comment = comments;
	emit(writer, &piece);
	free(comments);
}

static void write_all(struct writer *writer, const struct pprof_times *times)
{
	const struct profile *profile = writer->profile;
	writer->extra = (uint32_t)profile->strings.n;
	mark_mappings(writer);
	write_header(writer, times);
	write_samples(writer);
	write_mappings(writer, writer->extra + EXTRA_STRINGS);
	for (uint32_t i = 0; i < profile->locations.n; i++)
		write_location(writer, i);
	write_functions(writer);
	for (uint32_t i = 0; i < profile->strings.n; i++)
		write_string(writer, profile_string(profile, i));
	for (int i = 0; i < EXTRA_STRINGS; i++)
		write_string(writer, extra_strings[i]);
	write_mapping_strings(writer);
}

int pprof_write(const struct profile *profile, const struct pprof_times *times, int fd, struct error *err)
{
	struct writer writer = {.profile = profile};
	int copy = dup(fd), failure = errno;
	size_t n = profile->space != NULL ? space_count(profile->space) : 0;
	writer.mapping_id = calloc(n + 1, sizeof *writer.mapping_id);
	writer.file = copy >= 0 ? gzdopen(copy, "wb") : NULL;
	if (copy < 0) {
		writer.failure = failure;
	} else if (writer.mapping_id == NULL || writer.file == NULL) {
		if (writer.file == NULL)
			close(copy);
		writer.failure = ENOMEM;
	} else {
		write_all(&writer, times);
	}
	errno = 0;
	if (writer.file != NULL && gzclose(writer.file) != Z_OK && writer.failure == 0)
		writer.failure = errno != 0 ? errno : EIO;
	free(writer.mapping_id);
	free(writer.packed);
	if (writer.failure == 0)
		return 0;
	return pprof_write_failed(writer.failure, err);
}

const char *pprof_library(void)
{
	return protobuf_c_version();
}

int pprof_write_failed(int failure, struct error *err)
{
	bool full = failure == ENOSPC || failure == EDQUOT;
	return error_set(err, "the profile could not be written: %s%s", strerror(failure),
		full ? ": free some space, or choose another place with -o" : "");
}
