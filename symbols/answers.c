/* One message: a header, the strings, the lines, the number of lines of each answer, the halves that are
 * missing. Numbers are of this machine: both ends are the same program. */
#include "symbols/answers.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS_MIN = 256 };

static const uint32_t MAGIC = 0x63707231;

struct header {
	uint32_t magic;
	uint32_t n_strings, string_bytes; /* each terminated */
	uint32_t n_lines, n_answers, n_missing;
	uint32_t source, trouble; /* strings */
	uint32_t complete;
};

struct packed_line {
	uint32_t function, system_name, file; /* strings */
	uint32_t line, start_line;
};

struct packed_missing {
	uint32_t folder, name; /* strings */
};

/* ---- writing ---- */

/* Strings are kept once by their address: those of one arena are equal when their addresses are. */
struct encoder {
	struct slot {
		const char *text; /* NULL: free */
		uint32_t number;
	} * slots;
	size_t n_slots; /* a power of two, more than twice as many as strings */
	const char **strings;
	uint32_t n_strings;
	size_t string_bytes;
};

static uint32_t string_number(struct encoder *encoder, const char *text)
{
	size_t i = ((uintptr_t)text * UINT64_C(0x9e3779b97f4a7c15)) >> 20;
	for (i &= encoder->n_slots - 1; encoder->slots[i].text != NULL; i = (i + 1) & (encoder->n_slots - 1))
		if (encoder->slots[i].text == text)
			return encoder->slots[i].number;
	encoder->slots[i] = (struct slot){text, encoder->n_strings};
	encoder->strings[encoder->n_strings] = text;
	encoder->string_bytes += strlen(text) + 1;
	return encoder->n_strings++;
}

static int encoder_open(struct encoder *encoder, size_t n_lines, size_t n_missing)
{
	size_t strings = 3 * n_lines + 2 * n_missing + 2; /* the source and the trouble, too */
	encoder->n_slots = SLOTS_MIN;
	while (encoder->n_slots <= 2 * strings)
		encoder->n_slots *= 2;
	encoder->slots = calloc(encoder->n_slots, sizeof *encoder->slots);
	encoder->strings = calloc(strings, sizeof *encoder->strings);
	return encoder->slots != NULL && encoder->strings != NULL ? 0 : -1;
}

static void put(uint8_t **at, const void *bytes, size_t len)
{
	memcpy(*at, bytes, len);
	*at += len;
}

static uint8_t *join(const struct encoder *encoder, const struct header *header,
	const struct packed_line *lines, const struct symbolized *answers, const struct packed_missing *missing,
	size_t *len)
{
	*len = sizeof *header + encoder->string_bytes + header->n_lines * sizeof *lines +
	       header->n_answers * sizeof(uint32_t) + header->n_missing * sizeof *missing;
	uint8_t *bytes = malloc(*len), *at = bytes;
	if (bytes == NULL)
		return NULL;
	put(&at, header, sizeof *header);
	for (uint32_t i = 0; i < encoder->n_strings; i++)
		put(&at, encoder->strings[i], strlen(encoder->strings[i]) + 1);
	put(&at, lines, header->n_lines * sizeof *lines);
	for (uint32_t i = 0; i < header->n_answers; i++) {
		uint32_t n = (uint32_t)answers[i].n;
		put(&at, &n, sizeof n);
	}
	put(&at, missing, header->n_missing * sizeof *missing);
	return bytes;
}

