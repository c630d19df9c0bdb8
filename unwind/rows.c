#include "unwind/rows.h"
#include "unwind/bytes.h"
#include "unwind/cfi.h"
#include "unwind/gorows.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
	SECTION_MAX = 64 << 20,
	ROWS_MAX = 4 << 20,
	FUNCTION_ROWS_MAX = 1 << 16, /* interpreters' main loops have some thousand */
	FDES_MAX = 1 << 20, /* those with expressions are few: rustc's driver has 413 */
};

struct rows {
	struct row *v;
	size_t n, cap;
	struct fde *fdes;
	size_t n_fdes, cap_fdes;
	uint64_t base;
	uint8_t *bytes; /* the section; kept only while there are expressions */
	size_t len;
	uint64_t vaddr;
	bool debug;
	bool index; /* of all FDEs: see rows_compile_fdes */
	bool full;
	bool has_go_tls;
	int32_t go_tls;
};

/* ---- filling, as the scan's sink ---- */

/* Room for one more element of `size` bytes; false when the limit is reached or memory is out. */
static bool make_room(void **v, size_t n, size_t *cap, size_t limit, size_t size)
{
	if (n < *cap)
		return true;
	size_t larger = *cap > 0 ? *cap * 2 : 1024;
	void *moved = n < limit ? realloc(*v, larger * size) : NULL;
	if (moved == NULL)
		return false;
	*v = moved;
	*cap = larger;
	return true;
}

static bool remember_fde(struct rows *rows, const struct fde *fde)
{
	if (rows->n_fdes > 0 && rows->fdes[rows->n_fdes - 1].vaddr == fde->vaddr)
		return true;
	if (!make_room((void **)&rows->fdes, rows->n_fdes, &rows->cap_fdes, FDES_MAX, sizeof *fde))
		return false;
	rows->fdes[rows->n_fdes++] = *fde;
	return true;
}

static void add_row(void *context, const struct fde *fde, uint64_t start, const struct row *row)
{
	struct rows *rows = context;
	/* Offsets from the lowest pc that the file can have would cost a pass: all of one module lies within 4
	 * GB of its section. */
	if (start - rows->base > UINT32_MAX)
		return;
	struct row r = *row;
	r.start = (uint32_t)(start - rows->base);
	if (rows->index && r.kind != ROW_NONE)
		r = (struct row){.start = r.start,
			.kind = r.is_harmful ? ROW_NONE : ROW_EXPRESSION,
			.is_first = r.is_first};
	if (r.kind == ROW_EXPRESSION) {
		if (!remember_fde(rows, fde))
			r.kind = ROW_NONE;
		r.cfa = (int32_t)rows->n_fdes - 1;
	}
	if (rows->full || !make_room((void **)&rows->v, rows->n, &rows->cap, ROWS_MAX, sizeof r)) {
		rows->full = true;
		return;
	}
	rows->v[rows->n++] = r;
}

/* Where one function ends and the next begins, the end's ROW_NONE comes first, and the function's own row after
 * it counts. */
static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->kind != ROW_NONE) - (y->kind != ROW_NONE);
}

static bool same_rule(const struct row *a, const struct row *b)
{
	return a->kind == b->kind && a->cfa == b->cfa && a->rbp == b->rbp && a->rbx == b->rbx &&
	       a->is_thrower == b->is_thrower;
}

/* Where the ascending run that begins at `i` ends. */
static size_t end_of_run(const struct row *v, size_t i, size_t n)
{
	for (i++; i < n && compare_rows(&v[i - 1], &v[i]) <= 0; i++)
		;
	return i < n ? i : n;
}

/* Merges the runs a[0..middle) and a[middle..n) into `out`. */
static void merge_runs(const struct row *a, size_t middle, size_t n, struct row *out)
{
	for (size_t i = 0, k = middle; i < middle || k < n;) {
		bool left = k == n || (i < middle && compare_rows(&a[i], &a[k]) <= 0);
		*out++ = left ? a[i++] : a[k++];
	}
}

/* Linkers write the tables nearly in order, in a few long runs, which qsort does not profit from: half of the
 * time that tables take. Stable; n log n for any order. */
