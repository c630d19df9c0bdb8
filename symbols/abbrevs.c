#include "symbols/abbrevs.h"

#include "symbols/stream.h"

#include <dwarf.h>
#include <stdlib.h>

/* The largest tables at hand have 2,000 codes with 20,000 attributes. */
enum { CODES_MAX = 1 << 18, ATTRIBUTES_MAX = 1 << 20 };

static enum die_attribute attribute_of(uint64_t name)
{
	switch (name) {
	case DW_AT_low_pc:
		return DIE_LOW_PC;
	case DW_AT_high_pc:
		return DIE_HIGH_PC;
	case DW_AT_ranges:
		return DIE_RANGES;
	case DW_AT_sibling:
		return DIE_SIBLING;
	case DW_AT_name:
		return DIE_NAME;
	case DW_AT_linkage_name:
	case DW_AT_MIPS_linkage_name:
		return DIE_LINKAGE_NAME;
	case DW_AT_abstract_origin:
		return DIE_ORIGIN;
	case DW_AT_specification:
		return DIE_SPECIFICATION;
	case DW_AT_decl_line:
		return DIE_DECL_LINE;
	case DW_AT_call_file:
		return DIE_CALL_FILE;
	case DW_AT_call_line:
		return DIE_CALL_LINE;
	case DW_AT_stmt_list:
		return DIE_STMT_LIST;
	case DW_AT_comp_dir:
		return DIE_COMP_DIR;
	case DW_AT_language:
		return DIE_LANGUAGE;
	case DW_AT_dwo_name:
	case DW_AT_GNU_dwo_name:
		return DIE_DWO_NAME;
	case DW_AT_GNU_dwo_id:
		return DIE_DWO_ID;
	case DW_AT_addr_base:
	case DW_AT_GNU_addr_base:
		return DIE_ADDR_BASE;
	case DW_AT_str_offsets_base:
		return DIE_STR_OFFSETS_BASE;
	case DW_AT_rnglists_base:
		return DIE_RNGLISTS_BASE;
	case DW_AT_GNU_ranges_base:
		return DIE_RANGES_BASE;
	default:
		return DIE_ATTRIBUTES;
	}
}

static int grow(void *array, size_t n, size_t *cap, size_t max, size_t element)
{
	void **v = array;
	if (n < *cap)
		return 0;
	size_t wanted = *cap == 0 ? 64 : *cap * 2;
	void *larger = n < max ? reallocarray(*v, wanted, element) : NULL;
	if (larger == NULL)
		return -1;
	*v = larger;
	*cap = wanted;
	return 0;
}

/* The bytes that a value of this form takes; -1 when that depends on the value. */
static int form_size(uint64_t form, struct abbrev_sizes sizes)
{
	switch (form) {
	case DW_FORM_flag_present:
	case DW_FORM_implicit_const:
		return 0;
	case DW_FORM_data1:
	case DW_FORM_ref1:
	case DW_FORM_flag:
	case DW_FORM_strx1:
	case DW_FORM_addrx1:
		return 1;
	case DW_FORM_data2:
	case DW_FORM_ref2:
	case DW_FORM_strx2:
	case DW_FORM_addrx2:
		return 2;
	case DW_FORM_strx3:
	case DW_FORM_addrx3:
		return 3;
	case DW_FORM_data4:
	case DW_FORM_ref4:
	case DW_FORM_strx4:
	case DW_FORM_addrx4:
		return 4;
	case DW_FORM_data8:
	case DW_FORM_ref8:
	case DW_FORM_ref_sig8:
		return 8;
	case DW_FORM_data16:
		return 16;
	case DW_FORM_strp:
	case DW_FORM_line_strp:
	case DW_FORM_sec_offset:
	case DW_FORM_GNU_ref_alt:
	case DW_FORM_GNU_strp_alt:
		return sizes.offset;
	case DW_FORM_addr:
		return sizes.address;
	default:
		return -1;
	}
}

