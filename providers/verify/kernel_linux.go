package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// local gives the running kernel's Dialer where h is this machine.
func local(h host.Host) (Dialer, bool) {
	if _, ok := host.As[*host.Local](h); ok {
		return kernel{}, true
	}
	return nil, false
}

// A kernel connects from the network namespace of the calling thread.
type kernel struct{}

// Dial is one socket from its making to its close, on the calling thread.
func (kernel) Dial(ctx context.Context, d Dial) (Answer, error) {
	ears, err := listenICMP(d)
	if err != nil {
		return Answer{}, err
	}
	defer unix.Close(ears)
	s, err := open(d)
	if err != nil {
		return Answer{}, err
	}
	defer unix.Close(s.fd)
	a, err := s.run(ctx, d)
	if err == nil && a.Kind == Refused && d.Protocol == "tcp" && s.unreachable(ears, d) {
		return Answer{Kind: Unreachable, Text: "an ICMP message says that it cannot be reached"}, nil
	}
	return a, err
}

// listenICMP hears ICMP messages. To a connection that is under way an ICMP
// port unreachable looks like a reset (icmp_err_convert in icmp.c), and that
// is what a Linux real server says, through IPVS, of a wrapped packet that no
// tunnel of its takes (tunnel4.c): no proof, but the opposite of one.
func listenICMP(d Dial) (int, error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if d.To.Addr().Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1, fmt.Errorf("open a socket of ICMP: %w", err)
	}
	return fd, nil
}

// unreachable says whether one of the ICMP messages that came is of this
// connection.
func (s *sock) unreachable(ears int, d Dial) bool {
	from, err := unix.Getsockname(s.fd)
	if err != nil {
		return false
	}
	port := 0
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		port = a.Port
	case *unix.SockaddrInet6:
		port = a.Port
	}
	buf := make([]byte, 2048)
	for {
		n, _, err := unix.Recvfrom(ears, buf, 0)
		if err != nil {
			return false
		}
		if quotes(buf[:n], uint16(port), d.To) {
			return true
		}
	}
}

// A sock is a socket that never blocks.
type sock struct {
	fd    int
	until time.Time
}

// open makes the socket, with the mark before anything can leave by it.
func open(d Dial) (*sock, error) {
	kinds := map[string][2]int{
		"tcp":  {unix.SOCK_STREAM, unix.IPPROTO_TCP},
		"udp":  {unix.SOCK_DGRAM, unix.IPPROTO_UDP},
		"sctp": {unix.SOCK_STREAM, unix.IPPROTO_SCTP},
	}
	kind, ok := kinds[d.Protocol]
	if !ok {
		return nil, fmt.Errorf("connect by %q: no such protocol", d.Protocol)
	}
	family := unix.AF_INET
	if d.To.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, kind[0]|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, kind[1])
	if err != nil {
		return nil, fmt.Errorf("open a socket of %s: %w", d.Protocol, err)
	}
	s := &sock{fd: fd, until: time.Now().Add(d.Timeout)}
	if err := s.prepare(d); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return s, nil
}

