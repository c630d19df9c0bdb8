/* Made itself undumpable, as ssh-agent does: the kernel then refuses tracers of the same user. */
#include "target.h"

int main(void)
{
	target_init();
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	target_ready();
	for (;;)
		pause();
}
