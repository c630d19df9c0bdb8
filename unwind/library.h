/* Snapshot -> stack by libunwind alone, from the program's own unwind tables: a second opinion on the rows'
 * walks. It needs no target either. Slower by far, and it knows neither what the rows' walk guesses nor Go: a
 * stack that it cannot finish says nothing against the other. */
#ifndef UNWIND_LIBRARY_H
#define UNWIND_LIBRARY_H

#include "unwind/space.h"

struct library;

/* `space` is borrowed and must outlive the library. NULL when memory is out. */
struct library *library_new(const struct space *space);
void library_free(struct library *library);
/* As unwinder_turn_to(). */
void library_turn_to(struct library *library, const struct space *space);

/* Walks one snapshot. *out is overwritten; out->v is owned by the library and valid until the next call. It
 * reads at most LIBRARY_WORDS words of the snapshot and the tables. Nothing of one walk is kept for another but
 * the tables' indices, which belong to the images, not to addresses. */
void library_walk(struct library *library, const struct snapshot *snapshot, struct stack *out);

/* Lets libunwind keep what it has found, as it does by default, until the space changes: for measurements only,
 * since its key is the pc alone, and a thread interrupted just where another's return address points gets that
 * one's. */
void library_cache(struct library *library);

enum { LIBRARY_WORDS = 1 << 22 };

#endif