static void sort_rows(struct rows *rows)
{
	struct row *from = rows->v, *other = NULL;
	size_t n = rows->n;
	while (n > 0 && end_of_run(from, 0, n) < n) {
		struct row *to = other != NULL ? other : malloc(n * sizeof *to);
		if (to == NULL) {
			qsort(from, n, sizeof *from, compare_rows);
			break;
		}
		for (size_t i = 0; i < n;) {
			size_t middle = end_of_run(from, i, n);
			size_t end = middle < n ? end_of_run(from, middle, n) : n;
			merge_runs(from + i, middle - i, end - i, to + i);
			i = end;
		}
		other = from;
		from = to;
	}
	rows->v = from;
	free(other);
}

static void sort_and_merge(struct rows *rows)
{
	size_t n = 0;
	sort_rows(rows);
	rows->cap = rows->n;
	for (size_t i = 0; i < rows->n; i++) {
		if (n > 0 && rows->v[n - 1].start == rows->v[i].start)
			n--;
		if (n > 0 && !rows->v[i].is_first && same_rule(&rows->v[n - 1], &rows->v[i]))
			continue;
		rows->v[n++] = rows->v[i];
	}
	rows->n = n;
	struct row *fitted = n > 0 ? realloc(rows->v, n * sizeof *fitted) : NULL;
	if (fitted != NULL) {
		rows->v = fitted;
		rows->cap = n;
	}
}

/* A module's code lies below and above its tables. */
static uint64_t base_near(uint64_t vaddr)
{
	return vaddr < (UINT64_C(1) << 31) ? 0 : vaddr - (UINT64_C(1) << 31);
}

/* Takes `bytes` over. */
static struct rows *compile(uint8_t *bytes, size_t len, uint64_t vaddr, bool debug, bool index)
{
	struct rows *rows = calloc(1, sizeof *rows);
	if (rows == NULL) {
		free(bytes);
		return NULL;
	}
	rows->base = debug ? 0 : base_near(vaddr); /* .debug_frame has no address */
	rows->bytes = bytes;
	rows->len = len;
	rows->vaddr = vaddr;
	rows->debug = debug;
	rows->index = index;
	cfi_scan(bytes, len, vaddr, debug, add_row, rows);
	sort_and_merge(rows);
	if (rows->n_fdes == 0) {
		free(rows->bytes);
		rows->bytes = NULL;
		rows->len = 0;
	}
	return rows;
}

/* ---- sections ---- */

static uint8_t *inflate_section(const uint8_t *bytes, size_t len, size_t *out_len)
{
	Elf64_Chdr header;
	if (len < sizeof header)
		return NULL;
	memcpy(&header, bytes, sizeof header);
	if (header.ch_type != ELFCOMPRESS_ZLIB || header.ch_size > SECTION_MAX)
		return NULL;
	uLongf size = (uLongf)header.ch_size;
	uint8_t *out = malloc(size > 0 ? size : 1);
	if (out != NULL && uncompress(out, &size, bytes + sizeof header, len - sizeof header) != Z_OK) {
		free(out);
		return NULL;
	}
	*out_len = size;
	return out;
}

static uint8_t *read_section(const struct image *image, const struct section *section, size_t *len)
{
	if (section->size == 0 || section->size > SECTION_MAX)
		return NULL;
	uint8_t *bytes = malloc((size_t)section->size);
	if (bytes == NULL)
		return NULL;
	*len = image_read(image, section->offset, bytes, (size_t)section->size);
	if ((section->flags & SHF_COMPRESSED) == 0)
		return bytes;
	uint8_t *inflated = inflate_section(bytes, *len, len);
	free(bytes);
	return inflated;
}

/* Without section headers: .eh_frame_hdr says where .eh_frame begins (version 1, eh_frame_ptr encoded as pcrel
 * sdata4 by every linker); it ends with its terminator, or with the segment. */
