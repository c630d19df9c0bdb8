/* DWARF sections in an ELF image of our own making: the index of units, scopes, names, lines. */
#include "symbols/symbolizer.h"
#include "tests/fuzz/elf.h"
#include "tests/fuzz/fuzz.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

/* At the ends: the corpus has these numbers. */
static const struct elf_kind kinds[] = {{".debug_info", SHT_PROGBITS, 0}, {".debug_abbrev", SHT_PROGBITS, 0},
	{".debug_line", SHT_PROGBITS, 0}, {".debug_line_str", SHT_PROGBITS, 0}, {".debug_str", SHT_PROGBITS, 0},
	{".debug_str_offsets", SHT_PROGBITS, 0}, {".debug_addr", SHT_PROGBITS, 0},
	{".debug_ranges", SHT_PROGBITS, 0}, {".debug_rnglists", SHT_PROGBITS, 0},
	{".debug_types", SHT_PROGBITS, 0}};

enum { ADDRESSES = 64, STEP = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	uint64_t pcs[ADDRESSES];
	struct symbolized out[ADDRESSES];
	struct symbol_quality quality;
	size_t text = 0;
	struct image *image = elf_from_input(bytes, len, kinds, sizeof kinds / sizeof *kinds);
	struct symbolizer *symbolizer = symbolizer_new();
	if (image == NULL || symbolizer == NULL)
		abort();
	for (size_t i = 0; i < ADDRESSES; i++)
		pcs[i] = ELF_TEXT + i * STEP;
	struct symbol_files files = {.binary = image};
	if (symbolizer_files(symbolizer, &files, SYMBOLS_ALL, pcs, ADDRESSES, out, &quality) != 0)
		abort();
	for (size_t i = 0; i < ADDRESSES; i++) {
		if (out[i].n > SYMBOLS_CHAIN_MAX)
			abort();
		for (size_t k = 0; k < out[i].n; k++)
			text += strlen(out[i].lines[k].function) + strlen(out[i].lines[k].system_name) +
				strlen(out[i].lines[k].file);
	}
	if (quality.with_function > ADDRESSES || quality.with_line > ADDRESSES ||
		(text == 0 && quality.with_function > 0))
		abort();
	symbolizer_free(symbolizer);
	image_free(image);
	return 0;
}
