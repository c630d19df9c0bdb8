/* `cprof-attach dump PID`: the stacks of all threads at one moment. */
#ifndef ATTACH_DUMP_COMMAND_H
#define ATTACH_DUMP_COMMAND_H

/* argv[0] is "dump". Returns the exit code. */
int dump_command(int argc, char **argv);

#endif
