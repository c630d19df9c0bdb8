// A Go program with symbols: one goroutine burns in main.burn, another allocates, so that the collector runs too.
package main

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
func burn(x uint64, steps int) uint64 {
	for i := 0; i < steps; i++ {
		x = (x^(x>>13))*0x9e3779b97f4a7c15 + uint64(i)
	}
	return x
}

//go:noinline
func compute(x uint64) uint64 {
	return burn(x, 200000) ^ 1
}

type node struct {
	next *node
	data [64]byte
}

//go:noinline
func grow(n int) *node {
	var list *node
	for i := 0; i < n; i++ {
		list = &node{next: list}
	}
	return list
}

var kept *node

func allocate(pause chan struct{}) {
	for range pause {
		kept = grow(20000)
	}
}

func main() {
	pause := make(chan struct{})
	go allocate(pause)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println("ready")
	x := uint64(1)
	for {
		for i := 0; i < 20; i++ {
			x = compute(x)
		}
		pause <- struct{}{}
	}
}
