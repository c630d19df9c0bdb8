#include "symbols/isolated.h"

#include "symbols/answers.h"
#include "symbols/perfmap.h"
#include "symbols/sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char interrupted[] = "not named: interrupted";

enum { ANSWER_BYTES_MAX = 256 * 1024 * 1024, TROUBLE_BYTES = 256 };

/* A binary with 1 GB of DWARF takes 0.7 s of CPU time; disks are slower. Sections may have 1 GB, and be held
 * twice when they are compressed. */
const struct isolated_limits isolated_defaults = {
	.all = {.memory_bytes = UINT64_C(3) << 30, .cpu_seconds = 5},
	.elf = {.memory_bytes = UINT64_C(1) << 30, .cpu_seconds = 3},
	.all_wall_ns = INT64_C(20) * 1000000000,
	.elf_wall_ns = INT64_C(10) * 1000000000,
	.total_wall_ns = INT64_C(60) * 1000000000,
};

struct isolated {
	struct arena *arena;
	const struct debug_places *places;
	struct known *known; /* NULL: nothing is remembered */
	struct isolated_limits limits;
	int stop_fd;
	int64_t left_ns; /* of total_wall_ns; negative: of the time for ELF symbols alone */
	unsigned missing;
	bool stopped;
};

/* One question, as the child takes it. */
struct question {
	const struct image *image; /* NULL: perfmap_fd */
	struct symbol_files *files;
	int perfmap_fd;
	enum symbols_extent extent;
	const uint64_t *vaddrs;
	size_t n;
	struct symbolized *out;
	struct symbol_quality *quality;
};

struct isolated *isolated_new(const struct isolated_limits *limits, int stop_fd)
{
	struct isolated *isolated = calloc(1, sizeof *isolated);
	if (isolated == NULL || (isolated->arena = arena_new()) == NULL) {
		free(isolated);
		return NULL;
	}
	isolated->limits = *limits;
	isolated->left_ns = limits->total_wall_ns;
	isolated->stop_fd = stop_fd;
	return isolated;
}

void isolated_free(struct isolated *isolated)
{
	if (isolated == NULL)
		return;
	arena_free(isolated->arena);
	free(isolated);
}

void isolated_places(struct isolated *isolated, const struct debug_places *places)
{
	isolated->places = places;
}

void isolated_remember(struct isolated *isolated, struct known *known)
{
	isolated->known = known;
}

bool isolated_stopped(const struct isolated *isolated)
{
	return isolated->stopped;
}

const char *isolated_weakness(const struct isolated *isolated)
{
	return confine_words(isolated->missing);
}

/* ---- in the child ---- */

/* Nothing is freed: the process ends. */
static int ask_files(const struct question *question, struct symbol_quality *quality)
{
	struct symbolizer *symbolizer = symbolizer_new();
	if (symbolizer == NULL)
		return -1;
	return symbolizer_files(symbolizer, question->files, question->extent, question->vaddrs, question->n,
		question->out, quality);
}

static int ask_perfmap(const struct question *question, struct symbol_quality *quality)
{
	struct arena *arena = arena_new();
	if (arena == NULL)
		return -1;
	struct perfmap_name *names = arena_alloc(arena, (question->n + 1) * sizeof *names);
	struct source_line *lines = arena_alloc(arena, (question->n + 1) * sizeof *lines);
	if (names == NULL || lines == NULL)
		return -1;
	for (size_t i = 0; i < question->n; i++)
		names[i].pc = question->vaddrs[i];
	if (perfmap_lookup(question->perfmap_fd, arena, names, question->n) != 0)
		return -1;
	*quality = (struct symbol_quality){
		.addresses = question->n, .source = "perf map", .trouble = "", .complete = true};
	for (size_t i = 0; i < question->n; i++) {
		lines[i] = (struct source_line){
			.function = names[i].name, .system_name = names[i].name, .file = ""};
		if (names[i].name[0] != '\0')
			question->out[i] = (struct symbolized){&lines[i], 1};
	}
	return 0;
}

static bool answer(void *context, int out)
{
	const struct question *question = context;
	struct symbol_quality quality;
	size_t len;
	if ((question->files != NULL ? ask_files(question, &quality) : ask_perfmap(question, &quality)) != 0)
		return false;
	uint8_t *bytes = answers_encode(question->out, question->n, &quality, &len);
	return bytes != NULL && sandbox_write(out, bytes, len);
}

