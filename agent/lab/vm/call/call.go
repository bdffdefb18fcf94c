//go:build linux

// Package call is how a login on a host that stands in for another system
// reaches the machine that does the work. It links next to nothing: every
// command of every login starts it.
package call

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// Socket is where the machine waits for commands: an abstract name, of which
// each network namespace has its own (unix(7)).
const Socket = "@lvsfleet-standin"

// SFTP is the command that stands for the SFTP subsystem.
const SFTP = "lvsfleet-standin-sftp"

// refused is the exit status of what is not modelled (sim.RefusedExit).
const refused = 86

// Shell is the login shell of such a host: it has the machine run what
// follows -c, on its own standard streams, and gives the exit status.
func Shell(args []string) int {
	if len(args) != 2 || args[0] != "-c" {
		fmt.Fprintf(os.Stderr, "lvsfleet lab: a shell with %q is not modelled\n", args)
		return refused
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: Socket, Net: "unix"})
	if err != nil {
		fmt.Fprintln(os.Stderr, "lvsfleet lab:", err)
		return refused
	}
	if _, _, err := c.WriteMsgUnix([]byte(args[1]+"\x00"), syscall.UnixRights(0, 1, 2), nil); err != nil {
		fmt.Fprintln(os.Stderr, "lvsfleet lab:", err)
		return refused
	}
	var status [1]byte
	if _, err := io.ReadFull(c, status[:]); err != nil {
		fmt.Fprintln(os.Stderr, "lvsfleet lab: the machine went away:", err)
		return refused
	}
	return int(status[0])
}
