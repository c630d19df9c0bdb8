/* What the confined child may not do, how each of its ends is told, and what the reader of answers refuses. */
#include "symbols/answers.h"
#include "symbols/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

enum { ANSWER_MAX = 1 << 20 };

/* A hung child fails the test by this, not by the machine's speed. */
static const int64_t LONG_NS = INT64_C(120) * 1000000000;

static struct sandbox_job job_of(bool (*work)(void *, int), void *context)
{
	return (struct sandbox_job){.work = work,
		.context = context,
		.limits = {.memory_bytes = UINT64_C(1) << 30, .cpu_seconds = 60},
		.wall_ns = LONG_NS,
		.answer_bytes_max = ANSWER_MAX,
		.stop_fd = -1};
}

static volatile int *volatile nowhere; /* NULL */

/* ---- what is forbidden ---- */

struct attempts {
	pid_t parent;
	int kept, other; /* descriptors: one that it may read, one that it was not given */
};

struct outcome {
	char name[32];
	long result;
	int error;
};

static void note(int out, const char *name, long result)
{
	struct outcome outcome = {.result = result, .error = result < 0 ? errno : 0};
	snprintf(outcome.name, sizeof outcome.name, "%s", name);
	sandbox_write(out, &outcome, sizeof outcome);
}

static bool try_everything(void *context, int out)
{
	const struct attempts *attempts = context;
	char byte;
	errno = 0;
	note(out, "open", open("/etc/passwd", O_RDONLY));
	note(out, "create", open("/tmp/test_sandbox_was_here", O_CREAT | O_WRONLY, 0600));
	note(out, "socket", socket(AF_INET, SOCK_STREAM, 0));
	note(out, "fork", syscall(SYS_fork));
	note(out, "execve", syscall(SYS_execve, "/bin/true", NULL, NULL));
	note(out, "kill", kill(attempts->parent, 0));
	note(out, "ptrace", syscall(SYS_ptrace, 16 /* PTRACE_ATTACH */, attempts->parent, 0, 0));
	note(out, "process_vm_readv", syscall(SYS_process_vm_readv, attempts->parent, NULL, 0, NULL, 0, 0));
	note(out, "setuid", syscall(SYS_setuid, 0));
	note(out, "code",
		mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1
													  : 0);
	note(out, "write", write(attempts->kept, "x", 1));
	note(out, "not given", read(attempts->other, &byte, 1));
	note(out, "dup", syscall(SYS_dup, out));
	return true;
}

static void test_forbidden(void **state)
{
	(void)state;
	if (SANITIZED)
		skip(); /* its system calls are not filtered: symbols/confine.c */
	struct sandbox_answer answer;
	int kept = memfd_create("kept", 0), other = open("/proc/self/exe", O_RDONLY);
	assert_true(kept >= 0 && other >= 0);
	struct attempts attempts = {getpid(), kept, other};
	struct sandbox_job job = job_of(try_everything, &attempts);
	job.files = &kept;
	job.n_files = 1;
	sandbox_run(&job, &answer);
	assert_int_equal(answer.end, SANDBOX_DONE);
	assert_string_equal(confine_words(answer.missing), "");
	assert_int_equal(answer.len, 13 * sizeof(struct outcome));
	for (size_t at = 0; at < answer.len; at += sizeof(struct outcome)) {
		struct outcome outcome;
		memcpy(&outcome, answer.bytes + at, sizeof outcome);
		if (outcome.result >= 0)
			print_error("allowed: %s\n", outcome.name);
		assert_true(outcome.result < 0);
		assert_int_equal(outcome.error, strcmp(outcome.name, "not given") == 0 ? EBADF : EPERM);
	}
	free(answer.bytes);
	close(kept);
	close(other);
	assert_int_not_equal(access("/tmp/test_sandbox_was_here", F_OK), 0);
}

static bool spin(void *context, int out)
{
	(void)context;
	(void)out;
	for (volatile unsigned i = 0;; i++) {
	}
	return true;
}

/* The value behind "\nKey:\t" in a process's status; "" when there is none. */
static void status_value(pid_t pid, const char *key, char *value, size_t size)
{
	char path[64], text[8192], wanted[64];
	value[0] = '\0';
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	snprintf(wanted, sizeof wanted, "\n%s:\t", key);
	const char *at = strstr(text, wanted);
	if (at != NULL)
		snprintf(value, size, "%.*s", (int)strcspn(at + strlen(wanted), "\n"), at + strlen(wanted));
}

static pid_t child_besides(pid_t parent, pid_t self)
{
	char path[64], text[256];
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", parent, parent);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	for (char *at = text, *end; *at != '\0'; at = end + (*end == ' ')) {
		long pid = strtol(at, &end, 10);
		if (end == at)
			break;
		if (pid != self)
			return (pid_t)pid;
	}
	return -1;
}

static bool value_is(pid_t pid, const char *key, const char *wanted)
{
	char value[128];
	status_value(pid, key, value, sizeof value);
	if (strcmp(value, wanted) == 0)
		return true;
	fprintf(stderr, "%s is %s, not %s\n", key, value, wanted);
	return false;
}

