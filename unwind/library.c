#include "unwind/library.h"
#include "unwind/expression.h"

#include <stdlib.h>

enum {
	FRAMES_MAX = 65536,
};

/* The indices of one image. */
struct module {
	const struct image *image;
	struct rows *eh, *debug; /* .eh_frame; .debug_frame, compiled when .eh_frame knew nothing of a pc */
	bool looked_for_debug;
	struct module *next;
};

struct library {
	const struct space *space;
	struct expression *expression;
	struct module *modules;
	struct frame *frames;
	size_t n, cap;
	bool outside, full; /* why a frame was refused */
};

struct library *library_new(const struct space *space)
{
	struct library *library = calloc(1, sizeof *library);
	if (library == NULL)
		return NULL;
	library->space = space;
	library->expression = expression_new();
	if (library->expression == NULL) {
		library_free(library);
		return NULL;
	}
	return library;
}

void library_free(struct library *library)
{
	if (library == NULL)
		return;
	while (library->modules != NULL) {
		struct module *module = library->modules;
		library->modules = module->next;
		rows_free(module->eh);
		rows_free(module->debug);
		free(module);
	}
	expression_free(library->expression);
	free(library->frames);
	free(library);
}

void library_turn_to(struct library *library, const struct space *space)
{
	library->space = space;
}

void library_cache(struct library *library)
{
	expression_cache(library->expression);
}

static struct module *module_of(struct library *library, const struct image *image)
{
	struct module *module = library->modules;
	while (module != NULL && module->image != image)
		module = module->next;
	if (module != NULL || (module = calloc(1, sizeof *module)) == NULL)
		return module;
	module->image = image;
	module->eh = rows_compile_fdes(image, false);
	module->next = library->modules;
	library->modules = module;
	return module;
}

/* The FDE of `vaddr` in one of the two tables. */
static bool find_fde(const struct rows *rows, uint64_t vaddr, struct expression_place *out)
{
	const struct row *row = rows != NULL ? rows_find(rows, vaddr) : NULL;
	if (row == NULL || !rows_fde(rows, row, &out->fde))
		return false;
	out->rows = rows;
	return true;
}

static bool find_place(void *context, uint64_t pc, struct expression_place *out)
{
	struct library *library = context;
	const struct mapping *mapping = space_mapping(library->space, space_find(library->space, pc));
	uint64_t vaddr;
	if (mapping == NULL || !mapping_vaddr(mapping, pc, &vaddr))
		return false;
	out->image = mapping->image;
	out->bias = pc - vaddr;
	struct module *module = module_of(library, mapping->image);
	if (module == NULL)
		return false;
	if (find_fde(module->eh, vaddr, out))
		return true;
	if (!module->looked_for_debug) {
		module->looked_for_debug = true;
		module->debug = rows_compile_fdes(mapping->image, true);
	}
	return find_fde(module->debug, vaddr, out);
}

static bool make_room(struct library *library)
{
	if (library->n < library->cap)
		return true;
	size_t cap = 2 * library->cap + 256;
	struct frame *larger = library->n < FRAMES_MAX ? realloc(library->frames, cap * sizeof *larger) : NULL;
	if (larger == NULL)
		return false;
	library->frames = larger;
	library->cap = cap;
	return true;
}

static bool take_frame(void *context, uint64_t pc, bool is_return)
{
	struct library *library = context;
	uint32_t mapping = space_find(library->space, pc - is_return);
	library->outside = mapping == MAPPING_NONE;
	library->full = !make_room(library);
	if (library->outside || library->full)
		return false;
	library->frames[library->n++] = (struct frame){pc, mapping, is_return};
	return true;
}

/* Does the stack go on beyond its copy there? */
static bool is_beyond_copy(const struct space *space, const struct snapshot *snapshot, uint64_t address)
{
	const struct map *map = space_map(space, address);
	for (int i = 0; map != NULL && i < SNAPSHOT_REGIONS; i++)
		if (snapshot->region[i].len > 0 && snapshot->region[i].start < address &&
			snapshot->region[i].start >= map->start)
			return true;
	return false;
}

void library_walk(struct library *library, const struct snapshot *snapshot, struct stack *out)
{
	unsigned budget = LIBRARY_WORDS;
	uint64_t unread;
	struct expression_walk walk = {.snapshot = snapshot,
		.budget = &budget,
		.context = library,
		.find = find_place,
		.frame = take_frame};
	library->n = 0;
	library->outside = library->full = false;
	enum stop why = expression_walk(library->expression, &walk, &unread);
	if (library->outside)
		why = STOP_NO_MAPPING;
	else if (library->full)
		why = STOP_BUDGET;
	else if (why == STOP_BAD_FRAME && unread != 0 && is_beyond_copy(library->space, snapshot, unread))
		why = STOP_COPY_END;
	*out = (struct stack){.v = library->frames, .n = library->n, .cap = library->cap, .why = why};
}
