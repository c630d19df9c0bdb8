#include "attach/threads.h"

#include <stdlib.h>
#include <string.h>

static struct entry **bucket_of(struct threads *threads, pid_t tid)
{
	return &threads->bucket[(size_t)tid % THREAD_BUCKETS];
}

struct entry *threads_find(const struct threads *threads, pid_t tid)
{
	struct entry *entry = threads->bucket[(size_t)tid % THREAD_BUCKETS];
	while (entry != NULL && entry->thread.tid != tid)
		entry = entry->next;
	return entry;
}

static void entry_free(struct entry *entry)
{
	thread_close(&entry->thread);
	free(entry->sleep.stack.v);
	free(entry->back_off.stack.v);
	free(entry);
}

static struct entry_list *list_of(struct threads *threads, const struct entry *entry)
{
	return entry->cold ? &threads->cold : &threads->hot;
}

/* Room for every entry in either list, so that moving one cannot fail. */
static bool make_room(struct entry_list *list, size_t n)
{
	if (n <= list->cap)
		return true;
	struct entry **v = realloc(list->v, 2 * n * sizeof(struct entry *));
	if (v == NULL)
		return false;
	list->v = v;
	list->cap = 2 * n;
	return true;
}

static void put(struct entry_list *list, struct entry *entry)
{
	entry->place = list->n;
	list->v[list->n++] = entry;
}

static void take_out(struct entry_list *list, struct entry *entry)
{
	struct entry *moved = list->v[--list->n];
	list->v[entry->place] = moved;
	moved->place = entry->place;
}

struct entry *threads_add(struct threads *threads, const struct thread *thread)
{
	struct entry *entry = calloc(1, sizeof *entry);
	if (entry == NULL || !make_room(&threads->hot, threads->n + 1) ||
		!make_room(&threads->cold, threads->n + 1)) {
		struct thread closing = *thread;
		thread_close(&closing);
		free(entry);
		return NULL;
	}
	struct entry **bucket = bucket_of(threads, thread->tid);
	entry->thread = *thread;
	entry->blocked_nr = -1;
	entry->next = *bucket;
	*bucket = entry;
	threads->n++;
	put(&threads->hot, entry);
	return entry;
}

void threads_heat(struct threads *threads, struct entry *entry)
{
	entry->calm = 0;
	if (!entry->cold)
		return;
	take_out(&threads->cold, entry);
	entry->cold = false;
	put(&threads->hot, entry);
}

void threads_cool(struct threads *threads, struct entry *entry)
{
	if (entry->cold)
		return;
	take_out(&threads->hot, entry);
	entry->cold = true;
	put(&threads->cold, entry);
}

void threads_sweep(struct threads *threads, bool (*drop)(void *context, struct entry *entry), void *context)
{
	for (size_t i = 0; i < THREAD_BUCKETS; i++) {
		struct entry **link = &threads->bucket[i];
		while (*link != NULL) {
			struct entry *entry = *link;
			if (!drop(context, entry)) {
				link = &entry->next;
				continue;
			}
			*link = entry->next;
			take_out(list_of(threads, entry), entry);
			entry_free(entry);
			threads->n--;
		}
	}
}

static bool drop_all(void *context, struct entry *entry)
{
	(void)context;
	(void)entry;
	return true;
}

void threads_free(struct threads *threads)
{
	threads_sweep(threads, drop_all, NULL);
	free(threads->hot.v);
	free(threads->cold.v);
	threads->hot = threads->cold = (struct entry_list){0};
}

bool stack_keep(struct stack *dst, const struct stack *src)
{
	if (src->n > dst->cap) {
		struct frame *v = realloc(dst->v, src->n * sizeof *v);
		if (v == NULL)
			return false;
		dst->v = v;
		dst->cap = src->n;
	}
	struct frame *v = dst->v;
	size_t cap = dst->cap;
	if (src->n > 0)
		memcpy(v, src->v, src->n * sizeof *v);
	*dst = *src;
	dst->v = v;
	dst->cap = cap;
	return true;
}
