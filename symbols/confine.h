/* What a process gives up so that it can do no harm, whatever bytes it reads: its user, its capabilities, new
 * files, new processes, signals, the network, memory and time without end. Linux only: credentials(7),
 * capabilities(7), setrlimit(2), prctl(2), seccomp(2). */
#ifndef SYMBOLS_CONFINE_H
#define SYMBOLS_CONFINE_H

#include <stddef.h>
#include <stdint.h>

/* What could not be done here. The rest was done all the same. */
enum confine_missing {
	CONFINE_USER = 1 << 0, /* it was root and could not become nobody: a user namespace without that user */
	CONFINE_CAPABILITIES = 1 << 1, /* some are left */
	CONFINE_SYSTEM_CALLS =
		1 << 2, /* seccomp is not in this kernel, is forbidden, or would break a sanitizer */
	CONFINE_LIMITS = 1 << 3, /* memory or CPU time is not limited */
	CONFINE_FILES = 1 << 4, /* files that are not needed stay open */
};

struct confine_limits {
	uint64_t memory_bytes; /* of address space, more than there is already */
	unsigned cpu_seconds;
};

/* For a child process just forked, with one thread. From here on it may compute, allocate, read the `n`
 * descriptors in `keep` and write to `out`, of which nothing else stays open; any other system call fails with
 * EPERM. There is no way back. Returns the set of enum confine_missing: 0 is good. */
unsigned confine(const int *keep, size_t n, int out, const struct confine_limits *limits);

/* The measures in `missing` in words: "system calls are not filtered, ..."; "" for 0. Static storage; the next
 * call changes it. */
const char *confine_words(unsigned missing);

#endif
