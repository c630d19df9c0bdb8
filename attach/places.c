#include "attach/places.h"

struct debug_places *places_make(const char *const *folders, size_t n)
{
	struct debug_places *places = debug_places_new();
	if (places == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (debug_places_add(places, folders[i]) == 0)
			continue;
		debug_places_free(places);
		return NULL;
	}
	return places;
}
