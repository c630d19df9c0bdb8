/* Call frame information compiled to a table of rows: for every pc of a module how to find its caller (DWARF
 * 5, 6.4; the Linux Standard Base, "Exception Frames"). Built once for an image by one linear scan, which needs
 * no .eh_frame_hdr and no order; searched by bisection. */
#ifndef UNWIND_ROWS_H
#define UNWIND_ROWS_H

#include "unwind/image.h"

enum row_kind {
	ROW_NONE, /* no information */
	ROW_RSP, /* CFA = rsp + cfa */
	ROW_RBP, /* CFA = rbp + cfa */
	ROW_RBX, /* CFA = rbx + cfa: the dynamic linker's trampolines, which realign their stack */
	ROW_ROOT, /* the return address is undefined: the thread's first function */
	ROW_SIGNAL, /* a signal's return trampoline: the kernel's signal frame is at rsp */
	ROW_SWITCH, /* CFA = rbp + cfa, on whatever stack that is: Go's assembler functions that change rsp,
		       like nanotime1 and cgocallback */
	ROW_GO_SYSTEMSTACK, /* runtime.systemstack: as ROW_SWITCH with CFA = rbp - the row's rbp, if it has one;
			       else CFA = rsp
			       + cfa, with the rsp that the goroutine had */
	ROW_GO_ASMCGOCALL, /* runtime.asmcgocall: the same, with the rsp that it keeps at the end of its frame
			    */
	ROW_GO_MCALL, /* runtime.mcall: on the goroutine's stack a caller, else the first frame */
	ROW_GO_MORESTACK, /* runtime.morestack: on the goroutine's stack a caller, else the goroutine as it was
			     saved */
	ROW_GO_GOGO, /* runtime.gogo: on the goroutine's stack the goroutine as it was saved, else a caller */
	ROW_GO_SCHEDULE, /* runtime.schedule, else as ROW_RSP: above it nothing belongs to the thread's
			    goroutine */
	ROW_GO_CLONE, /* runtime.clone: the first frame of a new thread, whose stack's top rsi still is; else as
			 ROW_RSP */
	ROW_GO_PREEMPT, /* runtime.asyncPreempt, else as ROW_RSP: a signal's handler made it look as if any
			   instruction had called it, and to that very instruction it returns */
	ROW_GO_SIGPANIC, /* runtime.sigpanic: the same for an instruction that faulted, unless that was a call
			    to nowhere */
	ROW_EXPRESSION, /* anything else: a DWARF expression, or another register; cfa is an index for
			   rows_fde() */
};

/* From `start` (link-time address minus rows_base) up to the next row. The return address is at CFA - 8. */
struct row {
	uint32_t start;
	int32_t cfa;
	int16_t rbp, rbx; /* the caller's rbp is at CFA + rbp; 0: it is unchanged; rbx alike */
	uint8_t kind; /* enum row_kind */
	uint8_t is_first; /* the first row of its function */
	uint8_t is_harmful; /* libunwind must not be given what leads here: see cfi.c */
	uint8_t is_thrower; /* of a function that throws: it may overwrite what it saved (cfi.h) */
};

struct rows;

/* Compiles .eh_frame (found by section or by PT_GNU_EH_FRAME), or, with `debug`, .debug_frame (also
 * compressed). Always gives a table, empty when the image has none or it is damaged; NULL only when memory is
 * out. Limits: 64 MB of section, 4 million rows. */
struct rows *rows_compile(const struct image *image, bool debug);
/* Compiles Go's table of functions (unwind/gopclntab.h); empty when the image is no Go program. */
struct rows *rows_compile_go(const struct image *image);
/* The same table as an index of FDEs: every row that may be given to libunwind is a ROW_EXPRESSION, all others
 * a ROW_NONE. */
struct rows *rows_compile_fdes(const struct image *image, bool debug);
/* The same as rows_compile() from bytes: a section's contents at link-time address `vaddr`. */
struct rows *rows_from_bytes(const uint8_t *bytes, size_t len, uint64_t vaddr, bool debug);
void rows_free(struct rows *rows);

size_t rows_count(const struct rows *rows);
size_t rows_bytes(const struct rows *rows); /* of memory that they take */
/* Go: where a thread's current goroutine is found, see gorows_tls(). False in all but Go's rows. */
bool rows_go_tls(const struct rows *rows, int32_t *offset);
/* The row that covers link-time address `vaddr`, NULL when there is none or it is ROW_NONE. Borrowed. */
const struct row *rows_find(const struct rows *rows, uint64_t vaddr);
/* Link-time address where the function of a row begins. */
uint64_t rows_function_start(const struct rows *rows, const struct row *row);
bool rows_is_function_start(const struct rows *rows, uint64_t vaddr);

/* For a ROW_EXPRESSION: where its FDE lies, for the library that evaluates it. */
struct fde {
	uint64_t start, end; /* the pcs that it covers, link-time */
	uint64_t vaddr; /* of the FDE itself */
};
bool rows_fde(const struct rows *rows, const struct row *row, struct fde *out);
/* Its programs, borrowed from the rows. */
struct cfi_entry;
bool rows_entry(const struct rows *rows, const struct fde *fde, struct cfi_entry *out);

#endif
