/* `cprof-attach symbolize PROFILE`: gives the frames of a profile names from debug files, later and elsewhere.
 */
#ifndef ATTACH_SYMBOLIZE_COMMAND_H
#define ATTACH_SYMBOLIZE_COMMAND_H

/* argv[0] is the command's word. Returns the exit status. */
int symbolize_command(int argc, char **argv);

#endif
