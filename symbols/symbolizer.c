#include "symbols/symbolizer.h"

#include "symbols/arena.h"
#include "symbols/compressed.h"
#include "symbols/demangle.h"
#include "symbols/dwarf.h"
#include "symbols/elfsyms.h"
#include "symbols/gosymbols.h"
#include "symbols/libdw.h"
#include "symbols/plt.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

struct symbolizer {
	struct arena *arena;
	struct demangler *demangler;
};

/* One question, as asked: its place in the caller's arrays. */
struct question {
	uint64_t pc;
	size_t index;
};

/* One batch. Everything from `pcs` on has n elements, one for each different address, ascending. */
struct batch {
	struct symbolizer *symbolizer;
	const struct symbol_files *files;
	struct question *questions;
	size_t n_questions;
	uint64_t *pcs;
	struct dwarf_chain *chains;
	struct elfsym *names;
	struct symbolized *answers;
	size_t n;
	struct dwarf_outcome dwarf;
	enum symbols_extent extent;
	enum elfsyms_source names_from;
};

struct symbolizer *symbolizer_new(void)
{
	struct symbolizer *symbolizer = calloc(1, sizeof(*symbolizer));
	if (symbolizer == NULL)
		return NULL;
	symbolizer->arena = arena_new();
	if (symbolizer->arena != NULL)
		symbolizer->demangler = demangler_new(symbolizer->arena);
	if (symbolizer->demangler == NULL) {
		symbolizer_free(symbolizer);
		return NULL;
	}
	return symbolizer;
}

void symbolizer_free(struct symbolizer *symbolizer)
{
	if (symbolizer == NULL)
		return;
	arena_free(symbolizer->arena);
	free(symbolizer);
}

static int question_compare(const void *a, const void *b)
{
	const struct question *x = a, *y = b;
	return (x->pc > y->pc) - (x->pc < y->pc);
}

/* Go's own table answers for all of its code: what is left (C, by cgo) is asked elsewhere. Returns how many
 * were answered, -1 when memory is out. */
static ssize_t answer_go(struct symbolizer *symbolizer, const struct image *image, const uint64_t *vaddrs,
	size_t n, struct symbolized *out)
{
	struct gosymbols *go = gosymbols_open(image);
	ssize_t answered = 0;
	for (size_t i = 0; i < n && go != NULL && answered >= 0; i++) {
		int found = gosymbols_lookup(go, symbolizer->arena, vaddrs[i], &out[i]);
		answered = found < 0 ? -1 : answered + found;
	}
	gosymbols_close(go);
	return answered;
}

/* Those without an answer in out[0..n). */
static int batch_open(struct batch *batch, const uint64_t *vaddrs, size_t n, const struct symbolized *out)
{
	batch->questions = calloc(n + 1, sizeof(*batch->questions));
	batch->pcs = calloc(n + 1, sizeof(*batch->pcs));
	batch->chains = calloc(n + 1, sizeof(*batch->chains));
	batch->names = calloc(n + 1, sizeof(*batch->names));
	batch->answers = calloc(n + 1, sizeof(*batch->answers));
	if (batch->questions == NULL || batch->pcs == NULL || batch->chains == NULL || batch->names == NULL ||
		batch->answers == NULL)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (out[i].n == 0)
			batch->questions[batch->n_questions++] = (struct question){.pc = vaddrs[i], .index = i};
	qsort(batch->questions, batch->n_questions, sizeof(*batch->questions), question_compare);
	for (size_t i = 0; i < batch->n_questions; i++)
		if (i == 0 || batch->questions[i].pc != batch->questions[i - 1].pc)
			batch->pcs[batch->n++] = batch->questions[i].pc;
	for (size_t i = 0; i < batch->n; i++)
		batch->chains[i] = (struct dwarf_chain){.file = ""};
	return 0;
}

static void batch_close(struct batch *batch)
{
	free(batch->questions);
	free(batch->pcs);
	free(batch->chains);
	free(batch->names);
	free(batch->answers);
}

static int batch_dwarf(struct batch *batch)
{
	const struct symbol_files *files = batch->files;
	if (dwarf_lookup(files, batch->symbolizer->arena, batch->pcs, batch->n, batch->chains, &batch->dwarf) !=
		0)
		return -1;
	/* batch_close frees what the batch holds; the analyzer does not follow it there. */
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	if (!batch->dwarf.unread || batch->dwarf.limited)
		return 0;
	return libdw_lookup(image_fd(files->debug != NULL ? files->debug : files->binary),
		batch->symbolizer->arena, batch->pcs, batch->n, batch->chains);
}

static int batch_names(struct batch *batch)
{
	for (size_t i = 0; i < batch->n; i++) {
		const struct dwarf_chain *chain = &batch->chains[i];
		const char *prefer = chain->n == 0 ? "" : chain->lines[chain->n - 1].system_name;
		batch->names[i] = (struct elfsym){.pc = batch->pcs[i], .prefer = prefer, .name = ""};
	}
	const struct symbol_files *files = batch->files;
	struct image *mini = files->debug == NULL ? content_minidebuginfo(files->binary) : NULL;
	int failed = elfsyms_lookup(files->binary, files->debug, mini, batch->symbolizer->arena, batch->names,
		batch->n, &batch->names_from);
	image_free(mini);
	if (failed != 0)
		return -1;
	return plt_lookup(batch->files->binary, batch->symbolizer->arena, batch->names, batch->n);
}

