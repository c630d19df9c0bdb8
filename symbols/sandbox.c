#include "symbols/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_MEMORY = 1, FIRST_BYTES = 64 * 1024 };

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool sandbox_write(int out, const void *bytes, size_t len)
{
	for (const uint8_t *at = bytes; len > 0;) {
		ssize_t n = write(out, at, len);
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

/* ---- the child ---- */

_Noreturn static void child_main(const struct sandbox_job *job, int out)
{
	uint8_t missing = (uint8_t)confine(job->files, job->n_files, out, &job->limits);
	bool done = sandbox_write(out, &missing, 1) && job->work(job->context, out);
	_exit(done ? EXIT_DONE : EXIT_MEMORY);
}

/* ---- the parent ---- */

static int fail(struct sandbox_answer *answer, const char *why)
{
	answer->end = SANDBOX_FAILED;
	snprintf(answer->why, sizeof answer->why, "%s", why);
	return -1;
}

/* Room for more; -1 at the limit. */
static int answer_grow(struct sandbox_answer *answer, size_t *cap, size_t max)
{
	if (answer->len < *cap)
		return 0;
	size_t larger = *cap > 0 ? *cap * 2 : FIRST_BYTES;
	if (larger > max)
		larger = max;
	uint8_t *moved = larger > *cap ? realloc(answer->bytes, larger) : NULL;
	if (moved == NULL)
		return fail(answer, larger > *cap ? "memory ran out for its answer" : "its answer is too long");
	answer->bytes = moved;
	*cap = larger;
	return 0;
}

/* Waits for the next bytes: 1 when there are some or the end, 0 when it is over for another reason. */
static int wait_readable(
	const struct sandbox_job *job, int in, int64_t deadline_ns, struct sandbox_answer *answer)
{
	struct pollfd fds[2] = {{.fd = in, .events = POLLIN}, {.fd = job->stop_fd, .events = POLLIN}};
	for (;;) {
		int64_t left = deadline_ns - now_ns();
		int ready = left > 0 ? poll(fds, 2, (int)(left / 1000000) + 1) : 0;
		if (ready < 0 && errno == EINTR)
			continue;
		if ((fds[1].revents & POLLIN) != 0) {
			answer->end = SANDBOX_STOPPED;
			return 0;
		}
		if (ready > 0)
			return 1;
		if (left <= 0) {
			fail(answer, "");
			snprintf(answer->why, sizeof answer->why, "it took longer than %.3g s",
				(double)job->wall_ns / 1e9);
			return 0;
		}
	}
}

/* Reads to the end of the file, or until it is enough. */
static void collect(const struct sandbox_job *job, int in, struct sandbox_answer *answer)
{
	size_t cap = 0;
	int64_t deadline_ns = now_ns() + job->wall_ns;
	for (;;) {
		if (answer_grow(answer, &cap, job->answer_bytes_max) != 0 ||
			wait_readable(job, in, deadline_ns, answer) == 0)
			return;
		ssize_t n = read(in, answer->bytes + answer->len, cap - answer->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		answer->len += (size_t)n;
	}
}

static void judge(const struct sandbox_job *job, int status, struct sandbox_answer *answer)
{
	if (answer->end != SANDBOX_DONE)
		return;
	if (WIFSIGNALED(status)) {
		int number = WTERMSIG(status);
		fail(answer, "it was killed (SIGKILL), by hand or because memory was short");
		if (number == SIGXCPU)
			snprintf(answer->why, sizeof answer->why, "it used more than %u s of CPU time",
				job->limits.cpu_seconds);
		else if (number != SIGKILL)
			snprintf(answer->why, sizeof answer->why, "it crashed (%s)", strsignal(number));
	} else if (WEXITSTATUS(status) != EXIT_DONE) {
		fail(answer, "it needs more memory than it may have");
	} else if (answer->len == 0) {
		fail(answer, "it ended without an answer");
	}
}

/* The first byte is child_main's. */
static void take_missing(struct sandbox_answer *answer)
{
	if (answer->len == 0)
		return;
	answer->missing = answer->bytes[0];
	memmove(answer->bytes, answer->bytes + 1, --answer->len);
}

static pid_t start(const struct sandbox_job *job, int *in, struct sandbox_answer *answer)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0) {
		fail(answer, "no pipe could be opened");
		return -1;
	}
	pid_t pid = fork();
	if (pid == 0)
		child_main(job, ends[1]);
	close(ends[1]);
	*in = ends[0];
	if (pid < 0) {
		close(ends[0]);
		fail(answer, "no process could be started: are processes limited here (ulimit -u)?");
	}
	return pid;
}

void sandbox_run(const struct sandbox_job *job, struct sandbox_answer *answer)
{
	int in, status = 0;
	*answer = (struct sandbox_answer){.end = SANDBOX_DONE};
	pid_t pid = start(job, &in, answer);
	if (pid < 0)
		return;
	collect(job, in, answer);
	close(in);
	/* A process that is on its way out closed its end of the pipe: this changes nothing of its status. One
	 * that closed the pipe and goes on would hold us up. */
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	judge(job, status, answer);
	take_missing(answer);
}
