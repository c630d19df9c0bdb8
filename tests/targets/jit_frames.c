/* Calls through code that no file has: a function written into memory, with a frame pointer, as JIT compilers
 * write it. It calls back, and half of the time it works itself. */
#include "target.h"

#include <string.h>
#include <sys/mman.h>

static volatile uint64_t sink;

__attribute__((noinline)) static void called_by_jit(void)
{
	sink = target_mix(sink, 2000);
}

/* push %rbp; mov %rsp,%rbp; push %rbx; sub $40,%rsp; call *%rdi; mov $2000,%ecx; 1: dec %ecx; jnz 1b; add
 * $40,%rsp; pop %rbx; pop %rbp; ret */
static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x83, 0xec, 0x28, 0xff, 0xd7, 0xb9,
	0xd0, 0x07, 0x00, 0x00, 0xff, 0xc9, 0x75, 0xfc, 0x48, 0x83, 0xc4, 0x28, 0x5b, 0x5d, 0xc3};

int main(void)
{
	target_init();
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return 1;
	memcpy(page, code, sizeof code);
	void (*run)(void (*)(void));
	memcpy(&run, &page, sizeof run);
	target_ready();
	for (;;)
		run(called_by_jit);
}
