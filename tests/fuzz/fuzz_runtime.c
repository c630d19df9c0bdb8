/* A program's file, as ps and check look at it: which language it was compiled from, and which version of Go.
 */
#include "attach/runtime.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct error err;
	struct runtime runtime;
	char text[RUNTIME_TEXT];
	struct image *image = image_from_memory(bytes, len, "fuzz", &err);
	if (image == NULL)
		return 0;
	runtime_of_image(image, &runtime);
	runtime_text(&runtime, text);
	if (runtime.version[strspn(runtime.version, "0123456789.")] != '\0')
		abort();
	image_free(image);
	return 0;
}
