/* The command line: argv -> struct options. Pure: reads nothing, prints nothing. */
#ifndef ATTACH_OPTIONS_H
#define ATTACH_OPTIONS_H

#include "encoder/format.h"
#include "encoder/profile.h"
#include "unwind/error.h"
#include "unwind/unwinder.h"

/* What the program's exit status says; see --help. */
enum { EXIT_FULL = 0, EXIT_PARTIAL = 1, EXIT_NOTHING = 2, EXIT_HARM = 3, EXIT_USAGE = 64 };

enum command { COMMAND_PROFILE, COMMAND_HELP, COMMAND_VERSION };

enum { OPTIONS_MAX_TIDS = 1024, OPTIONS_MAX_PATHS = 64, OPTIONS_DEPTH = 16384 /* by default */ };

struct options {
	enum command command;
	pid_t pid; /* 0: the process is chosen by `name` */
	const char *name; /* borrowed from argv; NULL: by PID */
	char *const *argv; /* the program to start and profile, with its arguments; NULL: `pid` is. Borrowed. */
	bool until_end; /* no -d was given for it */
	bool subprocesses; /* children are profiled, too */
	int64_t duration_ns;
	double rate_hz;
	enum profile_kind kind;
	bool has_format; /* -f was given */
	enum format format; /* what -f, or else the name given to -o, says */
	const char *output; /* NULL: the default pattern; "-": stdout; %p %n %t expand. Borrowed from argv. */
	pid_t tids[OPTIONS_MAX_TIDS];
	size_t n_tids; /* 0: every thread */
	size_t max_depth;
	enum unwinder_kind unwinder;
	double max_overhead; /* share: 0.01 is 1 % */
	int64_t max_pause_ns;
	bool no_realtime;
	const char *debug_paths[OPTIONS_MAX_PATHS]; /* borrowed from argv */
	size_t n_debug_paths;
	bool debuginfod;
	bool quiet, verbose;
};

/* Parses argv as getopt_long(3) does (options and the PID in any order). Returns 0, or -1 with the usage error
 * in *err. */
int options_parse(int argc, char **argv, struct options *options, struct error *err);

/* A PID given as text; *pid is 0, or the one that was given before. Returns 0, or -1 with the usage error. */
int options_pid(const char *text, pid_t *pid, struct error *err);

/* "30", "30s", "1m30s", "500ms", "1h" -> nanoseconds; false when malformed, zero, or longer than 30 days. */
bool options_duration(const char *text, int64_t *ns);

/* One option's argument each, for every command that has it. -1 with the usage error. */
int options_rate(const char *text, double *rate, struct error *err);
int options_event(const char *text, enum profile_kind *kind, struct error *err);
int options_tid(const char *text, struct options *options, struct error *err);
int options_depth(const char *text, size_t *depth, struct error *err);
int options_debug_path(const char *text, struct options *options, struct error *err);

/* What the program says when it is started without arguments. Static storage. */
const char *options_welcome(void);

/* The text of --help, with the exit codes. Static storage. */
const char *options_help(void);

#endif
