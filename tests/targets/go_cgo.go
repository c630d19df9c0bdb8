// Go that calls C (main.viaC, c_middle, c_leaf), and C that calls Go back (main.viaBoth, c_calls_go, main.goBack, main.burn).
package main

/*
#include <stdint.h>

static __attribute__((noinline)) uint64_t c_leaf(uint64_t x)
{
	for (int i = 0; i < 100000; i++)
		x = x * 31 + 7 + (x >> 3);
	return x;
}

static __attribute__((noinline)) uint64_t c_middle(uint64_t x)
{
	return c_leaf(x) + 1;
}

extern uint64_t goBack(uint64_t);

static __attribute__((noinline)) uint64_t c_calls_go(uint64_t x)
{
	return goBack(x) + 1;
}
*/
import "C"

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

func init() {
	// PR_SET_PDEATHSIG, SIGKILL: init runs on the main thread, which stays.
	syscall.RawSyscall(syscall.SYS_PRCTL, 1, 9, 0)
}

//go:noinline
func burn(x uint64, n int) uint64 {
	for i := 0; i < n; i++ {
		x = x*31 + 7 + (x >> 3)
	}
	return x
}

//export goBack
func goBack(x C.uint64_t) C.uint64_t {
	return C.uint64_t(burn(uint64(x), 100000)) ^ 1
}

//go:noinline
func viaC(x uint64) uint64 {
	return uint64(C.c_middle(C.uint64_t(x))) + 1
}

//go:noinline
func viaBoth(x uint64) uint64 {
	return uint64(C.c_calls_go(C.uint64_t(x))) + 1
}

func main() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println("ready")
	x := uint64(1)
	for {
		x = viaBoth(viaC(x))
	}
}
