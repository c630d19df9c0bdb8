/* The answers of a child that was taken over: refused, or texts, numbers and chains within bounds. */
#include "symbols/answers.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { QUESTIONS = 3 };

/* Printable, and so UTF-8 that it is its own reading. */
static void check_text(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f || (unsigned char)*text == 0xff)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct symbolized out[QUESTIONS];
	struct symbol_quality quality;
	bool no_memory;
	struct arena *arena = arena_new();
	if (arena == NULL)
		abort();
	if (answers_decode(bytes, len, arena, out, QUESTIONS, &quality, &no_memory) == 0) {
		check_text(quality.source);
		check_text(quality.trouble);
		for (size_t i = 0; i < QUESTIONS; i++) {
			if (out[i].n > SYMBOLS_CHAIN_MAX)
				abort();
			for (size_t k = 0; k < out[i].n; k++) {
				check_text(out[i].lines[k].function);
				check_text(out[i].lines[k].system_name);
				check_text(out[i].lines[k].file);
			}
		}
		/* What was understood says the same when it is sent again. */
		size_t again_len;
		uint8_t *again = answers_encode(out, QUESTIONS, &quality, &again_len);
		struct symbolized second[QUESTIONS];
		if (again == NULL ||
			answers_decode(again, again_len, arena, second, QUESTIONS, &quality, &no_memory) != 0)
			abort();
		for (size_t i = 0; i < QUESTIONS; i++)
			if (second[i].n != out[i].n || (out[i].n > 0 && strcmp(second[i].lines[0].function,
										out[i].lines[0].function) != 0))
				abort();
		free(again);
	}
	if (no_memory)
		abort();
	arena_free(arena);
	return 0;
}
