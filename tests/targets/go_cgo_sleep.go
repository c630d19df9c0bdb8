// Goroutines that wait in C from the start, so that nothing ever stops their threads: main.sleeper, c_sleep.
package main

/*
#include <unistd.h>

static __attribute__((noinline)) int c_sleep(void)
{
	char byte;
	return read(0, &byte, 1) == 0 ? 1 : 2;
}
*/
import "C"

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func init() {
	// PR_SET_PDEATHSIG, SIGKILL: init runs on the main thread, which stays.
	syscall.RawSyscall(syscall.SYS_PRCTL, 1, 9, 0)
}

//go:noinline
func sleeper() int {
	return int(C.c_sleep()) + 1
}

// How many threads wait in read(0, ...): proc_pid_syscall(5).
func waiting() (n int) {
	calls, _ := filepath.Glob("/proc/self/task/*/syscall")
	for _, call := range calls {
		text, _ := os.ReadFile(call)
		if strings.HasPrefix(string(text), "0 0x0 ") {
			n++
		}
	}
	return n
}

func main() {
	for i := 0; i < 4; i++ {
		go func() {
			os.Exit(sleeper())
		}()
	}
	for waiting() < 4 {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("ready")
	select {}
}
