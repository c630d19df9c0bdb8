/* What there will be to see in each file that a process has mapped as code, told without unwinding or naming
 * anything: by the sections of the files. */
#ifndef ATTACH_MODULES_H
#define ATTACH_MODULES_H

#include "attach/target.h"
#include "symbols/presence.h"
#include "unwind/maps.h"

/* What is beyond is not looked at: each file may be made to cost some milliseconds. */
enum { MODULES_MAX = 1024 };

struct module {
	const char *path; /* borrowed from the maps */
	char build_id[41]; /* its beginning; "" none */
	bool readable;
	enum presence presence; /* of a readable one */
	bool unwindable; /* it has unwind information, or Go's table */
	uint64_t inode;
	uint32_t dev_major, dev_minor;
};

struct modules {
	struct module *v; /* the program itself first, if it is mapped */
	size_t n;
	bool more; /* than MODULES_MAX */
	uint64_t generated_bytes; /* of code in no file: compiled at run time */
};

/* Looks at the files of `maps`, which must outlive *out. -1 when memory is out. */
int modules_look(const struct target *target, const struct maps *maps, const struct debug_places *places,
	struct modules *out);
void modules_free(struct modules *modules);

/* The package that has installed this file, by dpkg's lists; false when there is none or no dpkg. */
bool module_package(const char *path, char *name, size_t cap);

#endif