/* ---- here ---- */

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static size_t question_fds(const struct question *question, int *fds)
{
	if (question->files != NULL)
		return symbol_files_fds(question->files, fds);
	*fds = question->perfmap_fd;
	return 1;
}

static struct sandbox_job job_for(struct isolated *isolated, struct question *question, int *fds)
{
	const struct isolated_limits *limits = &isolated->limits;
	bool all = question->extent == SYMBOLS_ALL;
	int64_t left = all ? isolated->left_ns : isolated->left_ns + limits->total_wall_ns;
	int64_t wall = all ? limits->all_wall_ns : limits->elf_wall_ns;
	return (struct sandbox_job){.work = answer,
		.context = question,
		.files = fds,
		.n_files = question_fds(question, fds),
		.limits = all ? limits->all : limits->elf,
		.wall_ns = wall < left ? wall : left,
		.answer_bytes_max = ANSWER_BYTES_MAX,
		.stop_fd = isolated->stop_fd};
}

enum attempt { ATTEMPT_GOOD, ATTEMPT_FAILED, ATTEMPT_STOPPED, ATTEMPT_NO_MEMORY };

/* One child. `why` gets the reason of a failure. */
static enum attempt attempt(struct isolated *isolated, struct question *question, char why[TROUBLE_BYTES])
{
	int fds[SYMBOL_FILES_MAX];
	bool no_memory;
	struct sandbox_answer got;
	struct sandbox_job job = job_for(isolated, question, fds);
	if (job.wall_ns <= 0) {
		snprintf(why, TROUBLE_BYTES, "the time for all modules is used up");
		return ATTEMPT_FAILED;
	}
	int64_t begin_ns = now_ns();
	sandbox_run(&job, &got);
	isolated->left_ns -= now_ns() - begin_ns;
	isolated->missing |= got.missing;
	enum attempt outcome = ATTEMPT_FAILED;
	if (got.end == SANDBOX_STOPPED) {
		outcome = ATTEMPT_STOPPED;
	} else if (got.end == SANDBOX_FAILED) {
		snprintf(why, TROUBLE_BYTES, "%s", got.why);
	} else if (answers_decode(got.bytes, got.len, isolated->arena, question->out, question->n,
			   question->quality, &no_memory) == 0) {
		outcome = ATTEMPT_GOOD;
	} else {
		snprintf(why, TROUBLE_BYTES, "its answer made no sense");
		outcome = no_memory ? ATTEMPT_NO_MEMORY : ATTEMPT_FAILED;
	}
	free(got.bytes);
	return outcome;
}

static int say_trouble(
	struct isolated *isolated, struct symbol_quality *quality, const char *what, const char *why)
{
	char text[TROUBLE_BYTES + 128];
	snprintf(text, sizeof text, "%s%s", what, why);
	quality->trouble = arena_string(isolated->arena, text, strlen(text));
	return quality->trouble != NULL ? 0 : -1;
}

static void answer_nothing(struct symbolized *out, size_t n, struct symbol_quality *quality)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (struct symbolized){NULL, 0};
	*quality = (struct symbol_quality){.addresses = n, .source = "none", .trouble = ""};
}

/* The child failed at this image, and would again. */
static void note_failure(struct isolated *isolated, const struct question *question)
{
	if (isolated->known != NULL && question->image != NULL)
		known_failed(isolated->known, question->image);
}

static int give_up(struct isolated *isolated, struct question *question, enum attempt last, const char *why)
{
	answer_nothing(question->out, question->n, question->quality);
	if (last == ATTEMPT_NO_MEMORY)
		return -1;
	isolated->stopped = last == ATTEMPT_STOPPED;
	if (isolated->stopped)
		return say_trouble(isolated, question->quality, interrupted, "");
	return say_trouble(
		isolated, question->quality, "not named, because of the process that reads symbols: ", why);
}

static int look_up(struct isolated *isolated, struct question *question)
{
	char why[TROUBLE_BYTES] = "", again[TROUBLE_BYTES] = "";
	enum attempt first = attempt(isolated, question, why);
	if (first == ATTEMPT_GOOD)
		return 0;
	if (first != ATTEMPT_FAILED)
		return give_up(isolated, question, first, "");
	note_failure(isolated, question);
	if (question->files == NULL || question->extent == SYMBOLS_ELF)
		return give_up(isolated, question, first, why);
	question->extent = SYMBOLS_ELF;
	enum attempt second = attempt(isolated, question, again);
	if (second == ATTEMPT_GOOD)
		return say_trouble(isolated, question->quality,
			"ELF symbols alone, because of the process that reads debug information: ", why);
	if (second == ATTEMPT_FAILED)
		note_failure(isolated, question);
	return give_up(isolated, question, second, again);
}

