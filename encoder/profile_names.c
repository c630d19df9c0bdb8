/* Naming a profile's locations, and what needs names: the hottest functions, the modules. */
#include "encoder/profile_data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One location that an image, or the perf map, can name. */
struct wanted {
	const struct image *image; /* NULL: the perf map */
	uint64_t vaddr; /* of the process, for the perf map */
	uint32_t location, mapping;
};

static int compare_wanted(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;
	if (x->image != y->image)
		return (uintptr_t)x->image < (uintptr_t)y->image ? -1 : 1;
	return (x->vaddr > y->vaddr) - (x->vaddr < y->vaddr);
}

static size_t list_wanted(const struct profile *profile, bool has_perfmap, struct wanted *wanted)
{
	size_t n = 0;
	for (uint32_t i = 0; i < profile->locations.n; i++) {
		const struct location_key *key = profile_location(profile, i);
		const struct mapping *mapping = space_mapping(profile->space, key->mapping);
		uint64_t vaddr;
		if (key->made_up || mapping == NULL)
			continue;
		if (mapping_vaddr(mapping, key->address, &vaddr))
			wanted[n++] = (struct wanted){mapping->image, vaddr, i, key->mapping};
		else if (has_perfmap && mapping->image == NULL && mapping->space == 0)
			wanted[n++] = (struct wanted){NULL, key->address, i, key->mapping};
	}
	return n;
}

static int add_line(struct profile *profile, uint32_t location, const struct function_key *key, uint32_t line)
{
	uint32_t function = table_intern(&profile->functions, key, sizeof *key);
	if (function == TABLE_NONE)
		return -1;
	if (profile->n_lines == profile->lines_cap) {
		size_t cap = profile->lines_cap > 0 ? profile->lines_cap * 2 : 256;
		struct line *larger = realloc(profile->lines, cap * sizeof *larger);
		if (larger == NULL)
			return -1;
		profile->lines = larger;
		profile->lines_cap = cap;
	}
	struct location_lines *lines = &profile->by_location[location];
	if (lines->n == 0)
		lines->first = (uint32_t)profile->n_lines;
	profile->lines[profile->n_lines++] = (struct line){function, line};
	lines->n++;
	return 0;
}

static int add_source_line(struct profile *profile, uint32_t location, const struct source_line *source)
{
	/* A line without a function would stand in pprof's tables as a function without a name, and hide the
	 * address. */
	if (source->function[0] == '\0' && source->system_name[0] == '\0')
		return 0;
	struct function_key key = {.name = profile_intern(profile, source->function),
		.system_name = profile_intern(profile, source->system_name),
		.file = profile_intern(profile, source->file),
		.start_line = source->start_line};
	if (key.name == TABLE_NONE || key.system_name == TABLE_NONE || key.file == TABLE_NONE)
		return -1;
	return add_line(profile, location, &key, source->line);
}

/* The locations wanted[0..n) of one image, or of the perf map. module_of: by location, the number of its module
 * + 1. */
static int name_image(struct profile *profile, struct isolated *isolated, int perfmap_fd,
	const struct wanted *wanted, size_t n, uint32_t *module_of)
{
	const struct image *image = wanted->image;
	int outcome = -1;
	uint64_t *vaddrs = calloc(n, sizeof *vaddrs);
	struct symbolized *found = calloc(n, sizeof *found);
	struct profile_module *module = &profile->modules[profile->n_modules];
	if (vaddrs == NULL || found == NULL)
		goto out;
	for (size_t i = 0; i < n; i++)
		vaddrs[i] = wanted[i].vaddr;
	*module = (struct profile_module){.path = image != NULL ? image_path(image) : "[JIT code]",
		.build_id = image != NULL ? image_build_id(image) : ""};
	int outcome_of_names =
		image != NULL ? isolated_image(isolated, image, vaddrs, n, found, &module->quality)
			      : isolated_perfmap(isolated, perfmap_fd, vaddrs, n, found, &module->quality);
	if (outcome_of_names != 0)
		goto out;
	profile->n_modules++;
	outcome = 0;
	for (size_t i = 0; i < n && outcome == 0; i++) {
		module_of[wanted[i].location] = (uint32_t)profile->n_modules;
		profile->mapping_complete[wanted[i].mapping] = module->quality.complete;
		for (size_t k = 0; k < found[i].n && outcome == 0; k++)
			outcome = add_source_line(profile, wanted[i].location, &found[i].lines[k]);
	}
out:
	free(vaddrs);
	free(found);
	return outcome;
}

/* A made-up frame's name is its function. */
static int name_made_up(struct profile *profile)
{
	for (uint32_t i = 0; i < profile->locations.n; i++) {
		const struct location_key *key = profile_location(profile, i);
		if (!key->made_up)
			continue;
		struct function_key function = {
			.name = (uint32_t)key->address, .system_name = (uint32_t)key->address};
		if (add_line(profile, i, &function, 0) != 0)
			return -1;
	}
	return 0;
}

/* `count` samples have this location. `seen`: the last sample that was counted for the module. */
static void count_location(struct profile *profile, uint32_t location, struct profile_module *module,
	uint32_t sample, uint32_t *seen)
{
	const struct location_lines *lines = &profile->by_location[location];
	int64_t count = profile->sums[sample].count;
	module->frames += count;
	module->named += lines->n > 0 ? count : 0;
	module->lined += lines->n > 0 && profile->lines[lines->first].line != 0 ? count : 0;
	if (*seen != sample + 1)
		module->samples += count;
	*seen = sample + 1;
}