uint8_t *answers_encode(
	const struct symbolized *answers, size_t n, const struct symbol_quality *quality, size_t *len)
{
	struct encoder encoder = {0};
	uint8_t *bytes = NULL;
	size_t n_lines = 0, at = 0;
	for (size_t i = 0; i < n; i++)
		n_lines += answers[i].n;
	struct packed_line *lines = calloc(n_lines + 1, sizeof *lines);
	struct packed_missing *missing = calloc(quality->n_missing + 1, sizeof *missing);
	if (lines == NULL || missing == NULL || quality->n_missing > SYMBOL_SPLIT_MAX ||
		n_lines > UINT32_MAX / 4 || encoder_open(&encoder, n_lines, quality->n_missing) != 0)
		goto out;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < answers[i].n; k++) {
			const struct source_line *line = &answers[i].lines[k];
			lines[at++] = (struct packed_line){.function = string_number(&encoder, line->function),
				.system_name = string_number(&encoder, line->system_name),
				.file = string_number(&encoder, line->file),
				.line = line->line,
				.start_line = line->start_line};
		}
	for (size_t i = 0; i < quality->n_missing; i++)
		missing[i] =
			(struct packed_missing){.folder = string_number(&encoder, quality->missing[i].folder),
				.name = string_number(&encoder, quality->missing[i].name)};
	struct header header = {.magic = MAGIC,
		.n_missing = (uint32_t)quality->n_missing,
		.n_lines = (uint32_t)n_lines,
		.n_answers = (uint32_t)n,
		.source = string_number(&encoder, quality->source),
		.trouble = string_number(&encoder, quality->trouble),
		.complete = quality->complete};
	header.n_strings = encoder.n_strings;
	header.string_bytes = (uint32_t)encoder.string_bytes;
	if (encoder.string_bytes <= UINT32_MAX)
		bytes = join(&encoder, &header, lines, answers, missing, len);
out:
	free(lines);
	free(missing);
	free(encoder.slots);
	free(encoder.strings);
	return bytes;
}

/* ---- reading ---- */

struct decoder {
	struct header header;
	const uint8_t *strings, *lines, *counts, *missing;
	struct arena *arena;
	const char **text; /* by number */
	bool no_memory;
};

/* Exactly the announced parts, and nothing behind them. */
static int split(struct decoder *decoder, const uint8_t *bytes, size_t len, size_t n)
{
	struct header *header = &decoder->header;
	if (len < sizeof *header)
		return -1;
	memcpy(header, bytes, sizeof *header);
	uint64_t lines_bytes = header->n_lines * (uint64_t)sizeof(struct packed_line);
	uint64_t counts_bytes = header->n_answers * (uint64_t)sizeof(uint32_t);
	uint64_t missing_bytes = header->n_missing * (uint64_t)sizeof(struct packed_missing);
	if (header->magic != MAGIC || header->n_answers != n || header->n_missing > SYMBOL_SPLIT_MAX ||
		len - sizeof *header != header->string_bytes + lines_bytes + counts_bytes + missing_bytes ||
		header->n_strings > header->string_bytes || header->source >= header->n_strings ||
		header->trouble >= header->n_strings)
		return -1;
	decoder->strings = bytes + sizeof *header;
	decoder->lines = decoder->strings + header->string_bytes;
	decoder->counts = decoder->lines + lines_bytes;
	decoder->missing = decoder->counts + counts_bytes;
	return 0;
}

/* The length of the UTF-8 sequence at s[0..left), 0 when there is none (RFC 3629, section 4). */
static size_t sequence(const uint8_t *s, size_t left)
{
	static const struct {
		uint8_t first, last, low, high;
		size_t len;
	} forms[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
		{0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		if (s[0] < forms[i].first || s[0] > forms[i].last || left < forms[i].len)
			continue;
		bool good = s[1] >= forms[i].low && s[1] <= forms[i].high;
		for (size_t k = 2; k < forms[i].len; k++)
			good &= s[k] >= 0x80 && s[k] <= 0xbf;
		return good ? forms[i].len : 0;
	}
	return 0;
}

/* What is no character, or would steer a terminal (C0, DEL, C1), becomes '?'. In place. */
static void clean(uint8_t *s, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t step = s[i] >= 0x20 && s[i] < 0x7f ? 1 : sequence(s + i, len - i);
		bool control = step == 2 && s[i] == 0xc2 && s[i + 1] < 0xa0;
		if (step == 0 || control)
			s[i] = '?';
		if (control)
			s[i + 1] = '?';
		i += step > 0 ? step : 1;
	}
}

