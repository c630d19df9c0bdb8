/* DWARF line programs, versions 2 to 5: addresses -> file and line. Keeps the rows of the wanted addresses
 * only, because a whole table takes many times the memory of its program. Source: DWARF 5, section 6.2. */
#ifndef SYMBOLS_LINES_H
#define SYMBOLS_LINES_H

#include "symbols/arena.h"
#include "symbols/cursor.h"
#include "symbols/debuginfo.h"

/* The row that covers one address. */
struct line_row {
	uint64_t file; /* for line_table_path() */
	uint32_t line; /* 0: the compiler says that no line belongs to the address */
	bool found;
};

/* A name as the header has it: text of its own, or a place in a section. */
struct line_name {
	const char *text; /* NULL: in the section `which` at `offset` */
	enum debug_section which;
	uint64_t offset;
};

struct line_file {
	struct line_name name;
	uint64_t folder;
};

/* The names in one program's header. */
struct line_table {
	unsigned version;
	struct debuginfo *debuginfo; /* borrowed */
	uint8_t *bytes; /* the header with the program */
	struct line_name *folders;
	size_t n_folders, cap_folders;
	struct line_file *files;
	size_t n_files, cap_files;
};

/* Runs the program at `offset` of .debug_line and fills rows[0..n), which are zeroed, for pcs[0..n), sorted.
 * `table` is zeroed, and is to be given to line_table_free() in any case. *work goes down with what is done,
 * and nothing more is done when it is used up. Damage ends the run early; -1 only when memory is out. */
int lines_read(struct debuginfo *debuginfo, uint64_t offset, const uint64_t *pcs, size_t n,
	struct line_row *rows, struct line_table *table, uint64_t *work);
void line_table_free(struct line_table *table);

/* The path of a file number of this table, made absolute with the compilation's folder `comp_dir` ("" when not
 * known);
 * "" when there is no such file. Owned by `arena`; NULL when memory is out. */
const char *line_table_path(
	const struct line_table *table, const char *comp_dir, uint64_t file, struct arena *arena);

#endif
