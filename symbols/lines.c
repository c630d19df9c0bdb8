#include "symbols/lines.h"

#include "symbols/addresses.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES_MAX = 4096, FORMATS_MAX = 255, BYTES_PER_STEP = 8 };

/* One unit's program. The largest at hand, of a program linked as one unit, has 40 MB. */
static const uint64_t PROGRAM_BYTES_MAX = 256u * 1024 * 1024;

/* The header's numbers that the program needs (DWARF 5, 6.2.4). */
struct header {
	unsigned version;
	size_t offset_size; /* 4, or 8 in 64-bit DWARF */
	uint64_t min_instruction_length, max_operations;
	int line_base;
	unsigned line_range, opcode_base;
	uint8_t opcode_lengths[256];
};

/* The line-number state machine (DWARF 5, 6.2.2), as far as lines need it. */
struct machine {
	uint64_t address, op_index, file;
	uint32_t line;
};

struct run {
	struct header header;
	struct line_table *table;
	const uint64_t *pcs;
	struct line_row *rows;
	size_t n;
	struct machine now, last;
	bool has_last; /* `last` is the row before, of the same sequence */
	bool dead; /* the sequence is of code that the linker dropped */
	size_t next; /* no wanted address between `last` and pcs[next] */
	uint64_t *work;
	bool no_memory;
};

static int grow(void **v, size_t n, size_t *cap, size_t element)
{
	if (n < *cap)
		return 0;
	size_t wanted = *cap == 0 ? 32 : *cap * 2;
	void *bigger = reallocarray(*v, wanted, element);
	if (bigger == NULL)
		return -1;
	*v = bigger;
	*cap = wanted;
	return 0;
}

static void folder_add(struct run *run, struct line_name name)
{
	struct line_table *table = run->table;
	void *v = table->folders;
	if (grow(&v, table->n_folders, &table->cap_folders, sizeof(*table->folders)) != 0) {
		run->no_memory = true;
		return;
	}
	table->folders = v;
	table->folders[table->n_folders++] = name;
}

static void file_add(struct run *run, struct line_name name, uint64_t folder)
{
	struct line_table *table = run->table;
	void *v = table->files;
	if (grow(&v, table->n_files, &table->cap_files, sizeof(*table->files)) != 0) {
		run->no_memory = true;
		return;
	}
	table->files = v;
	table->files[table->n_files++] = (struct line_file){.name = name, .folder = folder};
}

/* Versions 2 to 4: two lists of strings, each ended by an empty one (DWARF 4, 6.2.4, items 11 and 12). */
static void names_read_v2(struct run *run, struct cursor *cursor)
{
	const char *name;
	while (!run->no_memory && *(name = cursor_string(cursor)) != '\0')
		folder_add(run, (struct line_name){.text = name});
	while (!run->no_memory && *(name = cursor_string(cursor)) != '\0') {
		uint64_t folder = cursor_uleb(cursor);
		cursor_uleb(cursor); /* time */
		cursor_uleb(cursor); /* size */
		file_add(run, (struct line_name){.text = name}, folder);
	}
}

/* One attribute of a file or folder: a string or a number, the other one is left alone. */
static void form_read(
	const struct run *run, struct cursor *cursor, uint64_t form, struct line_name *text, uint64_t *number)
{
	switch (form) {
	case DW_FORM_string:
		*text = (struct line_name){.text = cursor_string(cursor)};
		break;
	case DW_FORM_line_strp:
		*text = (struct line_name){
			.which = DEBUG_LINE_STR, .offset = cursor_uint(cursor, run->header.offset_size)};
		break;
	case DW_FORM_strp:
		*text = (struct line_name){
			.which = DEBUG_STR, .offset = cursor_uint(cursor, run->header.offset_size)};
		break;
	case DW_FORM_udata:
		*number = cursor_uleb(cursor);
		break;
	case DW_FORM_data1:
		*number = cursor_uint(cursor, 1);
		break;
	case DW_FORM_data2:
		*number = cursor_uint(cursor, 2);
		break;
	case DW_FORM_data4:
		*number = cursor_uint(cursor, 4);
		break;
	case DW_FORM_data8:
		*number = cursor_uint(cursor, 8);
		break;
	case DW_FORM_data16:
		cursor_skip(cursor, 16);
		break;
	case DW_FORM_block:
		cursor_skip(cursor, cursor_uleb(cursor));
		break;
	default: /* of unknown length: nothing after it can be read */
		cursor_skip(cursor, UINT64_MAX);
		break;
	}
}

