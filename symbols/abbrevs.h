/* The tables that say of what attributes DIEs consist. Source: DWARF 5, section 7.5.3. */
#ifndef SYMBOLS_ABBREVS_H
#define SYMBOLS_ABBREVS_H

#include "symbols/debuginfo.h"

/* The attributes that anybody here asks for. */
enum die_attribute {
	DIE_LOW_PC,
	DIE_HIGH_PC,
	DIE_RANGES,
	DIE_SIBLING,
	DIE_NAME,
	DIE_LINKAGE_NAME,
	DIE_ORIGIN,
	DIE_SPECIFICATION,
	DIE_DECL_LINE,
	DIE_CALL_FILE,
	DIE_CALL_LINE,
	DIE_STMT_LIST,
	DIE_COMP_DIR,
	DIE_LANGUAGE,
	DIE_DWO_NAME,
	DIE_DWO_ID,
	DIE_ADDR_BASE,
	DIE_STR_OFFSETS_BASE,
	DIE_RNGLISTS_BASE,
	DIE_RANGES_BASE,
	DIE_ATTRIBUTES /* another one */
};

struct abbrev_attribute {
	uint16_t form; /* DW_FORM_*; UINT16_MAX: none that is known */
	uint8_t attribute; /* enum die_attribute */
	int64_t implicit; /* the value for DW_FORM_implicit_const */
};

struct abbrev {
	uint64_t code;
	uint32_t tag;
	bool children;
	uint32_t first, n; /* attributes[first .. first + n) */
	/* When each attribute has a fixed size and none says where code is: the bytes of all, and where among
	 * them the four are that refer to the sibling, UINT32_MAX if there are none. Else `plain` is 0. */
	uint32_t plain, sibling_at;
};

struct abbrevs {
	struct abbrev *v; /* ascending codes */
	size_t n, cap;
	struct abbrev_attribute *attributes;
	size_t n_attributes, cap_attributes;
};

/* What the sizes of some forms depend on. */
struct abbrev_sizes {
	uint8_t offset, address;
};

/* Reads the table at `offset` of .debug_abbrev up to its end, or up to the code `only` when that is not 0.
 * `abbrevs` is zeroed, and goes to abbrevs_free() in any case. Damage ends the table; -1 only when memory is
 * out. */
int abbrevs_read(struct debuginfo *debuginfo, uint64_t offset, uint64_t only, struct abbrev_sizes sizes,
	struct abbrevs *abbrevs);
void abbrevs_free(struct abbrevs *abbrevs);
/* NULL when there is none with this code. */
const struct abbrev *abbrevs_find(const struct abbrevs *abbrevs, uint64_t code);

#endif
