/* The leader ends by pthread_exit; a worker goes on. /proc/PID/maps is empty from then on. */
#include "target.h"

#include <pthread.h>

__attribute__((noinline)) uint64_t survivor(uint64_t x)
{
	return target_mix(x, 200000) ^ 1;
}

/* Until the kernel shows the leader as a zombie. */
static void await_leader_exit(void)
{
	char state = '?';
	while (state != 'Z') {
		char path[64];
		snprintf(path, sizeof path, "/proc/%d/task/%d/stat", getpid(), getpid());
		FILE *file = fopen(path, "r");
		if (file == NULL || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
			exit(1);
		fclose(file);
		usleep(1000);
	}
}

static void *worker(void *arg)
{
	volatile uint64_t sink = 1;
	(void)arg;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	await_leader_exit();
	target_ready();
	for (;;)
		sink = survivor(sink);
	return NULL;
}

int main(void)
{
	pthread_t thread;
	target_init();
	if (pthread_create(&thread, NULL, worker, NULL) != 0)
		return 1;
	pthread_exit(NULL);
}
