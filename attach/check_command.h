/* `cprof-attach check PID`: says whether a process can be profiled and what there will be to see, without
 * touching it. */
#ifndef ATTACH_CHECK_COMMAND_H
#define ATTACH_CHECK_COMMAND_H

/* argv[0] is the command's word. Returns the exit status. */
int check_command(int argc, char **argv);

#endif
