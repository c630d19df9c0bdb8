#include "encoder/dump.h"

#include "encoder/profile_data.h"
#include "encoder/sink.h"
#include "encoder/utf8.h"
#include "unwind/unwinder.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct writer {
	struct profile *profile;
	size_t named; /* locations that profile_symbolize has seen */
	struct sink sink;
};

/* One function at one address. */
struct named_frame {
	const char *function, *system_name, *file; /* "" unknown */
	uint32_t line; /* 0 unknown */
	bool inlined;
};

int dump_add(struct profile *profile, const struct dump *dump)
{
	for (size_t i = 0; i < dump->n; i++) {
		const struct dump_thread *thread = &dump->threads[i];
		struct labels labels = {.thread = thread->name, .tid = thread->tid, .pid = dump->pid};
		if (thread->stack->n > 0 && profile_add(profile, thread->stack, &labels, 1, 0) != 0)
			return -1;
	}
	return 0;
}

/* ---- frames and their names ---- */

static const struct location_lines *lines_of(const struct writer *writer, const struct frame *frame)
{
	static const struct location_lines none = {0, 0};
	struct location_key key = {frame->pc - frame->is_return, frame->mapping, false};
	/* It is there: dump_add() has interned it. */
	uint32_t location = table_intern(&writer->profile->locations, &key, sizeof key);
	bool known = location != TABLE_NONE && location < writer->named && writer->profile->by_location != NULL;
	return known ? &writer->profile->by_location[location] : &none;
}

/* The `i`th function at an address, innermost first. */
static struct named_frame name_of(const struct writer *writer, const struct location_lines *lines, uint32_t i)
{
	if (lines->n == 0)
		return (struct named_frame){"", "", "", 0, false};
	const struct profile *profile = writer->profile;
	const struct line *line = &profile->lines[lines->first + i];
	const struct function_key *function = profile_function(profile, line->function);
	return (struct named_frame){profile_string(profile, function->name),
		profile_string(profile, function->system_name), profile_string(profile, function->file),
		line->line, i + 1 < lines->n};
}

static const struct mapping *mapping_of(const struct writer *writer, const struct frame *frame)
{
	return writer->profile->space != NULL ? space_mapping(writer->profile->space, frame->mapping) : NULL;
}

/* ---- text ---- */

