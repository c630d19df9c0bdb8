#include "attach/threads.h"

#include <stdlib.h>

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
	free(entry);
}

struct entry *threads_add(struct threads *threads, const struct thread *thread)
{
	struct entry *entry = calloc(1, sizeof *entry);
	if (entry == NULL) {
		struct thread closing = *thread;
		thread_close(&closing);
		return NULL;
	}
	struct entry **bucket = bucket_of(threads, thread->tid);
	entry->thread = *thread;
	entry->blocked_nr = -1;
	entry->next = *bucket;
	*bucket = entry;
	threads->n++;
	return entry;
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
}
