/* Executes itself again and again, some 100 times a second, in turn from its first thread and from another one,
 * whose TID then becomes the PID. argv[1] counts: it is what one sees of the progress in /proc/PID/cmdline. */
#include "target.h"

#include <pthread.h>

static char **arguments;

__attribute__((noinline)) uint64_t even_image(void)
{
	return target_mix(3, 5000000);
}

__attribute__((noinline)) uint64_t odd_image(void)
{
	return target_mix(5, 5000000);
}

static void again(unsigned long count)
{
	char text[24];
	char *next[] = {arguments[0], text, NULL};
	snprintf(text, sizeof text, "%lu", count + 1);
	execv("/proc/self/exe", next);
	_exit(1);
}

static void *other_thread(void *arg)
{
	volatile uint64_t sink = odd_image();
	(void)sink;
	again((unsigned long)(uintptr_t)arg);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	pthread_t thread;
	arguments = argv;
	if (count == 0) {
		target_init();
		target_ready();
	}
	if (count % 2 == 0) {
		volatile uint64_t sink = even_image();
		(void)sink;
		again(count);
	}
	if (pthread_create(&thread, NULL, other_thread, (void *)(uintptr_t)count) != 0)
		return 1;
	for (;;)
		pause();
}
