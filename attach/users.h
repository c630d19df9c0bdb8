/* Names of users, from /etc/passwd alone: what other services know (nsswitch.conf(5)) would have to be loaded
 * as code, and is shown as a number. */
#ifndef ATTACH_USERS_H
#define ATTACH_USERS_H

#include <sys/types.h>

enum { USER_NAME = 32 };

/* The user's name as printable text, or the number. Remembers what it has found; for a single thread. */
void user_name(uid_t uid, char name[USER_NAME]);

#endif
