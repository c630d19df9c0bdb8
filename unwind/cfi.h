/* Scans a section of call frame information and runs its programs (DWARF 5, 6.4.2), bounded: no recursion, no
 * allocation, work linear in the section's size. */
#ifndef UNWIND_CFI_H
#define UNWIND_CFI_H

#include "unwind/rows.h"

/* Called for every row in order of each FDE, the last one a ROW_NONE at the FDE's end. `fde` is borrowed for
 * the call. */
typedef void cfi_sink(void *context, const struct fde *fde, uint64_t start, const struct row *row);

/* `vaddr`: the section's link-time address (pc-relative pointers count from it). Damaged entries are left out.
 */
void cfi_scan(const uint8_t *bytes, size_t len, uint64_t vaddr, bool debug, cfi_sink *sink, void *context);

#endif