/* Version 5: a list of entries whose attributes are described first. Used for folders, then for files. */
static void entries_read(struct run *run, struct cursor *cursor, bool folders)
{
	struct {
		uint64_t content, form;
	} formats[FORMATS_MAX];
	size_t n_formats = (size_t)cursor_uint(cursor, 1);
	for (size_t i = 0; i < n_formats; i++) {
		formats[i].content = cursor_uleb(cursor);
		formats[i].form = cursor_uleb(cursor);
	}
	uint64_t count = cursor_uleb(cursor);
	for (uint64_t i = 0; i < count && !run->no_memory; i++) {
		size_t before = cursor->left;
		struct line_name name = {.text = ""};
		uint64_t folder = 0;
		for (size_t k = 0; k < n_formats; k++) {
			struct line_name text = {.text = ""};
			uint64_t number = 0;
			form_read(run, cursor, formats[k].form, &text, &number);
			if (formats[k].content == DW_LNCT_path)
				name = text;
			else if (formats[k].content == DW_LNCT_directory_index)
				folder = number;
		}
		if (cursor->bad || cursor->left == before) /* entries of no bytes could be 2^64 */
			return;
		if (folders)
			folder_add(run, name);
		else
			file_add(run, name, folder);
	}
}

/* Reads the unit's part of the section into the table. False when it cannot be read. */
static bool part_read(struct run *run, uint64_t offset, struct cursor *part)
{
	struct debuginfo *debuginfo = run->table->debuginfo;
	uint64_t size = debuginfo_size(debuginfo, DEBUG_LINE);
	uint64_t length = debuginfo_uint(debuginfo, DEBUG_LINE, offset, 4), start = 4;
	run->header.offset_size = length == UINT32_MAX ? 8 : 4;
	if (length == UINT32_MAX) {
		length = debuginfo_uint(debuginfo, DEBUG_LINE, offset + 4, 8);
		start = 12;
	}
	if (offset > size || size - offset < start)
		return false;
	if (length > size - offset - start)
		length = size - offset - start;
	if (length > PROGRAM_BYTES_MAX)
		return false;
	run->table->bytes = malloc((size_t)length + 1);
	if (run->table->bytes == NULL) {
		run->no_memory = true;
		return false;
	}
	size_t n = debuginfo_read(debuginfo, DEBUG_LINE, offset + start, run->table->bytes, (size_t)length);
	/* Many units may share one long program. */
	*run->work -= *run->work < n / BYTES_PER_STEP ? *run->work : n / BYTES_PER_STEP;
	*part = cursor_at((struct bytes){.v = run->table->bytes, .n = n}, 0);
	return true;
}

/* Reads the header; gives the program's bytes. False when it cannot be read. */
static bool header_read(struct run *run, uint64_t offset, struct cursor *program)
{
	struct header *header = &run->header;
	struct cursor cursor;
	if (!part_read(run, offset, &cursor))
		return false;
	header->version = run->table->version = (unsigned)cursor_uint(&cursor, 2);
	if (header->version < 2 || header->version > 5)
		return false;
	if (header->version >= 5)
		cursor_skip(&cursor, 2); /* sizes of an address and of a segment selector */
	struct cursor names = cursor_take(&cursor, cursor_uint(&cursor, header->offset_size));
	*program = cursor;
	header->min_instruction_length = cursor_uint(&names, 1);
	header->max_operations = header->version >= 4 ? cursor_uint(&names, 1) : 1;
	cursor_skip(&names, 1); /* default_is_stmt */
	header->line_base = (int8_t)cursor_uint(&names, 1);
	header->line_range = (unsigned)cursor_uint(&names, 1);
	header->opcode_base = (unsigned)cursor_uint(&names, 1);
	for (unsigned i = 1; i < header->opcode_base; i++)
		header->opcode_lengths[i] = (uint8_t)cursor_uint(&names, 1);
	if (names.bad || header->line_range == 0 || header->opcode_base == 0)
		return false;
	if (header->max_operations == 0)
		header->max_operations = 1;
	if (header->version >= 5) {
		entries_read(run, &names, true);
		entries_read(run, &names, false);
	} else {
		names_read_v2(run, &names);
	}
	return true;
}

/* A linker leaves the sequences of code that it dropped, at address 0 or at the top (DWARF 6 draft,
 * "tombstone"). */
static bool address_is_dead(uint64_t address)
{
	return address == 0 || address >= UINT64_MAX - 1;
}

/* Ends the row before at the machine's address: a row covers the addresses up to the next one of its sequence.
 */
static void row_add(struct run *run, bool end_sequence)
{
	uint64_t end = run->now.address;
	if (!run->has_last)
		run->dead = address_is_dead(end);
	if (run->has_last && !run->dead && end > run->last.address) {
		while (run->next < run->n && run->pcs[run->next] < end && *run->work != 0) {
			struct line_row *row = &run->rows[run->next++];
			if (!row->found)
				*row = (struct line_row){
					.file = run->last.file, .line = run->last.line, .found = true};
			--*run->work;
		}
	} else if (!run->has_last || end < run->last.address) {
		run->next = addresses_from(run->pcs, run->n, end);
	}
	run->last = run->now;
	run->has_last = !end_sequence;
}

static void address_advance(struct run *run, uint64_t operations)
{
	const struct header *header = &run->header;
	struct machine *now = &run->now;
	now->address +=
		header->min_instruction_length * ((now->op_index + operations) / header->max_operations);
	now->op_index = (now->op_index + operations) % header->max_operations;
}

static void machine_reset(struct run *run)
{
	run->now = (struct machine){.file = 1, .line = 1};
	run->has_last = false;
}

