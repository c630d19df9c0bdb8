/* The shared vocabulary of all rooms: registers, a thread's snapshot, frames, stacks. Plain data, no functions
 * that allocate; includes nothing of ours. All addresses are virtual addresses of the target. */
#ifndef UNWIND_TYPES_H
#define UNWIND_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* AMD64_*, since <sys/ucontext.h> has REG_* with other numbers. x86-64 registers by their DWARF number (System
 * V psABI AMD64, figure 3.36); libunwind numbers them alike. */
enum amd64_reg {
	AMD64_RAX,
	AMD64_RDX,
	AMD64_RCX,
	AMD64_RBX,
	AMD64_RSI,
	AMD64_RDI,
	AMD64_RBP,
	AMD64_RSP,
	AMD64_R8,
	AMD64_R9,
	AMD64_R10,
	AMD64_R11,
	AMD64_R12,
	AMD64_R13,
	AMD64_R14,
	AMD64_R15,
	AMD64_RIP,
	AMD64_COUNT
};

/* A thread's registers. A thread that was read asleep, without stopping it, has only rip and rsp: `known` has
 * bit (1 << enum amd64_reg) set for each register whose value was read. */
struct regs {
	uint64_t r[AMD64_COUNT];
	uint32_t known;
};

#define REGS_ALL ((1u << AMD64_COUNT) - 1)

/* Some consecutive bytes of the target's memory: bytes[0] was at address `start`. */
struct region {
	uint64_t start;
	size_t len;
	uint8_t *bytes; /* borrowed from the sampler's arena, until its next tick */
};

enum { SNAPSHOT_REGIONS = 3 };

/* Go: the goroutine that a thread works for (m.curg): its stack's bounds, and its registers as they were saved
 * when the thread last left that stack for its own (g.sched), and the rsp with which its own begins then
 * (m.g0.sched.sp). All 0: none, or not known. */
struct goroutine {
	uint64_t lo, hi;
	uint64_t sp, pc, bp;
	uint64_t system_sp;
};

/* What is taken of one thread at one instant. region[0] starts at (or just below) rsp. The others have len 0
 * unless the thread has more stacks than one: its ordinary stack when it was interrupted on an alternate signal
 * stack (sigaltstack(2)); in Go the goroutine's and the thread's own. */
struct snapshot {
	pid_t tid;
	struct regs regs;
	struct region region[SNAPSHOT_REGIONS];
	struct goroutine goroutine;
};

/* No mapping: a pc that lies in no executable mapping known. */
#define MAPPING_NONE UINT32_MAX

/* One frame. A caller's frame holds a return address, which may be the first byte of another line or function:
 * look up `pc - is_return`. The leaf and the frame interrupted by a signal hold the exact pc. `mapping` is the
 * id that space_find() gave when the stack was walked: it stays right after dlclose and exec. */
struct frame {
	uint64_t pc;
	uint32_t mapping;
	bool is_return;
};

/* Why a walk ended. Only STOP_ROOT means a complete stack. */
enum stop {
	STOP_ROOT, /* the thread's first frame was reached */
	STOP_NO_INFO, /* no unwind information for a pc */
	STOP_NO_MAPPING, /* a pc outside every executable mapping */
	STOP_COPY_END, /* the stack goes on beyond the bytes that were copied */
	STOP_BAD_FRAME, /* unwind information that leads nowhere: no progress, unreadable address */
	STOP_NO_REGISTER, /* a register is needed that could not be read without stopping the thread */
	STOP_THROWN, /* an exception is putting other registers and return addresses over those of the stack */
	STOP_BUDGET, /* the walk's budget of frames or memory accesses ran out */
	STOP_KINDS
};

/* A stack, leaf first. When it has more than the wanted number of frames, both ends are kept: `gap_frames`
 * frames are missing in front of v[gap_at] (0 when none is missing). */
struct stack {
	struct frame *v;
	size_t n, cap;
	size_t gap_at, gap_frames;
	enum stop why;
	bool guessed; /* some frame was found by a heuristic, not by unwind information */
};

#endif
