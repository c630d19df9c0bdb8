/* Not a target: runs a command and writes its largest resident set, in KB, to the file in the first argument. A
 * process inherits the peak of whoever started it; this one is so small that the peak is the command's own. */
#include "target.h"

#include <sys/resource.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	struct rusage usage;
	int status;
	FILE *file = argc > 2 ? fopen(argv[1], "w") : NULL;
	if (file == NULL)
		return 64;
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (child == -1 || wait4(child, &status, 0, &usage) != child)
		return 1;
	fprintf(file, "%ld\n", usage.ru_maxrss);
	fclose(file);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
