/* Arguments -> command -> exit code. */
#include "attach/check_command.h"
#include "attach/dump_command.h"
#include "attach/options.h"
#include "attach/ps_command.h"
#include "attach/record_command.h"
#include "attach/report_command.h"
#include "attach/symbolize_command.h"
#include "attach/top_command.h"
#include "attach/ui.h"
#include "attach/version.h"

#include <string.h>

/* The first word chooses the command; without one of these a process is profiled. */
static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"dump", dump_command},
	{"report", report_command},
	{"check", check_command},
	{"ps", ps_command},
	{"symbolize", symbolize_command},
	{"top", top_command},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	if (argc <= 1) {
		ui_welcome(options_welcome());
		return EXIT_USAGE;
	}
	struct error err;
	struct options options;
	if (options_parse(argc, argv, &options, &err) != 0) {
		ui_error(err.message);
		return EXIT_USAGE;
	}
	if (options.command == COMMAND_PROFILE)
		return record_command(&options);
	char version[VERSION_WIDTH];
	version_text(version);
	ui_help(options.command == COMMAND_HELP ? options_help() : version);
	return EXIT_FULL;
}
