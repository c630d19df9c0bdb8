/* A terminal that is drawn on by rows, and its keys: the one user of ncurses. There is one at a time, and one
 * thread that calls this. */
#ifndef ATTACH_SCREEN_H
#define ATTACH_SCREEN_H

#include "unwind/error.h"

#include <stdbool.h>

/* Attributes, no colours: readable on light and on dark, and where there are none. */
enum screen_style {
	SCREEN_PLAIN,
	SCREEN_STRONG,
	SCREEN_WEAK,
	SCREEN_HEADER, /* also across what is empty of the row */
	SCREEN_CHOSEN, /* likewise */
};

/* Keys that are no characters. */
enum {
	SCREEN_NO_KEY = -1,
	SCREEN_UP = 0x1000,
	SCREEN_DOWN,
	SCREEN_PAGE_UP,
	SCREEN_PAGE_DOWN,
	SCREEN_HOME,
	SCREEN_END,
	SCREEN_ENTER,
	SCREEN_BACK,
	SCREEN_QUIT, /* Ctrl-C: no signal is sent for it */
	SCREEN_SUSPEND, /* Ctrl-Z: likewise */
	SCREEN_RESIZED,
};

struct screen;

/* Standard input and output must be a terminal of a type that is known. NULL with the reason and the remedy. */
struct screen *screen_open(struct error *err);
/* The terminal is as it was before. Takes NULL. */
void screen_close(struct screen *screen);
/* Gives the terminal back and stops the process group, as Ctrl-Z does; returns when it is continued. */
void screen_suspend(struct screen *screen);

int screen_height(const struct screen *screen);
int screen_width(const struct screen *screen);
/* Rows and columns are counted from 0. What lies outside is left out. */
void screen_clear(struct screen *screen, int row, enum screen_style style);
/* Text in the columns from `column` on, at most `columns` of them; what is too long is cut, and shows it.
 * `text` may be anything: control characters, and what is no UTF-8, become '?'. */
void screen_put(
	struct screen *screen, int row, int column, int columns, enum screen_style style, const char *text);
/* All that was drawn is shown. */
void screen_show(struct screen *screen);
/* Never waits: SCREEN_NO_KEY when there is none. */
int screen_key(struct screen *screen);

#endif
