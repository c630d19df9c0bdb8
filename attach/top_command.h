/* `cprof-attach top`: the hottest functions of a running process, live in a terminal. */
#ifndef ATTACH_TOP_COMMAND_H
#define ATTACH_TOP_COMMAND_H

/* argv[0] is the command's own name. Returns the exit code. */
int top_command(int argc, char **argv);

#endif
