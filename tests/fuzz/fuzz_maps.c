/* maps_parse over any bytes; then maps_find on every border. */
#include "tests/fuzz/fuzz.h"
#include "unwind/maps.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct maps maps;
	if (maps_parse((const char *)bytes, len, &maps) != 0)
		return 0;
	for (size_t i = 0; i < maps.n; i++) {
		const struct map *map = &maps.v[i];
		if (map->start >= map->end || (i > 0 && map->start < maps.v[i - 1].end) ||
			maps_find(&maps, map->start) != map || maps_find(&maps, map->end - 1) != map ||
			maps_find(&maps, map->end) == map)
			abort();
	}
	maps_free(&maps);
	return 0;
}
