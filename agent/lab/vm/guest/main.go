//go:build linux

// Command guest is everything that runs in the lab's virtual machine beside
// lvsfleet and Debian's tools: its first process, which builds the clusters
// and makes the checks, and the first process of every host in them.
package main

import (
	"fmt"
	"os"
)

func main() {
	switch {
	case os.Getpid() == 1 && len(os.Args) == 2 && os.Args[1] == "host":
		fmt.Fprintln(os.Stderr, "host:", live())
		os.Exit(1)
	case os.Getpid() == 1 && len(os.Args) >= 3 && os.Args[1] == "fleet":
		if err := fleet(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, "fleet:", err)
			os.Exit(1)
		}
	case os.Getpid() == 1:
		machine()
	default:
		fmt.Fprintln(os.Stderr, "guest: this runs in the lab's virtual machine")
		os.Exit(2)
	}
}
