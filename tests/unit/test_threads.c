/* Threads by TID, and in the hot or the cold list. */
#include "attach/threads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct entry *add(struct threads *threads, pid_t tid)
{
	struct thread thread = {.tid = tid, .schedstat_fd = -1, .syscall_fd = -1};
	struct entry *entry = threads_add(threads, &thread);
	assert_non_null(entry);
	return entry;
}

static void check_list(const struct entry_list *list, bool cold)
{
	for (size_t i = 0; i < list->n; i++) {
		assert_int_equal(list->v[i]->place, i);
		assert_int_equal(list->v[i]->cold, cold);
	}
}

static void check(const struct threads *threads)
{
	check_list(&threads->hot, false);
	check_list(&threads->cold, true);
	assert_int_equal(threads->hot.n + threads->cold.n, threads->n);
}

static bool every_third(void *context, struct entry *entry)
{
	(void)context;
	return entry->thread.tid % 3 == 0;
}

static void entries_are_found_and_move_between_the_lists(void **state)
{
	(void)state;
	enum { N = 3 * THREAD_BUCKETS };
	struct threads *threads = calloc(1, sizeof *threads);
	for (pid_t tid = 1; tid <= N; tid++)
		add(threads, tid);
	check(threads);
	for (pid_t tid = 2; tid <= N; tid += 2)
		threads_cool(threads, threads_find(threads, tid));
	check(threads);
	assert_int_equal(threads->cold.n, N / 2);
	threads_cool(threads, threads_find(threads, 2));
	threads_heat(threads, threads_find(threads, 4));
	assert_false(threads_find(threads, 4)->cold);
	check(threads);
	threads_sweep(threads, every_third, NULL);
	check(threads);
	assert_int_equal(threads->n, N - N / 3);
	for (pid_t tid = 1; tid <= N; tid++) {
		const struct entry *entry = threads_find(threads, tid);
		assert_int_equal(entry != NULL, tid % 3 != 0);
		assert_true(entry == NULL || entry->thread.tid == tid);
	}
	threads_free(threads);
	assert_int_equal(threads->n, 0);
	free(threads);
}

static void a_list_walked_from_its_end_meets_each_entry_once_while_they_move(void **state)
{
	(void)state;
	struct threads *threads = calloc(1, sizeof *threads);
	for (pid_t tid = 1; tid <= 100; tid++)
		add(threads, tid);
	unsigned met = 0;
	for (size_t i = threads->hot.n; i-- > 0; met++) {
		struct entry *entry = threads->hot.v[i];
		assert_int_equal(entry->seen, 0);
		entry->seen = 1;
		if (entry->thread.tid % 2 == 0)
			threads_cool(threads, entry);
	}
	assert_int_equal(met, 100);
	check(threads);
	threads_free(threads);
	free(threads);
}

static void a_kept_stack_is_a_copy(void **state)
{
	(void)state;
	struct frame frames[3] = {{.pc = 1}, {.pc = 2}, {.pc = 3}};
	struct stack from = {.v = frames, .n = 3, .cap = 3, .why = STOP_ROOT}, kept = {0};
	assert_true(stack_keep(&kept, &from));
	frames[1].pc = 9;
	assert_int_equal(kept.n, 3);
	assert_int_equal(kept.v[1].pc, 2);
	const struct frame *before = kept.v;
	from.n = 1;
	assert_true(stack_keep(&kept, &from));
	assert_int_equal(kept.n, 1);
	assert_ptr_equal(kept.v, before);
	free(kept.v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_are_found_and_move_between_the_lists),
		cmocka_unit_test(a_list_walked_from_its_end_meets_each_entry_once_while_they_move),
		cmocka_unit_test(a_kept_stack_is_a_copy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
