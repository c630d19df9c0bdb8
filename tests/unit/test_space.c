/* The address space over time: ids keep their meaning, images are shared, the main binary comes first. */
#include "unwind/space.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static unsigned opened;

/* Every file is this very program. */
static int open_self(void *context, const struct map *map)
{
	(void)context;
	(void)map;
	opened++;
	return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
}

static size_t read_nothing(void *context, uint64_t address, void *buffer, size_t len)
{
	(void)context;
	(void)address;
	(void)buffer;
	(void)len;
	return 0;
}

static const char first[] = "1000-2000 r-xp 00000000 08:01 7                          /lib/a.so\n"
			    "2000-3000 r-xp 00001000 08:01 7                          /lib/a.so\n"
			    "4000-5000 rw-p 00000000 00:00 0 \n"
			    "8000-9000 r-xp 00000000 08:01 8                          /bin/main\n";
/* The library is gone, and another lies in its place. */
static const char second[] = "1000-2000 r-xp 00000000 08:01 9                          /lib/b.so\n"
			     "4000-6000 rw-p 00000000 00:00 0 \n"
			     "8000-9000 r-xp 00000000 08:01 8                          /bin/main\n";

static struct space *start(void)
{
	opened = 0;
	struct space *space =
		space_new(&(struct space_source){NULL, open_self, read_nothing, NULL}, "/bin/main");
	assert_non_null(space);
	assert_int_equal(space_update(space, first, strlen(first)), 1);
	return space;
}

static void the_main_binary_comes_first(void **state)
{
	(void)state;
	struct space *space = start();
	assert_int_equal(space_find(space, 0x8000), 0);
	assert_string_equal(space_mapping(space, 0)->path, "/bin/main");
	space_free(space);
}

static void finds_code_only_and_to_the_byte(void **state)
{
	(void)state;
	struct space *space = start();
	assert_int_equal(space_find(space, 0xfff), MAPPING_NONE);
	assert_int_not_equal(space_find(space, 0x1000), MAPPING_NONE);
	assert_int_not_equal(space_find(space, 0x1fff), space_find(space, 0x2000));
	assert_int_equal(space_find(space, 0x3000), MAPPING_NONE);
	assert_int_equal(space_find(space, 0x4000), MAPPING_NONE);
	assert_int_equal(space_find(space, UINT64_MAX), MAPPING_NONE);
	assert_int_equal(space_map(space, 0x4000)->end, 0x5000);
	assert_null(space_map(space, 0x7fff));
	assert_null(space_mapping(space, MAPPING_NONE));
	space_free(space);
}

static void mappings_of_one_file_share_its_image(void **state)
{
	(void)state;
	struct space *space = start();
	const struct mapping *a = space_mapping(space, space_find(space, 0x1000));
	const struct mapping *b = space_mapping(space, space_find(space, 0x2000));
	assert_non_null(a->image);
	assert_ptr_equal(a->image, b->image);
	assert_int_equal(opened, 2);
	space_free(space);
}

static void ids_outlive_what_they_name(void **state)
{
	(void)state;
	struct space *space = start();
	uint32_t old = space_find(space, 0x1000);
	uint64_t generation = space_generation(space);
	assert_int_equal(space_update(space, first, strlen(first)), 0);
	assert_int_equal(space_generation(space), generation);
	assert_int_equal(space_update(space, second, strlen(second)), 1);
	assert_int_not_equal(space_generation(space), generation);
	uint32_t new = space_find(space, 0x1000);
	assert_int_not_equal(new, old);
	assert_string_equal(space_mapping(space, old)->path, "/lib/a.so");
	assert_false(space_mapping(space, old)->live);
	assert_string_equal(space_mapping(space, new)->path, "/lib/b.so");
	assert_true(space_mapping(space, new)->live);
	assert_int_equal(space_find(space, 0x2000), MAPPING_NONE);
	assert_int_equal(space_find(space, 0x8000), 0);
	assert_int_equal(space_map(space, 0x5800)->start, 0x4000);
	space_free(space);
}

static void empty_maps_change_nothing(void **state)
{
	(void)state;
	struct space *space = start();
	uint64_t generation = space_generation(space);
	assert_int_equal(space_update(space, "", 0), 0);
	assert_int_equal(space_generation(space), generation);
	assert_int_equal(space_find(space, 0x8000), 0);
	space_free(space);
}

static unsigned asked;

static bool has_none(void *context, const struct mapping *mapping)
{
	(void)context;
	(void)mapping;
	asked++;
	return false;
}

static void a_mapping_is_asked_for_once_at_a_time(void **state)
{
	(void)state;
	struct space *space =
		space_new(&(struct space_source){NULL, open_self, read_nothing, has_none}, "/bin/main");
	assert_int_equal(space_update(space, first, strlen(first)), 1);
	uint32_t id = space_find(space, 0x1000);
	assert_true(space_still_has(space, MAPPING_NONE, 1));
	assert_false(space_still_has(space, id, 1));
	assert_true(space_still_has(space, id, 1));
	assert_false(space_still_has(space, 0, 1));
	assert_false(space_still_has(space, id, 2));
	assert_int_equal(asked, 3);
	space_free(space);
	space = start();
	assert_true(space_still_has(space, 0, 1));
	space_free(space);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mapping_is_asked_for_once_at_a_time),
		cmocka_unit_test(the_main_binary_comes_first),
		cmocka_unit_test(finds_code_only_and_to_the_byte),
		cmocka_unit_test(mappings_of_one_file_share_its_image),
		cmocka_unit_test(ids_outlive_what_they_name),
		cmocka_unit_test(empty_maps_change_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