func (s *sock) prepare(d Dial) error {
	if d.Mark != 0 {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_MARK, int(d.Mark)); err != nil {
			return fmt.Errorf("mark the socket: %w", err)
		}
	}
	if d.Protocol == "udp" {
		// An ICMP error counts even while the socket waits for more.
		level, name := unix.IPPROTO_IP, unix.IP_RECVERR
		if d.To.Addr().Is6() {
			level, name = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
		}
		if err := unix.SetsockoptInt(s.fd, level, name, 1); err != nil {
			return fmt.Errorf("ask for ICMP errors: %w", err)
		}
	}
	if d.From.IsValid() {
		if err := unix.Bind(s.fd, sockaddr(netip.AddrPortFrom(d.From, 0))); err != nil {
			return fmt.Errorf("bind to %s: %w", d.From, err)
		}
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

func (s *sock) run(ctx context.Context, d Dial) (Answer, error) {
	err := unix.Connect(s.fd, sockaddr(d.To))
	if errors.Is(err, unix.EINPROGRESS) {
		ready, perr := s.wait(ctx, unix.POLLOUT)
		if perr != nil {
			return Answer{}, perr
		}
		if !ready {
			return Answer{Kind: Silent}, nil
		}
		err = s.pending()
	}
	if err != nil {
		return refusal(err, "connect to", d)
	}
	if d.Protocol != "udp" && d.Send == "" && d.Expect == "" {
		return Answer{Kind: Accepted}, nil
	}
	return s.exchange(ctx, d)
}

// udpEvery is how long a datagram may be under way before it is sent again.
const udpEvery = time.Second

// exchange sends, and reads until what is expected has come.
func (s *sock) exchange(ctx context.Context, d Dial) (Answer, error) {
	var got []byte
	buf := make([]byte, 64<<10)
	sent := time.Time{}
	for {
		if sent.IsZero() || d.Protocol == "udp" && len(got) == 0 && time.Since(sent) >= udpEvery {
			if err := unix.Send(s.fd, []byte(d.Send), unix.MSG_NOSIGNAL); err != nil && !errors.Is(err, unix.EAGAIN) {
				return refusal(err, "send to", d)
			}
			sent = time.Now()
		}
		limit := s.until
		if next := sent.Add(udpEvery); d.Protocol == "udp" && len(got) == 0 && next.Before(limit) {
			limit = next
		}
		ready, err := (&sock{s.fd, limit}).wait(ctx, unix.POLLIN)
		if err != nil {
			return Answer{}, err
		}
		if !ready {
			switch {
			case time.Now().Before(s.until):
				continue
			case len(got) > 0:
				return Answer{Kind: Wrong, Text: clip(got)}, nil
			}
			return Answer{Kind: Silent}, nil
		}
		n, _, err := unix.Recvfrom(s.fd, buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return refusal(err, "receive from", d)
		case n == 0 && d.Protocol != "udp":
			if len(got) == 0 && d.Expect == "" {
				return Answer{Kind: Accepted}, nil // it has nothing to say
			}
			return Answer{Kind: Wrong, Text: clip(got)}, nil
		}
		if d.Protocol == "udp" {
			got = got[:0] // each datagram is an answer of its own
		}
		got = append(got, buf[:n]...)
		if bytes.Contains(got, []byte(d.Expect)) {
			return Answer{Kind: Accepted}, nil
		}
		if len(got) > 1<<20 {
			return Answer{Kind: Wrong, Text: clip(got)}, nil
		}
	}
}

func clip(b []byte) string {
	const most = 100
	if len(b) > most {
		return fmt.Sprintf("%q...", b[:most])
	}
	return fmt.Sprintf("%q", b)
}

// wait waits for events; false: the time is up.
func (s *sock) wait(ctx context.Context, events int16) (bool, error) {
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		left := time.Until(s.until)
		if left <= 0 {
			return false, nil
		}
		// In slices, so that an end of ctx is seen.
		fds := []unix.PollFd{{Fd: int32(s.fd), Events: events}}
		n, err := unix.Poll(fds, int(min(left, 100*time.Millisecond).Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, fmt.Errorf("wait for an answer: %w", err)
		}
		if n > 0 {
			return true, nil
		}
	}
}

// pending is how a connection that was under way has ended.
func (s *sock) pending() error {
	n, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if n != 0 {
		return unix.Errno(n)
	}
	return nil
}

// refusal sorts errors into answers of others and troubles of this machine.
func refusal(err error, verb string, d Dial) (Answer, error) {
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ECONNRESET):
		return Answer{Kind: Refused}, nil
	case errors.Is(err, unix.ETIMEDOUT):
		return Answer{Kind: Silent}, nil
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTDOWN), errors.Is(err, unix.ENOPROTOOPT):
		return Answer{Kind: Unreachable, Text: err.Error()}, nil
	}
	return Answer{}, fmt.Errorf("%s %s by %s: %w", verb, d.To, d.Protocol, err)
}
