/* One error message. Fallible calls return 0, or -1 and fill the `struct error *err` they were given (last
 * argument, never NULL); the message is complete, names the remedy where there is one, and has no newline.
 * Outputs are untouched on failure. */
#ifndef UNWIND_ERROR_H
#define UNWIND_ERROR_H

struct error {
	char message[1024];
};

/* Formats the message (printf(3)) and returns -1, so that `return error_set(err, ...)` reads as what it is. */
int error_set(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