static bool add_missing(
	const struct isolated *isolated, const struct symbol_quality *quality, struct symbol_files *files)
{
	size_t added = 0;
	for (size_t i = 0; i < quality->n_missing && !isolated->stopped; i++)
		added += symbol_files_add_split(isolated->places, &quality->missing[i], files);
	return added > 0;
}

static int ask_image(struct isolated *isolated, const struct image *image, const uint64_t *vaddrs, size_t n,
	struct symbolized *out, struct symbol_quality *quality)
{
	struct symbol_files files;
	unsigned failures = isolated->known != NULL ? known_failures(isolated->known, image) : 0;
	answer_nothing(out, n, quality);
	if (isolated->stopped)
		return say_trouble(isolated, quality, interrupted, "");
	if (failures > 1)
		return say_trouble(
			isolated, quality, "not named: the process that reads symbols failed before", "");
	enum symbols_extent extent = failures > 0 ? SYMBOLS_ELF : SYMBOLS_ALL;
	symbol_files_open(isolated->places, image, &files);
	struct question question = {image, &files, -1, extent, vaddrs, n, out, quality};
	int outcome = look_up(isolated, &question);
	/* Only the child knows which split halves are needed: with them, once more. */
	if (outcome == 0 && add_missing(isolated, quality, &files)) {
		question.extent = extent;
		outcome = look_up(isolated, &question);
	}
	symbol_files_close(&files);
	return outcome;
}

/* Addresses that are not known, and where among all they stand. */
struct unknown {
	uint64_t *vaddrs;
	size_t *places;
	struct symbolized *found;
	size_t n;
};

static int find_unknown(const struct known *known, const struct image *image, const uint64_t *vaddrs, size_t n,
	struct symbolized *out, struct unknown *unknown)
{
	unknown->vaddrs = calloc(n + 1, sizeof *unknown->vaddrs);
	unknown->places = calloc(n + 1, sizeof *unknown->places);
	unknown->found = calloc(n + 1, sizeof *unknown->found);
	if (unknown->vaddrs == NULL || unknown->places == NULL || unknown->found == NULL)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (known_find(known, image, vaddrs[i], &out[i]))
			continue;
		unknown->vaddrs[unknown->n] = vaddrs[i];
		unknown->places[unknown->n++] = i;
	}
	return 0;
}

static int ask_unknown(struct isolated *isolated, const struct image *image, struct unknown *unknown,
	struct symbolized *out, struct symbol_quality *quality)
{
	if (ask_image(isolated, image, unknown->vaddrs, unknown->n, unknown->found, quality) != 0)
		return -1;
	for (size_t i = 0; i < unknown->n; i++) {
		struct symbolized *answer = &out[unknown->places[i]];
		*answer = unknown->found[i];
		/* What a signal kept from being named is asked the next time. */
		if (isolated->stopped)
			continue;
		if (known_keep(isolated->known, image, unknown->vaddrs[i], answer) != 0)
			return -1;
		known_find(isolated->known, image, unknown->vaddrs[i], answer);
	}
	return 0;
}

int isolated_image(struct isolated *isolated, const struct image *image, const uint64_t *vaddrs, size_t n,
	struct symbolized *out, struct symbol_quality *quality)
{
	if (isolated->known == NULL)
		return ask_image(isolated, image, vaddrs, n, out, quality);
	struct unknown unknown = {0};
	answer_nothing(out, n, quality);
	int outcome = find_unknown(isolated->known, image, vaddrs, n, out, &unknown);
	if (outcome == 0 && unknown.n > 0)
		outcome = ask_unknown(isolated, image, &unknown, out, quality);
	free(unknown.vaddrs);
	free(unknown.places);
	free(unknown.found);
	return outcome;
}

int isolated_perfmap(struct isolated *isolated, int fd, const uint64_t *addresses, size_t n,
	struct symbolized *out, struct symbol_quality *quality)
{
	answer_nothing(out, n, quality);
	if (isolated->stopped)
		return say_trouble(isolated, quality, interrupted, "");
	struct question question = {NULL, NULL, fd, SYMBOLS_ALL, addresses, n, out, quality};
	return look_up(isolated, &question);
}
