/* cprof-attach -p PID: target -> samples -> (let go) -> names -> file. */
#ifndef ATTACH_RECORD_COMMAND_H
#define ATTACH_RECORD_COMMAND_H

#include "attach/options.h"

/* Returns the program's exit code; what went wrong was told to people. */
int record_command(const struct options *options);

#endif
