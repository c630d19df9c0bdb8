/* Scans a section of call frame information and runs its programs (DWARF 5, 6.4.2), bounded: no recursion, no
 * allocation, work linear in the section's size. */
#ifndef UNWIND_CFI_H
#define UNWIND_CFI_H

#include "unwind/bytes.h"
#include "unwind/rows.h"

/* Called for every row in order of each FDE, the last one a ROW_NONE at the FDE's end. `fde` is borrowed for
 * the call. */
typedef void cfi_sink(void *context, const struct fde *fde, uint64_t start, const struct row *row);

/* `vaddr`: the section's link-time address (pc-relative pointers count from it). Damaged entries are left out.
 */
void cfi_scan(const uint8_t *bytes, size_t len, uint64_t vaddr, bool debug, cfi_sink *sink, void *context);

/* One FDE with what its CIE says of it: all that its programs need. The programs are borrowed from `bytes`. */
struct cfi_entry {
	uint64_t start, end; /* link-time */
	uint64_t code_align;
	int64_t data_align;
	bool is_signal;
	struct bytes initial, program; /* the CIE's instructions, and the FDE's own */
};

/* The FDE at link-time address `at` of the same section; false when it is damaged, or there is none. */
bool cfi_entry_at(
	const uint8_t *bytes, size_t len, uint64_t vaddr, bool debug, uint64_t at, struct cfi_entry *out);

/* May libunwind run these programs? Not if anything in them, wherever it is, hangs or kills it. */
bool cfi_is_harmless(const struct cfi_entry *entry);

/* Where the caller's value of a register is, as seen from one pc. */
enum cfi_rule_kind {
	CFI_SAME,
	CFI_AT, /* in memory at CFA + value */
	CFI_REGISTER, /* in the register of that number */
	CFI_AT_REGISTER, /* in memory at that of register `base` + value: of functions that realign their stack
			  */
	CFI_UNDEFINED,
	CFI_OTHER, /* a DWARF expression, or an offset to the CFA itself */
};

struct cfi_rule {
	enum cfi_rule_kind kind;
	int64_t value;
	uint64_t base;
};

/* The rules that a walk follows. */
struct cfi_state {
	uint64_t cfa_register;
	int64_t cfa_offset;
	bool cfa_is_stored; /* the CFA is the word at that register + offset */
	bool cfa_is_expression; /* any other */
	bool saves_results; /* rax and rdx are saved: only functions that throw do (__builtin_eh_return) */
	struct cfi_rule rbx, rbp, rsp, ra;
};

/* The rules at link-time address `pc` of the entry; false when its programs do not get there. */
bool cfi_state_at(const struct cfi_entry *entry, uint64_t pc, struct cfi_state *out);

#endif
