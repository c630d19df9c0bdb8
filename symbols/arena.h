/* Memory that lives as long as one symbolizer: strings kept once, and small arrays. Nothing is freed one by
 * one. */
#ifndef SYMBOLS_ARENA_H
#define SYMBOLS_ARENA_H

#include <stddef.h>

struct arena;

struct arena *arena_new(void); /* NULL when memory is out */
void arena_free(struct arena *arena);

/* `bytes` zeroed bytes, aligned for any type, owned by the arena; NULL when memory is out. */
void *arena_alloc(struct arena *arena, size_t bytes);
/* A terminated copy of text[0..len), owned by the arena; equal text gives the same pointer, so that pointers
 * can be compared. `text` is borrowed for the call. NULL when memory is out. */
const char *arena_string(struct arena *arena, const char *text, size_t len);

#endif
