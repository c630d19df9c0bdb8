/* `cprof-attach report PROFILE`: shows a profile, whoever wrote it, as text, as a flame graph or in other
 * formats, or what has changed between two. */
#ifndef ATTACH_REPORT_COMMAND_H
#define ATTACH_REPORT_COMMAND_H

/* argv[0] is the command's word. Returns the exit status. */
int report_command(int argc, char **argv);

#endif
