#include "symbols/presence.h"

static bool has(const struct image *image, const char *name)
{
	struct section section;
	return image_section(image, name, &section);
}

static bool has_dwarf(const struct image *image)
{
	return has(image, ".debug_info") || has(image, ".zdebug_info");
}

static bool has_go_table(const struct image *image)
{
	return has(image, ".gopclntab") || has(image, ".data.rel.ro.gopclntab") ||
	       (has(image, ".go.buildinfo") && has(image, ".data.rel.ro"));
}

static enum presence separate_presence(const struct debug_places *places, const struct image *image)
{
	struct symbol_files files;
	if (image_build_id(image)[0] == '\0')
		return PRESENCE_STRIPPED;
	symbol_files_open(places, image, &files);
	enum presence found = PRESENCE_STRIPPED;
	if (files.debug != NULL)
		found = has_dwarf(files.debug)	      ? PRESENCE_DEBUG_FILE
			: has(files.debug, ".symtab") ? PRESENCE_SYMBOLS
						      : PRESENCE_STRIPPED;
	symbol_files_close(&files);
	return found;
}

enum presence presence_of(const struct debug_places *places, const struct image *image)
{
	if (has_dwarf(image))
		return PRESENCE_DWARF;
	enum presence separate = separate_presence(places, image);
	if (separate == PRESENCE_DEBUG_FILE)
		return separate;
	if (has_go_table(image))
		return PRESENCE_GO;
	if (has(image, ".symtab") || separate == PRESENCE_SYMBOLS)
		return PRESENCE_SYMBOLS;
	return has(image, ".gnu_debugdata") ? PRESENCE_MINIDEBUGINFO : PRESENCE_STRIPPED;
}

const char *presence_name(enum presence presence)
{
	static const char *const names[] = {[PRESENCE_STRIPPED] = "stripped",
		[PRESENCE_MINIDEBUGINFO] = "minidebuginfo",
		[PRESENCE_SYMBOLS] = "symbols",
		[PRESENCE_GO] = "Go table",
		[PRESENCE_DEBUG_FILE] = "debug file",
		[PRESENCE_DWARF] = "DWARF"};
	return names[presence];
}
