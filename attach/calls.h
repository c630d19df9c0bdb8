/* A system call that a thread waits in, with its arguments in words: "read(fd 7 -> /var/log/x, 0x7ffd...,
 * 4096)".
 */
#ifndef ATTACH_CALLS_H
#define ATTACH_CALLS_H

#include "attach/target.h"

enum { CALL_WIDTH = 1024 };

/* Reads what the arguments point to (times, names, lists of descriptors) from the target's memory, and what its
 * descriptors are from /proc: soon after the call was seen, since the thread goes on. What cannot be read is
 * shown as the number that it is. The text may hold any byte of a file's name. */
void call_words(const struct target *target, pid_t tid, const struct blocked *call, char text[CALL_WIDTH]);

#endif
