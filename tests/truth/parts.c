/* A program to be stepped through: in each turn it does what its arguments name ("all" without any), for ever.
 * Built in every way that changes unwind information. write(-1) tells where to begin comparing. */
#include <alloca.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __clang__
#define APART __attribute__((noinline))
#else
#define APART __attribute__((noinline, noclone))
#endif

static volatile int sink;
static jmp_buf there;

/* Assembler without a word of unwind information. */
int bare(int n);
__asm__(".text\n.type bare,@function\nbare: lea 1(%rdi),%eax\nimul %eax,%eax\nadd %edi,%eax\nret\n");

APART static int leaf(int n)
{
	sink += n;
	return sink ^ n;
}

APART static int deep(int n)
{
	return n == 0 ? leaf(1) : deep(n - 1) + leaf(n);
}

APART static int leaves(int n)
{
	return bare(n) + bare(n + 1) + leaf(n);
}

APART static int variable(int n)
{
	char a[n * 16 + 1];
	memset(a, n, sizeof a);
	return a[n] + leaf(n);
}

APART static int allocated(int n)
{
	char *a = alloca((size_t)n * 24 + 8);
	memset(a, n, (size_t)n);
	return deep(n & 3) + a[0];
}

APART static int realigned(int n)
{
	_Alignas(64) char a[128];
	memset(a, n, sizeof a);
	char *b = alloca((size_t)n * 8 + 8);
	b[0] = 1;
	sink += b[0];
	return a[n & 63] + deep(n & 3) + b[0];
}

static int compare(const void *a, const void *b)
{
	return leaf(1) * 0 + *(const int *)a - *(const int *)b;
}

APART static int sorted(int n)
{
	int v[9] = {4, 2, 9, 1, 7, 3, 8, 5, n};
	qsort(v, 9, sizeof *v, compare);
	return v[sink & 7];
}

APART static int formatted(int n)
{
	char s[99];
	return snprintf(s, sizeof s, "%d %s %f", n, "x", 1.5 * sink);
}

/* The first call of each goes through the dynamic linker, if it binds lazily. */
APART static int bound(int n)
{
	char s[32] = "8 9";
	return atoi(s) + (int)strtol(s, NULL, 8) + abs(n) + (int)strspn(s, "89") + (int)strcspn(s, "9") +
	       (int)getppid();
}

APART static int jumps(int n)
{
	if (n == 0)
		longjmp(there, 1);
	return jumps(n - 1) + leaf(n);
}

APART static int jumped(int n)
{
	return setjmp(there) == 0 ? jumps(n) : leaf(2);
}

static void handler(int number)
{
	sink += deep(number & 1);
}

APART static int signalled(int n)
{
	return raise(SIGUSR1) + leaf(n);
}

APART static int signalled_apart(int n)
{
	return raise(SIGUSR2) + leaf(n);
}

APART static int timed(int n)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int)t.tv_nsec & n;
}

APART static int written(int n)
{
	return n > 0 ? written(n - 1) + leaf(1) : (int)write(1, "", 0);
}

static const struct {
	const char *name;
	int (*run)(int n);
} parts[] = {{"deep", deep}, {"leaves", leaves}, {"variable", variable}, {"alloca", allocated},
	{"realigned", realigned}, {"sorted", sorted}, {"formatted", formatted}, {"bound", bound},
	{"longjmp", jumped}, {"signal", signalled}, {"altstack", signalled_apart}, {"vdso", timed},
	{"written", written}};

static int is_wanted(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return 1;
	return argc == 1;
}

int main(int argc, char **argv)
{
	static char alternate[1 << 16];
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
	struct sigaction apart = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
	int wanted[sizeof parts / sizeof *parts];
	sigaltstack(&stack, NULL);
	sigaction(SIGUSR2, &apart, NULL);
	signal(SIGUSR1, handler);
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		wanted[i] = is_wanted(argc, argv, parts[i].name);
	write(-1, "", 0);
	for (int n = 1;; n = n % 5 + 1)
		for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
			if (wanted[i])
				sink += parts[i].run(n);
}