static void extended_step(struct run *run, struct cursor *program)
{
	struct cursor operands = cursor_take(program, cursor_uleb(program));
	switch (cursor_uint(&operands, 1)) {
	case DW_LNE_end_sequence:
		row_add(run, true);
		machine_reset(run);
		break;
	case DW_LNE_set_address:
		if (operands.left == 4 || operands.left == 8)
			run->now.address = cursor_uint(&operands, operands.left);
		run->now.op_index = 0;
		break;
	case DW_LNE_define_file: {
		const char *name = cursor_string(&operands);
		file_add(run, (struct line_name){.text = name}, cursor_uleb(&operands));
		break;
	}
	default: /* DW_LNE_set_discriminator and what vendors add */
		break;
	}
}

static void standard_step(struct run *run, struct cursor *program, unsigned opcode)
{
	const struct header *header = &run->header;
	switch (opcode) {
	case DW_LNS_copy:
		row_add(run, false);
		break;
	case DW_LNS_advance_pc:
		address_advance(run, cursor_uleb(program));
		break;
	case DW_LNS_advance_line:
		run->now.line += (uint32_t)cursor_sleb(program);
		break;
	case DW_LNS_set_file:
		run->now.file = cursor_uleb(program);
		break;
	case DW_LNS_const_add_pc:
		address_advance(run, (255 - header->opcode_base) / header->line_range);
		break;
	case DW_LNS_fixed_advance_pc:
		run->now.address += cursor_uint(program, 2);
		run->now.op_index = 0;
		break;
	default: /* columns, flags, and what is not known yet: the header says how many operands */
		for (unsigned i = 0; i < header->opcode_lengths[opcode]; i++)
			cursor_uleb(program);
		break;
	}
}

static void program_run(struct run *run, struct cursor *program)
{
	const struct header *header = &run->header;
	machine_reset(run);
	while (program->left != 0 && *run->work != 0 && !run->no_memory) {
		unsigned opcode = (unsigned)cursor_uint(program, 1);
		--*run->work;
		if (opcode >= header->opcode_base) {
			opcode -= header->opcode_base;
			address_advance(run, opcode / header->line_range);
			run->now.line += (uint32_t)(header->line_base + (int)(opcode % header->line_range));
			row_add(run, false);
		} else if (opcode == 0) {
			extended_step(run, program);
		} else {
			standard_step(run, program, opcode);
		}
	}
}

int lines_read(struct debuginfo *debuginfo, uint64_t offset, const uint64_t *pcs, size_t n,
	struct line_row *rows, struct line_table *table, uint64_t *work)
{
	struct cursor program;
	if (*work == 0)
		return 0;
	struct run run = {.table = table, .pcs = pcs, .rows = rows, .n = n, .work = work};
	table->debuginfo = debuginfo;
	if (header_read(&run, offset, &program) && !run.no_memory)
		program_run(&run, &program);
	return run.no_memory ? -1 : 0;
}

void line_table_free(struct line_table *table)
{
	free(table->bytes);
	free(table->folders);
	free(table->files);
	*table = (struct line_table){0};
}

/* Puts `folder` and a slash in front of `path` when that is relative. */
static const char *joined(const char *folder, const char *path, struct arena *arena)
{
	char text[2 * PATH_BYTES_MAX];
	size_t folder_len = strnlen(folder, PATH_BYTES_MAX), len = strnlen(path, PATH_BYTES_MAX);
	if (folder_len == PATH_BYTES_MAX || len == PATH_BYTES_MAX)
		return "";
	if (path[0] == '/' || folder_len == 0)
		return arena_string(arena, path, len);
	memcpy(text, folder, folder_len);
	if (text[folder_len - 1] != '/')
		text[folder_len++] = '/';
	memcpy(text + folder_len, path, len);
	return arena_string(arena, text, folder_len + len);
}

/* "" for none; NULL when memory is out. */
static const char *name_text(const struct line_table *table, const struct line_name *name, struct arena *arena)
{
	return name->text != NULL ? name->text
				  : debuginfo_string(table->debuginfo, name->which, name->offset, arena);
}

const char *line_table_path(
	const struct line_table *table, const char *comp_dir, uint64_t file, struct arena *arena)
{
	/* Before version 5, files and folders count from 1, and folder 0 is the compilation's. */
	bool from_one = table->version < 5;
	if (from_one && file-- == 0)
		return "";
	if (file >= table->n_files)
		return "";
	const char *name = name_text(table, &table->files[file].name, arena);
	uint64_t folder = table->files[file].folder;
	if (name == NULL || name[0] == '\0')
		return name;
	if (name[0] == '/' || (from_one && folder-- == 0) || folder >= table->n_folders)
		return joined(comp_dir, name, arena);
	const char *folder_name = name_text(table, &table->folders[folder], arena);
	const char *path = folder_name != NULL ? joined(folder_name, name, arena) : NULL;
	return path == NULL ? NULL : path[0] == '\0' ? "" : joined(comp_dir, path, arena);
}
