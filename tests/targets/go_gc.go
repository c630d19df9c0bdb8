// Goroutines that allocate all the time, so that much of the work is done on the threads' own stacks: main.churn calls main.build,
// which calls itself and the allocator.
package main

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

func init() {
	// PR_SET_PDEATHSIG, SIGKILL: init runs on the main thread, which stays.
	syscall.RawSyscall(syscall.SYS_PRCTL, 1, 9, 0)
}

type tree struct {
	left, right *tree
	name        string
	when        time.Time
}

//go:noinline
func build(depth int) *tree {
	t := &tree{name: fmt.Sprint(depth), when: time.Now()}
	if depth > 0 {
		t.left, t.right = build(depth-1), build(depth-1)
	}
	return t
}

//go:noinline
func churn(kept **tree) {
	for {
		*kept = build(10)
	}
}

var kept [2]*tree

func main() {
	for i := range kept {
		go churn(&kept[i])
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}
