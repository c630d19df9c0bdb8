/* Not a target but a tracer: seizes the process in its argument and holds it, as a debugger would. */
#include "target.h"

#include <sys/ptrace.h>

int main(int argc, char **argv)
{
	target_init();
	if (argc != 2 || ptrace(PTRACE_SEIZE, atoi(argv[1]), NULL, NULL) != 0) {
		perror("holder");
		return 1;
	}
	target_ready();
	for (;;)
		pause();
}