static void plain_count(const struct abbrevs *abbrevs, struct abbrev_sizes sizes, struct abbrev *abbrev)
{
	uint32_t bytes = 0;
	abbrev->sibling_at = UINT32_MAX;
	for (uint32_t i = 0; i < abbrev->n; i++) {
		const struct abbrev_attribute *attribute = &abbrevs->attributes[abbrev->first + i];
		int size = form_size(attribute->form, sizes);
		bool sibling = attribute->attribute == DIE_SIBLING;
		if (size < 0 || attribute->attribute <= DIE_RANGES ||
			(sibling && attribute->form != DW_FORM_ref4))
			return;
		if (sibling)
			abbrev->sibling_at = bytes;
		bytes += (uint32_t)size;
	}
	abbrev->plain = bytes;
}

static int attributes_read(struct abbrevs *abbrevs, struct stream *stream, struct abbrev *abbrev)
{
	for (;;) {
		uint64_t name = stream_uleb(stream), form = stream_uleb(stream);
		int64_t implicit = form == DW_FORM_implicit_const ? stream_sleb(stream) : 0;
		if (stream->bad || (name == 0 && form == 0))
			return 0;
		if (grow(&abbrevs->attributes, abbrevs->n_attributes, &abbrevs->cap_attributes, ATTRIBUTES_MAX,
			    sizeof *abbrevs->attributes) != 0)
			return -1;
		abbrevs->attributes[abbrevs->n_attributes++] =
			(struct abbrev_attribute){.form = form < UINT16_MAX ? (uint16_t)form : UINT16_MAX,
				.attribute = (uint8_t)attribute_of(name),
				.implicit = implicit};
		abbrev->n++;
	}
}

static int compare(const void *a, const void *b)
{
	const struct abbrev *x = a, *y = b;
	return (x->code > y->code) - (x->code < y->code);
}

int abbrevs_read(struct debuginfo *debuginfo, uint64_t offset, uint64_t only, struct abbrev_sizes sizes,
	struct abbrevs *abbrevs)
{
	struct stream stream = stream_at(debuginfo, DEBUG_ABBREV, offset);
	bool ascending = true;
	for (;;) {
		struct abbrev abbrev = {.code = stream_uleb(&stream)};
		if (stream.bad || abbrev.code == 0)
			break;
		abbrev.tag = (uint32_t)stream_uleb(&stream);
		abbrev.children = stream_uint(&stream, 1) != 0;
		abbrev.first = (uint32_t)abbrevs->n_attributes;
		if (attributes_read(abbrevs, &stream, &abbrev) != 0 ||
			grow(&abbrevs->v, abbrevs->n, &abbrevs->cap, CODES_MAX, sizeof *abbrevs->v) != 0)
			return -1;
		plain_count(abbrevs, sizes, &abbrev);
		ascending = ascending && (abbrevs->n == 0 || abbrevs->v[abbrevs->n - 1].code < abbrev.code);
		abbrevs->v[abbrevs->n++] = abbrev;
		if (abbrev.code == only)
			break;
	}
	if (!ascending)
		qsort(abbrevs->v, abbrevs->n, sizeof *abbrevs->v, compare);
	return 0;
}

void abbrevs_free(struct abbrevs *abbrevs)
{
	free(abbrevs->v);
	free(abbrevs->attributes);
	*abbrevs = (struct abbrevs){0};
}

const struct abbrev *abbrevs_find(const struct abbrevs *abbrevs, uint64_t code)
{
	/* Compilers number from 1 on. */
	if (code - 1 < abbrevs->n && abbrevs->v[code - 1].code == code)
		return &abbrevs->v[code - 1];
	size_t lo = 0, hi = abbrevs->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (abbrevs->v[mid].code < code)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < abbrevs->n && abbrevs->v[lo].code == code ? &abbrevs->v[lo] : NULL;
}
