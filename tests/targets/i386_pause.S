/* A 32-bit program without any library: prctl(PR_SET_PDEATHSIG, SIGKILL), write "ready\n", pause for ever. */
	.globl _start
_start:
	movl $172, %eax
	movl $1, %ebx
	movl $9, %ecx
	int $0x80
	movl $4, %eax
	movl $1, %ebx
	movl $ready, %ecx
	movl $6, %edx
	int $0x80
again:
	movl $29, %eax
	int $0x80
	jmp again
	.section .rodata
ready:
	.ascii "ready\n"
	.section .note.GNU-stack, "", @progbits