static int read_strings(struct decoder *decoder)
{
	uint8_t *copy = malloc((size_t)decoder->header.string_bytes + 1);
	int outcome = -1;
	decoder->text = calloc((size_t)decoder->header.n_strings + 1, sizeof *decoder->text);
	decoder->no_memory = copy == NULL || decoder->text == NULL;
	if (decoder->no_memory)
		goto out;
	memcpy(copy, decoder->strings, decoder->header.string_bytes);
	size_t at = 0, left = decoder->header.string_bytes;
	for (uint32_t i = 0; i < decoder->header.n_strings; i++) {
		const uint8_t *end = memchr(copy + at, '\0', left);
		if (end == NULL)
			goto out;
		size_t len = (size_t)(end - (copy + at));
		clean(copy + at, len);
		decoder->text[i] = arena_string(decoder->arena, (char *)copy + at, len);
		decoder->no_memory = decoder->text[i] == NULL;
		if (decoder->no_memory)
			goto out;
		at += len + 1;
		left -= len + 1;
	}
	outcome = left == 0 ? 0 : -1;
out:
	free(copy);
	return outcome;
}

static struct source_line *read_lines(struct decoder *decoder)
{
	uint32_t n = decoder->header.n_lines, strings = decoder->header.n_strings;
	struct source_line *lines = arena_alloc(decoder->arena, (size_t)n * sizeof *lines);
	decoder->no_memory = lines == NULL;
	for (uint32_t i = 0; lines != NULL && i < n; i++) {
		struct packed_line packed;
		memcpy(&packed, decoder->lines + i * sizeof packed, sizeof packed);
		if (packed.function >= strings || packed.system_name >= strings || packed.file >= strings)
			return NULL;
		lines[i] = (struct source_line){.function = decoder->text[packed.function],
			.system_name = decoder->text[packed.system_name],
			.file = decoder->text[packed.file],
			.line = packed.line,
			.start_line = packed.start_line};
	}
	return lines;
}

static struct split_name *read_missing(struct decoder *decoder)
{
	uint32_t n = decoder->header.n_missing, strings = decoder->header.n_strings;
	struct split_name *missing = arena_alloc(decoder->arena, ((size_t)n + 1) * sizeof *missing);
	decoder->no_memory = missing == NULL;
	for (uint32_t i = 0; missing != NULL && i < n; i++) {
		struct packed_missing packed;
		memcpy(&packed, decoder->missing + i * sizeof packed, sizeof packed);
		if (packed.folder >= strings || packed.name >= strings)
			return NULL;
		missing[i] = (struct split_name){decoder->text[packed.folder], decoder->text[packed.name]};
	}
	return missing;
}

static uint32_t count_at(const struct decoder *decoder, size_t i)
{
	uint32_t count;
	memcpy(&count, decoder->counts + i * sizeof count, sizeof count);
	return count;
}

static bool counts_are_good(const struct decoder *decoder)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < decoder->header.n_answers; i++) {
		if (count_at(decoder, i) > SYMBOLS_CHAIN_MAX)
			return false;
		sum += count_at(decoder, i);
	}
	return sum == decoder->header.n_lines;
}

static void give(const struct decoder *decoder, const struct source_line *lines,
	const struct split_name *missing, struct symbolized *out, struct symbol_quality *quality)
{
	size_t n = decoder->header.n_answers;
	*quality = (struct symbol_quality){.addresses = n,
		.source = decoder->text[decoder->header.source],
		.trouble = decoder->text[decoder->header.trouble],
		.missing = missing,
		.n_missing = decoder->header.n_missing,
		.complete = decoder->header.complete != 0};
	for (size_t i = 0; i < n; i++) {
		size_t count = count_at(decoder, i);
		out[i] = (struct symbolized){.lines = lines, .n = count};
		quality->with_function += count != 0 && lines[count - 1].function[0] != '\0';
		quality->with_line += count != 0 && lines[0].line != 0;
		lines += count;
	}
}

int answers_decode(const uint8_t *bytes, size_t len, struct arena *arena, struct symbolized *out, size_t n,
	struct symbol_quality *quality, bool *no_memory)
{
	struct decoder decoder = {.arena = arena};
	int outcome = -1;
	if (split(&decoder, bytes, len, n) == 0 && counts_are_good(&decoder) && read_strings(&decoder) == 0) {
		const struct source_line *lines = read_lines(&decoder);
		const struct split_name *missing = lines != NULL ? read_missing(&decoder) : NULL;
		if (missing != NULL) {
			give(&decoder, lines, missing, out, quality);
			outcome = 0;
		}
	}
	free(decoder.text);
	*no_memory = decoder.no_memory;
	return outcome;
}