/* What others chose as a name must not steer a terminal. */
static void write_printable(struct sink *sink, const char *text)
{
	for (size_t i = 0, len; text[i] != '\0'; i += len) {
		len = utf8_visible(text + i);
		sink_bytes(sink, len > 0 ? text + i : "?", len > 0 ? len : 1);
		len += len == 0;
	}
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

static void write_module(struct writer *writer, const struct frame *frame, bool named)
{
	const struct mapping *mapping = mapping_of(writer, frame);
	uint64_t vaddr;
	if (mapping == NULL)
		return;
	sink_text(&writer->sink, " [");
	write_printable(&writer->sink, mapping->path[0] != '\0' ? base_name(mapping->path) : "anonymous");
	/* What addr2line wants to know. */
	if (!named && mapping_vaddr(mapping, frame->pc - frame->is_return, &vaddr))
		sink_format(&writer->sink, "+0x%" PRIx64, vaddr);
	sink_text(&writer->sink, "]");
}

static void write_frame(struct writer *writer, const struct frame *frame, size_t *number)
{
	const struct location_lines *lines = lines_of(writer, frame);
	for (uint32_t i = 0; i < (lines->n > 0 ? lines->n : 1); i++) {
		struct named_frame named = name_of(writer, lines, i);
		const char *function = named.function[0] != '\0' ? named.function : named.system_name;
		sink_format(&writer->sink, "  #%-3zu 0x%016" PRIx64 " ", (*number)++, frame->pc);
		write_printable(&writer->sink, function[0] != '\0' ? function : "??");
		if (named.file[0] != '\0') {
			sink_text(&writer->sink, " (");
			write_printable(&writer->sink, named.file);
			if (named.line != 0)
				sink_format(&writer->sink, ":%" PRIu32, named.line);
			sink_text(&writer->sink, ")");
		}
		write_module(writer, frame, function[0] != '\0');
		sink_text(&writer->sink, named.inlined ? " inlined\n" : "\n");
	}
}

static void write_stack(struct writer *writer, const struct stack *stack)
{
	size_t number = 0;
	for (size_t i = 0; i < stack->n; i++) {
		if (stack->gap_frames > 0 && i == stack->gap_at)
			sink_format(&writer->sink, "  ... %zu frames left out\n", stack->gap_frames);
		write_frame(writer, &stack->v[i], &number);
	}
	if (stack->gap_frames > 0 && stack->gap_at >= stack->n)
		sink_format(&writer->sink, "  ... %zu frames left out\n", stack->gap_frames);
	if (stack->why != STOP_ROOT)
		sink_format(&writer->sink, "  [truncated: %s]\n", stop_name(stack->why));
	else if (stack->guessed)
		sink_text(&writer->sink, "  [partly guessed: some code has no unwind information]\n");
}

static void write_state(struct sink *sink, const struct dump_thread *thread)
{
	static const struct {
		const char *state, *words;
	} states[] = {{"runnable", "waiting for a CPU"}, {"disk", "in an uninterruptible wait"},
		{"stopped", "stopped by job control"}, {"ended", "ended, while its threads go on"}};
	const char *words = thread->state;
	for (size_t i = 0; i < sizeof states / sizeof *states; i++)
		if (strcmp(thread->state, states[i].state) == 0)
			words = states[i].words;
	bool runs = strcmp(thread->state, "running") == 0;
	sink_text(sink, words);
	if (runs && thread->cpu >= 0)
		sink_format(sink, " on CPU %d", thread->cpu);
	sink_format(sink, ", %.3f s of CPU time", (double)thread->cpu_ns / 1e9);
	if (!runs && thread->cpu >= 0)
		sink_format(sink, ", last on CPU %d", thread->cpu);
}

static void write_thread(struct writer *writer, const struct dump_thread *thread)
{
	struct sink *sink = &writer->sink;
	sink_format(sink, "\nthread %d \"", thread->tid);
	write_printable(sink, thread->name);
	sink_text(sink, "\": ");
	write_state(sink, thread);
	if (thread->call != NULL) {
		sink_text(sink, "\n  in ");
		write_printable(sink, thread->call->words);
	}
	if (thread->note != NULL) {
		sink_text(sink, "\n  ");
		sink_text(sink, thread->note);
	}
	sink_text(sink, "\n");
	if (thread->stack->n > 0 || thread->note == NULL)
		write_stack(writer, thread->stack);
}

static void write_head(struct sink *sink, const struct dump *dump)
{
	char when[64] = "";
	time_t seconds = (time_t)(dump->time_ns / 1000000000);
	struct tm local;
	if (localtime_r(&seconds, &local) != NULL)
		strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &local);
	sink_format(sink, "%d (", dump->pid);
	write_printable(sink, dump->name);
	sink_text(sink, ") ");
	write_printable(sink, dump->exe);
	sink_format(sink, ", %s: %zu thread%s%s\n", when, dump->n, dump->n == 1 ? "" : "s",
		dump->whole ? " at one moment" : ", not all at one moment");
}

static struct writer *writer_new(struct profile *profile, int fd, struct error *err)
{
	struct writer *writer = malloc(sizeof *writer);
	if (writer == NULL) {
		error_set(err, "memory is out");
		return NULL;
	}
	writer->profile = profile;
	writer->named = profile->locations.n;
	sink_open(&writer->sink, fd);
	return writer;
}

int dump_write_text(struct profile *profile, const struct dump *dump, int fd, struct error *err)
{
	struct writer *writer = writer_new(profile, fd, err);
	if (writer == NULL)
		return -1;
	write_head(&writer->sink, dump);
	for (size_t i = 0; i < dump->n; i++)
		write_thread(writer, &dump->threads[i]);
	int outcome = sink_close(&writer->sink, err);
	free(writer);
	return outcome;
}

/* ---- JSON ---- */

static void write_member(struct sink *sink, const char *key, const char *text)
{
	sink_format(sink, ",\"%s\":", key);
	sink_json(sink, text);
}

static void write_json_name(struct sink *sink, const struct named_frame *named)
{
	if (named->function[0] != '\0')
		write_member(sink, "function", named->function);
	if (named->system_name[0] != '\0')
		write_member(sink, "system_name", named->system_name);
	if (named->file[0] != '\0')
		write_member(sink, "file", named->file);
	if (named->line != 0)
		sink_format(sink, ",\"line\":%" PRIu32, named->line);
	if (named->inlined)
		sink_text(sink, ",\"inlined\":true");
}

static void write_json_module(struct writer *writer, const struct frame *frame)
{
	const struct mapping *mapping = mapping_of(writer, frame);
	uint64_t vaddr;
	if (mapping == NULL)
		return;
	write_member(&writer->sink, "module", mapping->path[0] != '\0' ? mapping->path : "[anonymous]");
	if (mapping->image != NULL && image_build_id(mapping->image)[0] != '\0')
		write_member(&writer->sink, "build_id", image_build_id(mapping->image));
	if (mapping_vaddr(mapping, frame->pc - frame->is_return, &vaddr))
		sink_format(&writer->sink, ",\"file_address\":\"0x%" PRIx64 "\"", vaddr);
}

