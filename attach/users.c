#include "attach/users.h"

#include "encoder/utf8.h"

#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A process list has few users and many processes. */
enum { KEPT = 64 };

static struct {
	uid_t uid;
	char name[USER_NAME];
} kept[KEPT];
static size_t n_kept;

static void look_up(uid_t uid, char name[USER_NAME])
{
	FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *entry = NULL;
	while (file != NULL && (entry = fgetpwent(file)) != NULL && entry->pw_uid != uid)
		;
	if (entry != NULL)
		snprintf(name, USER_NAME, "%s", entry->pw_name);
	else
		snprintf(name, USER_NAME, "%u", uid);
	if (file != NULL)
		fclose(file);
	utf8_printable(name);
}

void user_name(uid_t uid, char name[USER_NAME])
{
	for (size_t i = 0; i < n_kept; i++)
		if (kept[i].uid == uid) {
			memcpy(name, kept[i].name, USER_NAME);
			return;
		}
	look_up(uid, name);
	if (n_kept < KEPT) {
		kept[n_kept].uid = uid;
		memcpy(kept[n_kept++].name, name, USER_NAME);
	}
}
