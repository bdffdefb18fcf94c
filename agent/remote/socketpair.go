package remote

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// socketPair gives two ends of one connection, the far one for a child.
func socketPair() (here net.Conn, there *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	near := os.NewFile(uintptr(fds[0]), "proxy")
	there = os.NewFile(uintptr(fds[1]), "proxy")
	here, err = net.FileConn(near)
	_ = near.Close() // FileConn has its own copy
	if err != nil {
		_ = there.Close()
		return nil, nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	return here, there, nil
}
