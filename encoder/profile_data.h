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

/* Key of a sample: this header, then the numbers of its locations, leaf first. */
struct sample_key {
	uint32_t thread, state, syscall; /* strings by number; 0 is "": none */
	int32_t tid, pid;
	uint32_t n;
};

struct sums {
	int64_t count, ns;
};

struct profile {
	enum profile_kind kind;
	struct table strings; /* number 0 is "" */
	struct table locations, functions, samples;
	struct sums *sums; /* by number of the sample */
	size_t sums_cap;
	uint32_t *scratch; /* one sample's key under construction */
	size_t scratch_cap;
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
	const struct profile *profile, uint32_t number, const uint32_t **locations);
const struct function_key *profile_function(const struct profile *profile, uint32_t number);

#endif
