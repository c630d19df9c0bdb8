/* What --version says: this program's version and architecture, and its libraries', as they are loaded. */
#ifndef ATTACH_VERSION_H
#define ATTACH_VERSION_H

enum { VERSION_WIDTH = 256 };

void version_text(char text[VERSION_WIDTH]);

#endif
