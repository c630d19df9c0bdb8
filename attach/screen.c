#include "attach/screen.h"

#include "encoder/utf8.h"

#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 4096, ESCAPE_MS = 25, CTRL_C = 0x03, CTRL_L = 0x0c, CTRL_Z = 0x1a };

struct screen {
	SCREEN *terminal;
	bool is_utf8;
};

static const char remedy[] = "cprof-attach -p PID writes a profile instead";

/* ---- opening and closing ---- */

static bool is_chosen(const char *name)
{
	const char *value = getenv(name);
	return value != NULL && value[0] != '\0';
}

/* May names be shown as they are? A shell without a locale, on a terminal that hardly is without UTF-8, is no
 * reason for question marks. */
static bool use_utf8(void)
{
	setlocale(LC_CTYPE, "");
	if (strcmp(nl_langinfo(CODESET), "UTF-8") == 0)
		return true;
	bool chosen = is_chosen("LC_ALL") || is_chosen("LC_CTYPE") || is_chosen("LANG");
	return !chosen && setlocale(LC_CTYPE, "C.UTF-8") != NULL;
}

static int check_terminal(struct error *err)
{
	const char *type = getenv("TERM");
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return error_set(err, "top draws on a terminal, and this is none; %s", remedy);
	if (type == NULL || type[0] == '\0' || strcmp(type, "dumb") == 0)
		return error_set(err,
			"top needs a terminal that can move its cursor, and TERM is %s; set it (export "
			"TERM=xterm), or: %s",
			type == NULL || type[0] == '\0' ? "not set" : type, remedy);
	return 0;
}

static void set_up(void)
{
	set_escdelay(ESCAPE_MS);
	raw(); /* Ctrl-C and Ctrl-Z are keys: what samples is not stopped in the middle */
	noecho();
	nonl(); /* Enter is told from Ctrl-J */
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	curs_set(0);
}

struct screen *screen_open(struct error *err)
{
	if (check_terminal(err) != 0)
		return NULL;
	struct screen *screen = calloc(1, sizeof *screen);
	if (screen == NULL) {
		error_set(err, "not enough memory to start");
		return NULL;
	}
	screen->is_utf8 = use_utf8();
	/* Ignored, ncurses leaves it so; its handler would stop us whatever is being done. */
	signal(SIGTSTP, SIG_IGN);
	screen->terminal = newterm(NULL, stdout, stdin);
	if (screen->terminal == NULL) {
		error_set(err,
			"this host knows no terminal of the type '%.40s' (terminfo); try TERM=xterm, or: %s",
			getenv("TERM"), remedy);
		free(screen);
		return NULL;
	}
	set_up();
	return screen;
}

void screen_close(struct screen *screen)
{
	if (screen == NULL)
		return;
	endwin();
	delscreen(screen->terminal);
	free(screen);
}

void screen_suspend(struct screen *screen)
{
	(void)screen;
	endwin();
	signal(SIGTSTP, SIG_DFL);
	kill(0, SIGTSTP);
	signal(SIGTSTP, SIG_IGN);
	clearok(stdscr, TRUE);
	refresh();
}

/* ---- drawing ---- */

int screen_height(const struct screen *screen)
{
	(void)screen;
	return getmaxy(stdscr);
}

int screen_width(const struct screen *screen)
{
	(void)screen;
	return getmaxx(stdscr);
}

static attr_t attributes(enum screen_style style)
{
	static const attr_t of[] = {[SCREEN_PLAIN] = A_NORMAL,
		[SCREEN_STRONG] = A_BOLD,
		[SCREEN_WEAK] = A_DIM,
		[SCREEN_HEADER] = A_REVERSE,
		[SCREEN_CHOSEN] = A_REVERSE | A_BOLD};
	return of[style];
}

void screen_clear(struct screen *screen, int row, enum screen_style style)
{
	if (row < 0 || row >= screen_height(screen))
		return;
	move(row, 0);
	clrtoeol();
	if (style == SCREEN_HEADER || style == SCREEN_CHOSEN)
		mvchgat(row, 0, -1, attributes(style), 0, NULL);
}

/* A copy that may be shown, cut to so many columns. */
static void fit(const struct screen *screen, const char *text, size_t columns, char line[LINE_BYTES])
{
	size_t n = strnlen(text, LINE_BYTES - 8);
	memcpy(line, text, n);
	line[n] = '\0';
	utf8_printable(line);
	for (char *p = line; !screen->is_utf8 && *p != '\0'; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	if (utf8_columns(line) <= columns)
		return;
	const char *mark = columns == 0 ? "" : screen->is_utf8 ? "…" : ">";
	size_t cut = utf8_cut(line, columns > 0 ? columns - 1 : 0);
	memcpy(line + cut, mark, strlen(mark) + 1);
}

void screen_put(
	struct screen *screen, int row, int column, int columns, enum screen_style style, const char *text)
{
	char line[LINE_BYTES];
	int left = screen_width(screen) - column;
	if (row < 0 || row >= screen_height(screen) || column < 0 || left <= 0 || columns <= 0)
		return;
	fit(screen, text, (size_t)(columns < left ? columns : left), line);
	attrset(attributes(style));
	mvaddstr(row, column, line);
	attrset(A_NORMAL);
}

void screen_show(struct screen *screen)
{
	(void)screen;
	refresh();
}

/* ---- keys ---- */

int screen_key(struct screen *screen)
{
	(void)screen;
	static const struct {
		int from, to;
	} keys[] = {{KEY_UP, SCREEN_UP}, {'k', SCREEN_UP}, {KEY_DOWN, SCREEN_DOWN}, {'j', SCREEN_DOWN},
		{KEY_PPAGE, SCREEN_PAGE_UP}, {KEY_NPAGE, SCREEN_PAGE_DOWN}, {KEY_HOME, SCREEN_HOME},
		{KEY_END, SCREEN_END}, {'\r', SCREEN_ENTER}, {KEY_ENTER, SCREEN_ENTER},
		{KEY_RIGHT, SCREEN_ENTER}, {KEY_LEFT, SCREEN_BACK}, {KEY_BACKSPACE, SCREEN_BACK},
		{0x7f, SCREEN_BACK}, {0x1b, SCREEN_BACK}, {CTRL_C, SCREEN_QUIT}, {CTRL_Z, SCREEN_SUSPEND},
		{KEY_RESIZE, SCREEN_RESIZED}};
	int key = getch();
	if (key == ERR)
		return SCREEN_NO_KEY;
	if (key == CTRL_L)
		clearok(stdscr, TRUE);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (keys[i].from == key)
			return keys[i].to;
	return key;
}
