//go:build linux

// Command shell is root's login shell on a host of the lab's virtual machine
// that stands in for another system.
package main

import (
	"os"

	"github.com/lvsfleet/lvsfleet/agent/lab/vm/call"
)

func main() { os.Exit(call.Shell(os.Args[1:])) }
