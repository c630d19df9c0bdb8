/* Names of the x86-64 system calls, made from <asm/unistd_64.h> when the program is built. */
#ifndef ATTACH_SYSCALLS_H
#define ATTACH_SYSCALLS_H

/* "epoll_wait" for 232; NULL when the number is not known. Static storage. */
const char *syscall_name(long number);

#endif
