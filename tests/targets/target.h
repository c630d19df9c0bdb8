/* What every target does: it never outlives the test that started it, and it says when it is in its steady
 * state. */
#ifndef TARGET_H
#define TARGET_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Dies with its parent, and by SIGIO (whose default action is to terminate) when the other end of a pipe on
 * stdin is closed: this needs neither a thread nor a handler, either of which would show in the profiles. */
static inline void target_init(void)
{
	struct stat st;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (fstat(STDIN_FILENO, &st) == 0 && S_ISFIFO(st.st_mode)) {
		fcntl(STDIN_FILENO, F_SETOWN, getpid());
		fcntl(STDIN_FILENO, F_SETFL, O_ASYNC);
	}
}

static inline void target_ready(void)
{
	puts("ready");
	fflush(stdout);
}

static inline uint64_t target_clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Arithmetic that no compiler removes: about a nanosecond a step. */
static inline __attribute__((always_inline)) uint64_t target_mix(uint64_t x, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++)
		x = (x ^ (x >> 13)) * UINT64_C(0x9e3779b97f4a7c15) + i;
	return x;
}

#endif
