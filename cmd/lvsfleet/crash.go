package main

import (
	"runtime"
	"runtime/debug"
	"syscall"
)

// crashAsSignal has a crash of this program end it by SIGABRT. Go's runtime ends
// with exit status 2 otherwise, after a panic as well as without memory, and 2
// is what differs, or what is broken (exit.go). No core is written, as it would
// hold passwords and keys.
func crashAsSignal() {
	debug.SetTraceback("crash")
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_CORE, &limit) != nil {
		return
	}
	limit.Cur = 0
	if runtime.GOOS == "linux" && limit.Max > 0 {
		// Linux gives a core to the program of core_pattern whatever the limit
		// is, but for a limit of 1 (core(5), fs/coredump.c), and writes no file
		// that would be smaller than a page.
		limit.Cur = 1
	}
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &limit) // a core is for root and this user alone in any case
}