/* Puts the two sources together: the linker's name for the physical function, readable names for all. */
static int answer_make(struct batch *batch, size_t i)
{
	struct dwarf_chain *chain = &batch->chains[i];
	const char *name = batch->names[i].name;
	if (chain->n == 0) {
		if (name[0] == '\0' && chain->line == 0 && chain->file[0] == '\0')
			return 0;
		chain->lines = arena_alloc(batch->symbolizer->arena, sizeof(*chain->lines));
		if (chain->lines == NULL)
			return -1;
		*chain->lines = (struct source_line){
			.function = "", .system_name = "", .file = chain->file, .line = chain->line};
		chain->n = 1;
	}
	if (name[0] != '\0') {
		chain->lines[chain->n - 1].system_name = name;
		chain->lines[chain->n - 1].function = "";
	}
	for (size_t k = 0; k < chain->n; k++) {
		struct source_line *line = &chain->lines[k];
		if (line->function[0] == '\0')
			line->function = demangle(batch->symbolizer->demangler, line->system_name);
		if (line->function == NULL)
			return -1;
	}
	batch->answers[i] = (struct symbolized){.lines = chain->lines, .n = chain->n};
	return 0;
}

static const char *source_name(const struct batch *batch)
{
	for (size_t i = 0; i < batch->n; i++)
		if (batch->chains[i].n != 0 && batch->dwarf.found)
			return batch->files->debug != NULL ? "DWARF (separate file)" : "DWARF";
	switch (batch->names_from) {
	case ELFSYMS_FULL:
		return "ELF symbols";
	case ELFSYMS_SEPARATE:
		return "ELF symbols (separate file)";
	case ELFSYMS_MINI:
		return "minidebuginfo";
	case ELFSYMS_DYNAMIC:
		return "dynamic symbols";
	default:
		return "none";
	}
}

/* Only what was meant to be read can be missed. */
static const char *trouble_of(const struct batch *batch)
{
	struct section section;
	const struct symbol_files *files = batch->files;
	if (batch->extent != SYMBOLS_ALL || batch->n == 0)
		return "";
	if (batch->dwarf.found)
		return batch->dwarf.limited
			       ? "a limit was reached in its debug information, some of which was not read"
			       : "";
	if (image_section(files->debug != NULL ? files->debug : files->binary, ".debug_info", &section))
		return "its debug information was not read: it is damaged, too large, or compressed in a way "
		       "not "
		       "known here";
	return "";
}

static void batch_give(const struct batch *batch, struct symbolized *out)
{
	for (size_t i = 0, k = 0; i < batch->n_questions; i++) {
		const struct question *question = &batch->questions[i];
		while (batch->pcs[k] != question->pc)
			k++;
		out[question->index] = batch->answers[k];
	}
}

static void judge(const struct batch *batch, const struct symbolized *out, size_t n, bool is_go,
	struct symbol_quality *quality)
{
	struct symbol_quality judged = {.addresses = n,
		.trouble = trouble_of(batch),
		.missing = batch->dwarf.missing,
		.n_missing = batch->dwarf.n_missing};
	for (size_t i = 0; i < n; i++) {
		judged.with_function += out[i].n != 0 && out[i].lines[out[i].n - 1].function[0] != '\0';
		judged.with_line += out[i].n != 0 && out[i].lines[0].line != 0;
	}
	judged.source = is_go ? "Go's function table" : source_name(batch);
	judged.complete = (batch->dwarf.found && !batch->dwarf.limited && batch->dwarf.n_missing == 0) ||
			  (is_go && batch->n_questions == 0);
	*quality = judged;
}

static int ask_elsewhere(struct batch *batch)
{
	if (batch->n == 0)
		return 0;
	if ((batch->extent == SYMBOLS_ALL && batch_dwarf(batch) != 0) || batch_names(batch) != 0)
		return -1;
	for (size_t i = 0; i < batch->n; i++)
		if (answer_make(batch, i) != 0)
			return -1;
	return 0;
}

int symbolizer_files(struct symbolizer *symbolizer, const struct symbol_files *files,
	enum symbols_extent extent, const uint64_t *vaddrs, size_t n, struct symbolized *out,
	struct symbol_quality *quality)
{
	struct batch batch = {.symbolizer = symbolizer, .files = files, .extent = extent};
	ssize_t by_go = 0;
	int result = -1;
	for (size_t i = 0; i < n; i++)
		out[i] = (struct symbolized){0};
	if (extent == SYMBOLS_ALL)
		by_go = answer_go(symbolizer, files->binary, vaddrs, n, out);
	if (by_go < 0 || batch_open(&batch, vaddrs, n, out) != 0 || ask_elsewhere(&batch) != 0)
		goto out;
	batch_give(&batch, out);
	judge(&batch, out, n, by_go > 0, quality);
	result = 0;
out:
	batch_close(&batch);
	return result;
}

int symbolizer_image(struct symbolizer *symbolizer, const struct image *image, const uint64_t *vaddrs, size_t n,
	struct symbolized *out, struct symbol_quality *quality)
{
	struct symbol_files files;
	size_t added = 0;
	symbol_files_open(NULL, image, &files);
	int result = symbolizer_files(symbolizer, &files, SYMBOLS_ALL, vaddrs, n, out, quality);
	for (size_t i = 0; result == 0 && i < quality->n_missing; i++)
		added += symbol_files_add_split(NULL, &quality->missing[i], &files);
	if (added > 0)
		result = symbolizer_files(symbolizer, &files, SYMBOLS_ALL, vaddrs, n, out, quality);
	symbol_files_close(&files);
	return result;
}