static bool find_eh_frame(const struct image *image, struct section *out)
{
	struct section header;
	uint8_t hdr[8];
	int32_t distance;
	if (image_section(image, ".eh_frame", out))
		return true;
	if (!image_segment(image, PT_GNU_EH_FRAME, &header) ||
		image_read(image, header.offset, hdr, sizeof hdr) != sizeof hdr || hdr[0] != 1 ||
		hdr[1] != 0x1b)
		return false;
	memcpy(&distance, hdr + 4, sizeof distance);
	uint64_t offset = header.offset + 4 + (uint64_t)(int64_t)distance;
	/* The two lie in one segment, at the same distance in the file as in memory. */
	uint8_t byte;
	if (image_read(image, offset, &byte, 1) != 1)
		return false;
	size_t file_size;
	image_bytes(image, &file_size);
	uint64_t size = offset < header.offset ? header.offset - offset : file_size - offset;
	*out = (struct section){header.vaddr + 4 + (uint64_t)(int64_t)distance, offset, size, 0, SHT_PROGBITS};
	return true;
}

static struct rows *compile_section(const struct image *image, bool debug, bool index)
{
	struct section section;
	size_t len = 0;
	bool found = debug ? image_section(image, ".debug_frame", &section) : find_eh_frame(image, &section);
	uint8_t *bytes = found ? read_section(image, &section, &len) : NULL;
	return compile(bytes, bytes != NULL ? len : 0, found && !debug ? section.vaddr : 0, debug, index);
}

struct rows *rows_compile(const struct image *image, bool debug)
{
	return compile_section(image, debug, false);
}

struct rows *rows_compile_fdes(const struct image *image, bool debug)
{
	return compile_section(image, debug, true);
}

struct rows *rows_from_bytes(const uint8_t *bytes, size_t len, uint64_t vaddr, bool debug)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);
	if (copy == NULL)
		return NULL;
	if (len > 0)
		memcpy(copy, bytes, len);
	return compile(copy, len, vaddr, debug, false);
}

struct rows *rows_compile_go(const struct image *image)
{
	struct gopclntab table;
	struct rows *rows = calloc(1, sizeof *rows);
	if (rows == NULL || !gopclntab_load(image, &table))
		return rows;
	rows->base = base_near(table.vaddr);
	rows->has_go_tls = gorows_tls(image, &table, &rows->go_tls);
	gorows_scan(image, &table, add_row, rows);
	sort_and_merge(rows);
	gopclntab_unload(&table);
	return rows;
}

void rows_free(struct rows *rows)
{
	if (rows == NULL)
		return;
	free(rows->v);
	free(rows->fdes);
	free(rows->bytes);
	free(rows);
}

/* ---- looking up ---- */

size_t rows_count(const struct rows *rows)
{
	return rows->n;
}

size_t rows_bytes(const struct rows *rows)
{
	return rows->cap * sizeof *rows->v + rows->cap_fdes * sizeof *rows->fdes + rows->len;
}

bool rows_go_tls(const struct rows *rows, int32_t *offset)
{
	if (rows->has_go_tls)
		*offset = rows->go_tls;
	return rows->has_go_tls;
}

const struct row *rows_find(const struct rows *rows, uint64_t vaddr)
{
	if (rows->n == 0 || vaddr < rows->base || vaddr - rows->base > UINT32_MAX)
		return NULL;
	uint32_t at = (uint32_t)(vaddr - rows->base);
	size_t low = 0, high = rows->n;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (rows->v[middle].start <= at)
			low = middle;
		else
			high = middle;
	}
	const struct row *row = &rows->v[low];
	return row->start <= at && row->kind != ROW_NONE ? row : NULL;
}

bool rows_is_function_start(const struct rows *rows, uint64_t vaddr)
{
	const struct row *row = rows_find(rows, vaddr);
	return row != NULL && row->is_first && rows->base + row->start == vaddr;
}

uint64_t rows_function_start(const struct rows *rows, const struct row *row)
{
	for (size_t i = 0; i < FUNCTION_ROWS_MAX && row > rows->v && !row->is_first; i++)
		row--;
	return rows->base + row->start;
}

bool rows_fde(const struct rows *rows, const struct row *row, struct fde *out)
{
	if (row->kind != ROW_EXPRESSION || row->cfa < 0 || (size_t)row->cfa >= rows->n_fdes)
		return false;
	*out = rows->fdes[row->cfa];
	return true;
}

bool rows_entry(const struct rows *rows, const struct fde *fde, struct cfi_entry *out)
{
	return rows->bytes != NULL &&
	       cfi_entry_at(rows->bytes, rows->len, rows->vaddr, rows->debug, fde->vaddr, out);
}
