/* `cprof-attach ps`: lists the processes, what they are, and which of them can be profiled. */
#ifndef ATTACH_PS_COMMAND_H
#define ATTACH_PS_COMMAND_H

/* argv[0] is the command's word. Returns the exit status. */
int ps_command(int argc, char **argv);

#endif
