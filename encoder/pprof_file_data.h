/* The message inside struct pprof_file, for view.c and pprof_merge.c. Not for other rooms. */
#ifndef ENCODER_PPROF_FILE_DATA_H
#define ENCODER_PPROF_FILE_DATA_H

#include "encoder/pprof_file.h"
#include "encoder/profile.pb-c.h"

const Perftools__Profiles__Profile *pprof_file_message(const struct pprof_file *file);
/* "" when the file has no such string. */
const char *pprof_file_text(const struct pprof_file *file, int64_t number);
/* NULL when the file has no function, or no mapping, with this id. */
const Perftools__Profiles__Function *pprof_file_function(const struct pprof_file *file, uint64_t id);
const Perftools__Profiles__Mapping *pprof_file_mapping(const struct pprof_file *file, uint64_t id);

/* A file made of this message, which must be whole, with "" as its first string, and each part from malloc(3);
 * it is taken over in every case. NULL with the reason in *err. */
struct pprof_file *pprof_file_wrap(Perftools__Profiles__Profile *profile, struct error *err);

#endif