/* In a process of its own: looks at the confined child with the kernel's eyes, then kills it. */
_Noreturn static void observe(pid_t parent)
{
	char seccomp[8] = "";
	pid_t child = -1;
	while (strcmp(seccomp, "2") != 0) {
		if (getppid() != parent)
			_exit(2);
		child = child_besides(parent, getpid());
		if (child > 0)
			status_value(child, "Seccomp", seccomp, sizeof seccomp);
	}
	bool good = value_is(child, "NoNewPrivs", "1") && value_is(child, "CapEff", "0000000000000000") &&
		    value_is(child, "CapPrm", "0000000000000000");
	if (getuid() == 0)
		good &= value_is(child, "Uid", "65534\t65534\t65534\t65534") &&
			value_is(child, "Gid", "65534\t65534\t65534\t65534") && value_is(child, "Groups", " ");
	kill(child, SIGKILL);
	_exit(good ? 0 : 1);
}

static void test_seen_from_outside(void **state)
{
	(void)state;
	int status;
	if (SANITIZED)
		skip(); /* its system calls are not filtered */
	pid_t parent = getpid(), observer = fork();
	assert_true(observer >= 0);
	if (observer == 0)
		observe(parent);
	struct sandbox_answer answer;
	struct sandbox_job job = job_of(spin, NULL);
	sandbox_run(&job, &answer);
	free(answer.bytes);
	assert_int_equal(answer.end, SANDBOX_FAILED);
	assert_string_equal(answer.why, "it was killed (SIGKILL), by hand or because memory was short");
	assert_int_equal(waitpid(observer, &status, 0), observer);
	assert_int_equal(status, 0);
}

/* ---- how it ends ---- */

static bool crash(void *context, int out)
{
	(void)context;
	(void)out;
	*nowhere = 1;
	return true;
}

static bool swallow_memory(void *context, int out)
{
	(void)context;
	(void)out;
	for (;;) {
		char *block = malloc(1 << 20);
		if (block == NULL)
			return false;
		memset(block, 1, 1 << 20);
	}
}

static bool talk_without_end(void *context, int out)
{
	static const char words[4096];
	(void)context;
	while (sandbox_write(out, words, sizeof words))
		;
	return false;
}

static bool hang_up_and_go_on(void *context, int out)
{
	(void)context;
	close(out);
	return spin(NULL, out);
}

static bool say_nothing(void *context, int out)
{
	(void)context;
	(void)out;
	return true;
}

static void check_failure(struct sandbox_job *job, const char *why)
{
	struct sandbox_answer answer;
	sandbox_run(job, &answer);
	assert_int_equal(answer.end, SANDBOX_FAILED);
	if (strstr(answer.why, why) == NULL)
		print_error("%s, not: %s\n", answer.why, why);
	assert_non_null(strstr(answer.why, why));
	free(answer.bytes);
}

static void test_crash(void **state)
{
	(void)state;
	struct sandbox_job job = job_of(crash, NULL);
	/* Sanitizers end a process in their own way. */
	check_failure(&job, SANITIZED ? "" : "it crashed (Segmentation fault)");
}

static void test_cpu_time(void **state)
{
	(void)state;
	struct sandbox_job job = job_of(spin, NULL);
	job.limits.cpu_seconds = 1;
	check_failure(&job, "more than 1 s of CPU time");
}

static void test_wall_time(void **state)
{
	(void)state;
	struct sandbox_job job = job_of(spin, NULL);
	job.wall_ns = 50000000;
	check_failure(&job, "longer than 0.05 s");
}

static void test_memory(void **state)
{
	(void)state;
	if (SANITIZED)
		skip(); /* its memory is not limited */
	struct sandbox_job job = job_of(swallow_memory, NULL);
	job.limits.memory_bytes = 32 << 20;
	check_failure(&job, "more memory than it may have");
}

static void test_endless_answer(void **state)
{
	(void)state;
	struct sandbox_job job = job_of(talk_without_end, NULL);
	check_failure(&job, "its answer is too long");
}

static void test_hang_up(void **state)
{
	(void)state;
	struct sandbox_job job = job_of(hang_up_and_go_on, NULL);
	check_failure(&job, "it was killed");
}

static void test_stop(void **state)
{
	(void)state;
	int ends[2];
	struct sandbox_answer answer;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "x", 1), 1);
	struct sandbox_job job = job_of(spin, NULL);
	job.stop_fd = ends[0];
	sandbox_run(&job, &answer);
	assert_int_equal(answer.end, SANDBOX_STOPPED);
	free(answer.bytes);
	close(ends[0]);
	close(ends[1]);
}

static void test_empty_answer(void **state)
{
	(void)state;
	struct sandbox_answer answer;
	struct sandbox_job job = job_of(say_nothing, NULL);
	sandbox_run(&job, &answer);
	assert_int_equal(answer.end, SANDBOX_DONE);
	assert_int_equal(answer.len, 0);
	free(answer.bytes);
}

/* ---- the reader of answers ---- */

