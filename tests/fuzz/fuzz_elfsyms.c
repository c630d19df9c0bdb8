/* Symbol tables and procedure linkage tables in an ELF image of our own making, and the names through the
 * demangler. */
#include "symbols/symbolizer.h"
#include "tests/fuzz/elf.h"
#include "tests/fuzz/fuzz.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

static const struct elf_kind kinds[] = {{".symtab", SHT_SYMTAB, 0}, {".strtab", SHT_STRTAB, 0},
	{".dynsym", SHT_DYNSYM, 0}, {".dynstr", SHT_STRTAB, 0}, {".plt", SHT_PROGBITS, 0x1000},
	{".plt.sec", SHT_PROGBITS, 0x2000}, {".plt.got", SHT_PROGBITS, 0x3000}, {".rela.plt", SHT_RELA, 0},
	{".rela.dyn", SHT_RELA, 0}};

enum { ADDRESSES = 64 };

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
	/* Some in each of the three tables, the others in .text. */
	for (uint64_t i = 0; i < ADDRESSES; i++)
		pcs[i] = i < 24 ? 0x1000 * (1 + i / 8) + i % 8 * 8 : ELF_TEXT + (i - 24) * 16;
	struct symbol_files files = {.binary = image};
	if (symbolizer_files(symbolizer, &files, SYMBOLS_ELF, pcs, ADDRESSES, out, &quality) != 0)
		abort();
	for (size_t i = 0; i < ADDRESSES; i++) {
		if (out[i].n > 1)
			abort();
		for (size_t k = 0; k < out[i].n; k++)
			text += strlen(out[i].lines[k].function);
	}
	if (text == 0 && quality.with_function > 0)
		abort();
	symbolizer_free(symbolizer);
	image_free(image);
	return 0;
}
