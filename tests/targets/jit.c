/* Runs code that it has made at run time, and says so in /tmp/perf-PID.map as runtimes do for perf. With the
 * argument `late` the file comes only when SIGUSR1 does. */
#include "target.h"

#include <string.h>
#include <sys/mman.h>

/* push rbp; mov rbp, rsp; mov rax, 10000000; again: dec rax; jnz again; pop rbp; ret */
static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0xc7, 0xc0, 0x80, 0x96, 0x98, 0x00, 0x48,
	0xff, 0xc8, 0x75, 0xfb, 0x5d, 0xc3};

static void *made;

static void write_map(int sig)
{
	char path[64];
	(void)sig;
	snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
	FILE *file = fopen(path, "w");
	if (file == NULL)
		_exit(2);
	fprintf(file, "%lx 8 moved away since\n%lx %zx jitted_loop\n", (unsigned long)made, (unsigned long)made,
		sizeof code);
	fclose(file);
}

__attribute__((noinline)) static void run_jitted(void (*loop)(void))
{
	loop();
	__asm__ volatile("" ::: "memory"); /* no tail call */
}

int main(int argc, char **argv)
{
	target_init();
	made = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (made == MAP_FAILED)
		return 1;
	memcpy(made, code, sizeof code);
	if (argc > 1 && strcmp(argv[1], "late") == 0)
		signal(SIGUSR1, write_map);
	else
		write_map(0);
	target_ready();
	for (;;)
		run_jitted((void (*)(void))made);
}
