/* Profile -> the bytes of a .pb.gz file (profile.proto, gzip). With pprof_file.c the only user of protobuf-c
 * and zlib here. */
#ifndef ENCODER_PPROF_H
#define ENCODER_PPROF_H

#include "encoder/profile.h"

struct pprof_times {
	int64_t time_ns; /* start of sampling, nanoseconds since the epoch */
	int64_t duration_ns; /* of sampling */
	int64_t period_ns; /* mean distance of two ticks as measured, not as requested */
};

/* Writes the whole profile to `fd` (a file, a pipe). The profile must have been through profile_symbolize, or
 * locations have addresses only. On failure the message has the errno's text; what was written so far is of no
 * use. */
int pprof_write(const struct profile *profile, const struct pprof_times *times, int fd, struct error *err);

/* The version of protobuf-c. Static storage. */
const char *pprof_library(void);

/* -1 with the message for errno `failure` of a write. */
int pprof_write_failed(int failure, struct error *err);

#endif