static void write_json_frame(struct writer *writer, const struct frame *frame, const char **separator)
{
	const struct location_lines *lines = lines_of(writer, frame);
	for (uint32_t i = 0; i < (lines->n > 0 ? lines->n : 1); i++) {
		struct named_frame named = name_of(writer, lines, i);
		/* As text: JavaScript's numbers hold no 64 bits. */
		sink_format(&writer->sink, "%s\n{\"address\":\"0x%" PRIx64 "\",\"is_return\":%s", *separator,
			frame->pc, frame->is_return ? "true" : "false");
		write_json_name(&writer->sink, &named);
		write_json_module(writer, frame);
		sink_text(&writer->sink, "}");
		*separator = ",";
	}
}

static void write_json_gap(struct sink *sink, const struct stack *stack, const char **separator)
{
	sink_format(sink, "%s\n{\"left_out\":%zu}", *separator, stack->gap_frames);
	*separator = ",";
}

static void write_json_stack(struct writer *writer, const struct stack *stack)
{
	const char *separator = "";
	bool whole = stack->n > 0 && stack->why == STOP_ROOT;
	sink_format(&writer->sink, ",\"complete\":%s,\"guessed\":%s", whole ? "true" : "false",
		stack->guessed ? "true" : "false");
	if (stack->n > 0 && stack->why != STOP_ROOT)
		write_member(&writer->sink, "truncated", stop_name(stack->why));
	sink_text(&writer->sink, ",\"frames\":[");
	for (size_t i = 0; i < stack->n; i++) {
		if (stack->gap_frames > 0 && i == stack->gap_at)
			write_json_gap(&writer->sink, stack, &separator);
		write_json_frame(writer, &stack->v[i], &separator);
	}
	if (stack->gap_frames > 0 && stack->gap_at >= stack->n)
		write_json_gap(&writer->sink, stack, &separator);
	sink_text(&writer->sink, "]");
}

static void write_json_call(struct sink *sink, const struct dump_call *call)
{
	sink_format(sink, ",\"call\":{\"number\":%d", call->number);
	if (call->name != NULL)
		write_member(sink, "name", call->name);
	write_member(sink, "words", call->words);
	sink_text(sink, ",\"arguments\":[");
	for (int i = 0; i < 6; i++)
		sink_format(sink, "%s\"0x%" PRIx64 "\"", i > 0 ? "," : "", call->argument[i]);
	sink_text(sink, "]}");
}

static void write_json_thread(struct writer *writer, const struct dump_thread *thread)
{
	struct sink *sink = &writer->sink;
	sink_format(sink, "{\"tid\":%d", thread->tid);
	write_member(sink, "name", thread->name);
	write_member(sink, "state", thread->state);
	write_member(sink, "taken", thread->taken);
	if (thread->note != NULL)
		write_member(sink, "note", thread->note);
	sink_format(sink, ",\"cpu_ns\":%" PRIu64, thread->cpu_ns);
	if (thread->cpu >= 0)
		sink_format(sink, ",\"cpu\":%d", thread->cpu);
	if (thread->call != NULL)
		write_json_call(sink, thread->call);
	write_json_stack(writer, thread->stack);
	sink_text(sink, "}");
}

int dump_write_json(struct profile *profile, const struct dump *dump, int fd, struct error *err)
{
	struct writer *writer = writer_new(profile, fd, err);
	if (writer == NULL)
		return -1;
	struct sink *sink = &writer->sink;
	sink_format(sink, "{\"format\":\"cprof-attach dump 1\",\"pid\":%d", dump->pid);
	write_member(sink, "name", dump->name);
	write_member(sink, "exe", dump->exe);
	sink_format(sink,
		",\"time_ns\":%" PRId64 ",\"at_one_moment\":%s,\"within_ns\":%" PRIu64
		",\"stopped_threads\":%zu,\"longest_stop_ns\":%" PRIu64 ",\n\"threads\":[",
		dump->time_ns, dump->whole ? "true" : "false", dump->within_ns, dump->stopped,
		dump->longest_stop_ns);
	for (size_t i = 0; i < dump->n; i++) {
		sink_text(sink, i > 0 ? ",\n" : "\n");
		write_json_thread(writer, &dump->threads[i]);
	}
	sink_text(sink, "]}\n");
	int outcome = sink_close(sink, err);
	free(writer);
	return outcome;
}
