package remote

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// acknowledging acknowledges what arrives at once: sshd's small packets wait
// for the acknowledgement of the one before (Nagle), up to 40 ms each.
// TCP_QUICKACK does not stay (tcp(7)), so it is set after every read.
func acknowledging(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	return &quickConn{TCPConn: tcp, raw: raw}
}

type quickConn struct {
	*net.TCPConn
	raw syscall.RawConn
}

func (c *quickConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if err == nil {
		_ = c.raw.Control(func(fd uintptr) { // a gain, no need
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
		})
	}
	return n, err
}
