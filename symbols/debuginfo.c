#include "symbols/debuginfo.h"

#include "symbols/compressed.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All inflated sections together: a 3 MB file can ask for 3 GB. */
static const uint64_t INFLATED_MAX = 1024u * 1024 * 1024;

enum { PAGE_BYTES = 4096, NAME_BYTES = 32, STRING_BYTES_MAX = 16 * 1024 };

static const char *const section_names[DEBUG_SECTIONS] = {
	[DEBUG_INFO] = "debug_info",
	[DEBUG_ABBREV] = "debug_abbrev",
	[DEBUG_LINE] = "debug_line",
	[DEBUG_LINE_STR] = "debug_line_str",
	[DEBUG_STR] = "debug_str",
	[DEBUG_STR_OFFSETS] = "debug_str_offsets",
	[DEBUG_ADDR] = "debug_addr",
	[DEBUG_RANGES] = "debug_ranges",
	[DEBUG_RNGLISTS] = "debug_rnglists",
	[DEBUG_CU_INDEX] = "debug_cu_index",
};

/* One section, and the page of it that was read last. */
struct part {
	uint64_t offset, size; /* in the file, when it is not inflated */
	struct content inflated;
	uint64_t page_at;
	size_t page_n; /* 0: none */
	uint8_t *page;
};

struct debuginfo {
	const struct image *image;
	struct part parts[DEBUG_SECTIONS];
};

static int part_open(
	struct debuginfo *debuginfo, enum debug_section which, const char *ending, uint64_t *inflated_left)
{
	char name[NAME_BYTES];
	struct section section;
	struct part *part = &debuginfo->parts[which];
	bool gnu_name = false;
	snprintf(name, sizeof name, ".%s%s", section_names[which], ending);
	if (!image_section(debuginfo->image, name, &section)) {
		snprintf(name, sizeof name, ".z%s%s", section_names[which], ending);
		gnu_name = true;
		if (!image_section(debuginfo->image, name, &section))
			return 0;
	}
	if (section.type == SHT_NOBITS || section.size == 0)
		return 0;
	part->offset = section.offset;
	part->size = section.size;
	if (gnu_name || (section.flags & SHF_COMPRESSED) != 0) {
		if (content_inflate(debuginfo->image, &section, gnu_name, *inflated_left, &part->inflated) != 0)
			return -1;
		part->size = part->inflated.n;
		*inflated_left -= part->size;
		return 0;
	}
	part->page = malloc(PAGE_BYTES);
	return part->page != NULL ? 0 : -1;
}

struct debuginfo *debuginfo_open(const struct image *image, bool split)
{
	uint64_t inflated_left = INFLATED_MAX;
	struct debuginfo *debuginfo = calloc(1, sizeof *debuginfo);
	if (debuginfo == NULL)
		return NULL;
	debuginfo->image = image;
	for (enum debug_section i = 0; i < DEBUG_SECTIONS; i++) {
		/* The index of a package stands for all its halves. */
		const char *ending = split && i != DEBUG_CU_INDEX ? ".dwo" : "";
		if (part_open(debuginfo, i, ending, &inflated_left) != 0) {
			debuginfo_close(debuginfo);
			return NULL;
		}
	}
	if (debuginfo->parts[DEBUG_INFO].size == 0 || debuginfo->parts[DEBUG_ABBREV].size == 0) {
		debuginfo_close(debuginfo);
		return NULL;
	}
	return debuginfo;
}

void debuginfo_close(struct debuginfo *debuginfo)
{
	if (debuginfo == NULL)
		return;
	for (size_t i = 0; i < DEBUG_SECTIONS; i++) {
		content_free(&debuginfo->parts[i].inflated);
		free(debuginfo->parts[i].page);
	}
	free(debuginfo);
}

uint64_t debuginfo_size(const struct debuginfo *debuginfo, enum debug_section which)
{
	return debuginfo->parts[which].size;
}

/* From the page, which becomes the one that begins at or before `offset`. */
static void page_read(
	const struct debuginfo *debuginfo, struct part *part, uint64_t offset, void *buffer, size_t len)
{
	if (offset < part->page_at || offset - part->page_at >= part->page_n ||
		part->page_n - (size_t)(offset - part->page_at) < len) {
		/* A list, a unit's table: what comes next is mostly behind. */
		uint64_t left = part->size - offset;
		size_t want = left < PAGE_BYTES ? (size_t)left : PAGE_BYTES;
		part->page_at = offset;
		part->page_n = image_read(debuginfo->image, part->offset + offset, part->page, want);
		/* What a file has lost reads as zeros. */
		memset(part->page + part->page_n, 0, want - part->page_n);
		part->page_n = want;
	}
	memcpy(buffer, part->page + (offset - part->page_at), len);
}

size_t debuginfo_read(
	struct debuginfo *debuginfo, enum debug_section which, uint64_t offset, void *buffer, size_t len)
{
	struct part *part = &debuginfo->parts[which];
	if (offset >= part->size)
		return 0;
	if (len > part->size - offset)
		len = (size_t)(part->size - offset);
	if (part->inflated.v != NULL)
		memcpy(buffer, part->inflated.v + offset, len);
	else if (len <= PAGE_BYTES)
		page_read(debuginfo, part, offset, buffer, len);
	else
		len = image_read(debuginfo->image, part->offset + offset, buffer, len);
	return len;
}

uint64_t debuginfo_uint(struct debuginfo *debuginfo, enum debug_section which, uint64_t offset, size_t size)
{
	uint64_t value = 0; /* little-endian, as the file is */
	return debuginfo_read(debuginfo, which, offset, &value, size) == size ? value : 0;
}

const char *debuginfo_string(
	struct debuginfo *debuginfo, enum debug_section which, uint64_t offset, struct arena *arena)
{
	char text[STRING_BYTES_MAX];
	size_t got = 0;
	/* Most are short. */
	for (size_t want = 256; got < sizeof text; want = sizeof text) {
		size_t more = debuginfo_read(debuginfo, which, offset + got, text + got, want - got);
		const char *end = memchr(text + got, '\0', more);
		if (end != NULL)
			return arena_string(arena, text, (size_t)(end - text));
		got += more;
		if (more == 0)
			break;
	}
	return "";
}
