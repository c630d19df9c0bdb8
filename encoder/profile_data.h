/* The inside of struct profile, shared by the files of this room that fill, name and write it. Not for other
 * rooms. */
#ifndef ENCODER_PROFILE_DATA_H
#define ENCODER_PROFILE_DATA_H

#include "encoder/profile.h"
#include "encoder/table.h"

/* Key of a location. A made-up frame has mapping MAPPING_NONE and the number of its name as address, and
 * `made_up` set. */
struct location_key {
	uint64_t address; /* pc - is_return, as the target has it */
	uint32_t mapping;
	uint32_t made_up;
};

struct function_key {
	uint32_t name, system_name, file, start_line; /* strings by number */
};

struct line {
	uint32_t function, line;
};

/* The lines of a location: innermost first, lines[first..first + n). */
struct location_lines {
	uint32_t first, n;
};

/* Stacks are kept in pieces of up to this many locations, each piece once. Deep stacks are recursions:
 * thousands of stacks share nearly all of their pieces, and one that shares nothing needs hardly more than a
 * plain list (test_profile.c: deep_stacks_are_compact). */
enum { PIECE_MAX = 64 };

/* Key of a sample: this header, then the numbers of its pieces, leaf first. */
struct sample_key {
	uint32_t process, thread, state, syscall, backed_off; /* strings by number; 0 is "": none */
	int32_t tid, pid;
	uint32_t n; /* locations */
	uint32_t n_pieces;
};

/* Words that grow. */
struct words {
	uint32_t *v;
	size_t cap;
};

struct sums {
	int64_t count, ns;
};

struct profile {
	enum profile_kind kind;
	struct table strings; /* number 0 is "" */
	struct table locations, functions, pieces, samples;
	struct sums *sums; /* by number of the sample */
	size_t sums_cap;
	struct words stack, key; /* one sample under construction: its locations, its key */
	uint32_t *comments; /* strings by number */
	size_t n_comments, comments_cap;

	/* from profile_symbolize on */
	const struct space *space;
	struct location_lines *by_location;
	struct line *lines;
	size_t n_lines, lines_cap;
	struct profile_module *modules;
	size_t n_modules;
	uint8_t *mapping_complete; /* by mapping id: nothing is left to look up */
};

/* The text of a string; borrowed until the next one is interned. */
const char *profile_string(const struct profile *profile, uint32_t number);
uint32_t profile_intern(struct profile *profile, const char *text);
const struct location_key *profile_location(const struct profile *profile, uint32_t number);
const struct sample_key *profile_sample(
	const struct profile *profile, uint32_t number, const uint32_t **pieces);
/* The *n locations of a piece, leaf first. */
const uint32_t *profile_piece(const struct profile *profile, uint32_t number, size_t *n);
const struct function_key *profile_function(const struct profile *profile, uint32_t number);

#endif