/* A sample counts once for each module that its stack has a frame in. */
static int count_modules(struct profile *profile, const uint32_t *module_of)
{
	uint32_t *seen = calloc(profile->n_modules + 1, sizeof *seen);
	if (seen == NULL)
		return -1;
	for (uint32_t i = 0; i < profile->samples.n; i++) {
		const uint32_t *pieces;
		const struct sample_key *key = profile_sample(profile, i, &pieces);
		for (uint32_t k = 0; k < key->n_pieces; k++) {
			size_t n;
			const uint32_t *locations = profile_piece(profile, pieces[k], &n);
			for (size_t l = 0; l < n; l++) {
				uint32_t module = module_of[locations[l]];
				if (module != 0)
					count_location(profile, locations[l], &profile->modules[module - 1], i,
						&seen[module]);
			}
		}
	}
	free(seen);
	return 0;
}

static int compare_modules(const void *a, const void *b)
{
	const struct profile_module *x = a, *y = b;
	return (x->samples < y->samples) - (x->samples > y->samples);
}

int profile_symbolize(
	struct profile *profile, const struct space *space, struct isolated *isolated, int perfmap_fd)
{
	int outcome = -1;
	profile->space = space;
	struct wanted *wanted = calloc(profile->locations.n + 1, sizeof *wanted);
	uint32_t *module_of = calloc(profile->locations.n + 1, sizeof *module_of);
	profile->by_location = calloc(profile->locations.n + 1, sizeof *profile->by_location);
	profile->mapping_complete = calloc(space_count(space) + 1, 1);
	profile->modules = calloc(space_count(space) + 1, sizeof *profile->modules);
	if (wanted == NULL || module_of == NULL || profile->by_location == NULL ||
		profile->mapping_complete == NULL || profile->modules == NULL)
		goto out;
	if (name_made_up(profile) != 0)
		goto out;
	size_t n = list_wanted(profile, perfmap_fd >= 0, wanted);
	if (n > 0)
		qsort(wanted, n, sizeof *wanted, compare_wanted);
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i; end < n && wanted[end].image == wanted[i].image; end++)
			;
		if (name_image(profile, isolated, perfmap_fd, wanted + i, end - i, module_of) != 0)
			goto out;
	}
	if (count_modules(profile, module_of) != 0)
		goto out;
	if (profile->n_modules > 0)
		qsort(profile->modules, profile->n_modules, sizeof *profile->modules, compare_modules);
	outcome = 0;
out:
	free(wanted);
	free(module_of);
	return outcome;
}

const struct profile_module *profile_modules(const struct profile *profile, size_t *n)
{
	*n = profile->n_modules;
	return profile->modules;
}

/* ---- the hottest functions ---- */

/* The name of a leaf, as a number of a string. */
static uint32_t leaf_name(struct profile *profile, uint32_t location)
{
	const struct location_key *key = profile_location(profile, location);
	const struct location_lines *lines =
		profile->by_location != NULL ? &profile->by_location[location] : NULL;
	if (lines != NULL && lines->n > 0) {
		const struct function_key *function =
			profile_function(profile, profile->lines[lines->first].function);
		if (function->name != 0)
			return function->name;
	}
	/* As pprof shows it: one line for all of a module that has no names. */
	char name[4096 + 32];
	const struct mapping *mapping =
		profile->space != NULL ? space_mapping(profile->space, key->mapping) : NULL;
	const char *path = mapping != NULL && mapping->path[0] != '\0' ? mapping->path : "no file",
		   *slash = strrchr(path, '/');
	snprintf(name, sizeof name, "[%s]", slash != NULL ? slash + 1 : path);
	return profile_intern(profile, name);
}

static int compare_top(const void *a, const void *b)
{
	const struct profile_top *x = a, *y = b;
	if (x->ns != y->ns)
		return x->ns < y->ns ? 1 : -1;
	return (x->count < y->count) - (x->count > y->count);
}

size_t profile_top(struct profile *profile, struct profile_top *top, size_t n)
{
	struct table names = {0};
	uint32_t cap = (uint32_t)profile->samples.n;
	struct profile_top *all = calloc((size_t)cap + 1, sizeof *all);
	uint32_t *name_of = calloc((size_t)cap + 1, sizeof *name_of);
	for (uint32_t i = 0; all != NULL && name_of != NULL && i < cap; i++) {
		const uint32_t *pieces;
		const struct sample_key *key = profile_sample(profile, i, &pieces);
		size_t ignored;
		uint32_t name = key->n > 0 ? leaf_name(profile, *profile_piece(profile, pieces[0], &ignored))
					   : TABLE_NONE;
		uint32_t at = name != TABLE_NONE ? table_intern(&names, &name, sizeof name) : TABLE_NONE;
		if (at == TABLE_NONE)
			continue;
		name_of[at] = name;
		all[at].ns += profile->sums[i].ns;
		all[at].count += profile->sums[i].count;
	}
	size_t found = names.n;
	for (size_t i = 0; i < found; i++)
		all[i].function = profile_string(profile, name_of[i]);
	if (found > 0)
		qsort(all, found, sizeof *all, compare_top);
	if (found < n)
		n = found;
	if (n > 0)
		memcpy(top, all, n * sizeof *all);
	table_free(&names);
	free(all);
	free(name_of);
	return n;
}
