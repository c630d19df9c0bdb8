// Profiles of its own, written by Go's runtime: go_profiles CPU_FILE HEAP_FILE. Not one to attach to.
package main

import (
	"context"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
)

type node struct {
	left, right *node
	name        string
}

var kept []*node
var sum uint64

//go:noinline
func grow(depth int) *node {
	if depth == 0 {
		return &node{name: strings.Repeat("x", 100)}
	}
	return &node{left: grow(depth - 1), right: grow(depth - 1)}
}

func mix(x uint64) uint64 { return (x ^ x>>13) * 0x9e3779b97f4a7c15 }

//go:noinline
func burn(times uint64) {
	for i := uint64(0); i < times; i++ {
		sum += mix(sum + i)
	}
}

func create(path string) *os.File {
	file, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	return file
}

func main() {
	runtime.MemProfileRate = 512
	cpu := create(os.Args[1])
	pprof.StartCPUProfile(cpu)
	for n := 0; n < 10; n++ {
		pprof.Do(context.Background(), pprof.Labels("state", "running"), func(context.Context) {
			burn(20000000) // some ticks of CPU time, however busy the machine is
		})
		kept = append(kept, grow(8))
	}
	pprof.StopCPUProfile()
	cpu.Close()
	runtime.GC()
	heap := create(os.Args[2])
	pprof.WriteHeapProfile(heap)
	heap.Close()
}