static const struct source_line two_lines[] = {
	{"inner(int)", "_Z5inneri", "/src/a.c", 12, 10}, {"outer", "outer", "/src/a.c", 20, 18}};
static const struct symbolized two_answers[] = {{two_lines, 2}, {NULL, 0}, {two_lines + 1, 1}};
static const struct symbol_quality from_dwarf = {.source = "DWARF", .trouble = "not so good", .complete = true};

struct decoded {
	struct arena *arena;
	struct symbolized out[3];
	struct symbol_quality quality;
};

static int decode(struct decoded *decoded, const uint8_t *bytes, size_t len)
{
	bool no_memory;
	decoded->arena = arena_new();
	assert_non_null(decoded->arena);
	int outcome =
		answers_decode(bytes, len, decoded->arena, decoded->out, 3, &decoded->quality, &no_memory);
	assert_false(no_memory);
	return outcome;
}

static void test_answers_arrive(void **state)
{
	(void)state;
	size_t len;
	struct decoded decoded;
	uint8_t *bytes = answers_encode(two_answers, 3, &from_dwarf, &len);
	assert_non_null(bytes);
	assert_int_equal(decode(&decoded, bytes, len), 0);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(decoded.out[i].n, two_answers[i].n);
		for (size_t k = 0; k < two_answers[i].n; k++) {
			const struct source_line *is = &decoded.out[i].lines[k],
						 *was = &two_answers[i].lines[k];
			assert_string_equal(is->function, was->function);
			assert_string_equal(is->system_name, was->system_name);
			assert_string_equal(is->file, was->file);
			assert_int_equal(is->line, was->line);
			assert_int_equal(is->start_line, was->start_line);
		}
	}
	assert_int_equal(decoded.quality.addresses, 3);
	assert_int_equal(decoded.quality.with_function, 2);
	assert_int_equal(decoded.quality.with_line, 2);
	assert_string_equal(decoded.quality.source, "DWARF");
	assert_string_equal(decoded.quality.trouble, "not so good");
	assert_true(decoded.quality.complete);
	arena_free(decoded.arena);
	free(bytes);
}

/* Every shorter message, one byte more, and each byte of the numbers changed: refused, or answers within
 * bounds. */
static void test_damaged_answers(void **state)
{
	(void)state;
	size_t len;
	struct decoded decoded;
	uint8_t *bytes = answers_encode(two_answers, 3, &from_dwarf, &len), *copy = calloc(len + 1, 1);
	assert_true(bytes != NULL && copy != NULL);
	for (size_t shorter = 0; shorter < len; shorter++) {
		uint8_t *exact = malloc(shorter > 0 ? shorter : 1); /* AddressSanitizer sees a read beyond it */
		assert_non_null(exact);
		memcpy(exact, bytes, shorter);
		assert_int_equal(decode(&decoded, exact, shorter), -1);
		arena_free(decoded.arena);
		free(exact);
	}
	memcpy(copy, bytes, len);
	assert_int_equal(decode(&decoded, copy, len + 1), -1);
	arena_free(decoded.arena);
	size_t refused = 0;
	for (size_t i = 0; i < len; i++) {
		memcpy(copy, bytes, len);
		copy[i] ^= 0x81;
		bool good = decode(&decoded, copy, len) == 0;
		refused += !good;
		for (size_t k = 0; good && k < 3; k++)
			for (size_t line = 0; line < decoded.out[k].n; line++)
				assert_true(strlen(decoded.out[k].lines[line].function) < len);
		arena_free(decoded.arena);
	}
	assert_true(refused > 40);
	free(copy);
	free(bytes);
}

static void test_names_are_made_printable(void **state)
{
	(void)state;
	static const struct {
		const char *is, *becomes;
	} names[] = {{"caf\xc3\xa9", "caf\xc3\xa9"}, {"a\x1b[2Jb", "a?[2Jb"}, {"\xff\xc3", "??"},
		{"\xc2\x9b", "??"}, {"\xed\xa0\x80", "???"}, {"\xf0\x9f\x8e\x89", "\xf0\x9f\x8e\x89"},
		{"\x7f", "?"}};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		size_t len;
		struct decoded decoded;
		struct source_line line = {names[i].is, names[i].is, "", 1, 1};
		struct symbolized answers[3] = {{&line, 1}};
		uint8_t *bytes = answers_encode(answers, 3, &from_dwarf, &len);
		assert_non_null(bytes);
		assert_int_equal(decode(&decoded, bytes, len), 0);
		assert_string_equal(decoded.out[0].lines[0].function, names[i].becomes);
		arena_free(decoded.arena);
		free(bytes);
	}
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forbidden),
		cmocka_unit_test(test_seen_from_outside),
		cmocka_unit_test(test_crash),
		cmocka_unit_test(test_cpu_time),
		cmocka_unit_test(test_wall_time),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_endless_answer),
		cmocka_unit_test(test_hang_up),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_empty_answer),
		cmocka_unit_test(test_answers_arrive),
		cmocka_unit_test(test_damaged_answers),
		cmocka_unit_test(test_names_are_made_printable),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
