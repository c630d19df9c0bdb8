#include "attach/syscalls.h"

#include <stddef.h>

static const char *const names[] = {
#include "attach/syscalls.inc"
};

const char *syscall_name(long number)
{
	return number >= 0 && (size_t)number < sizeof names / sizeof *names ? names[number] : NULL;
}
