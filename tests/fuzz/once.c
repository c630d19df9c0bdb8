/* In place of libFuzzer: gives each file named on the command line to the target once. Needs no clang. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

/* The bytes in a block of just their size, so that AddressSanitizer sees a read beyond the end. */
static uint8_t *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *bytes = NULL;
	long end;

	if (!file)
		return NULL;
	if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
		*size = (size_t)end;
		bytes = malloc(*size ? *size : 1);
		if (bytes && fread(bytes, 1, *size, file) != *size) {
			free(bytes);
			bytes = NULL;
		}
	}
	fclose(file);
	return bytes;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		size_t size;
		uint8_t *bytes = read_file(argv[i], &size);

		/* Before the call: a crash leaves the name of its input as the last line. */
		fprintf(stderr, "%s\n", argv[i]);
		if (!bytes) {
			perror(argv[i]);
			return 1;
		}
		LLVMFuzzerTestOneInput(bytes, size);
		free(bytes);
	}
	return 0;
}
