package verify

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// inNamespace runs f on a thread of its own, in a network namespace with
// nothing but a loopback, and a black hole at 192.0.2.0/24.
func inNamespace(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("make a network namespace: %w", err)
			}
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			if err := netlink.LinkSetUp(lo); err != nil {
				return err
			}
			hole := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "hole"}, PeerName: "deep"}
			if err := netlink.LinkAdd(hole); err != nil {
				return fmt.Errorf("make a pair of devices: %w", err)
			}
			addr, err := netlink.ParseAddr("192.0.2.1/24")
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(hole, addr); err != nil {
				return err
			}
			for _, name := range []string{"hole", "deep"} {
				link, err := netlink.LinkByName(name)
				if err != nil {
					return err
				}
				if err := netlink.LinkSetUp(link); err != nil {
					return err
				}
			}
			return f()
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// privileged says whether the test may make namespaces. Where CI cannot, that
// is a failure.
func privileged(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() == 0 {
		return true
	}
	const why = "NOT RUN: connections are tried in network namespaces, and only root makes those"
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Log(why)
	return false
}

// listenTCP listens in the calling thread's namespace: a socket stays where it
// was made, whichever thread uses it.
func listenTCP() (int, func(), error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, func() { _ = l.Close() }, nil
}

func listenUDP(answer string) (int, func(), error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, nil, err
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFromUDP(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDP(append([]byte(answer), buf[:n]...), from)
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).Port, func() { _ = c.Close() }, nil
}

func TestDial(t *testing.T) {
	if !privileged(t) {
		return
	}
	d, ok := DialerOf(&host.Local{})
	if !ok {
		t.Fatal("this machine cannot connect")
	}
	inNamespace(t, func() error {
		tcp, stop, err := listenTCP()
		if err != nil {
			return err
		}
		defer stop()
		udp, stop, err := listenUDP("pong ")
		if err != nil {
			return err
		}
		defer stop()
		here, hole := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.9")
		for name, c := range map[string]struct {
			dial Dial
			want AnswerKind
		}{
			"accepted":            {Dial{Protocol: "tcp", To: netip.AddrPortFrom(here, uint16(tcp))}, Accepted},
			"from a source":       {Dial{Protocol: "tcp", From: netip.MustParseAddr("127.0.0.2"), To: netip.AddrPortFrom(here, uint16(tcp)), Mark: firstMark}, Accepted},
			"refused":             {Dial{Protocol: "tcp", To: netip.AddrPortFrom(here, 1)}, Refused},
			"silent":              {Dial{Protocol: "tcp", To: netip.AddrPortFrom(hole, 80)}, Silent},
			"no route":            {Dial{Protocol: "tcp", To: netip.MustParseAddrPort("198.51.100.1:80")}, Unreachable},
			"a datagram":          {Dial{Protocol: "udp", To: netip.AddrPortFrom(here, uint16(udp)), Send: "ping", Expect: "pong ping"}, Accepted},
			"any datagram":        {Dial{Protocol: "udp", To: netip.AddrPortFrom(here, uint16(udp)), Send: "ping"}, Accepted},
			"another datagram":    {Dial{Protocol: "udp", To: netip.AddrPortFrom(here, uint16(udp)), Send: "ping", Expect: "pang"}, Wrong},
			"a refused datagram":  {Dial{Protocol: "udp", To: netip.AddrPortFrom(here, 1), Send: "ping"}, Refused},
			"a lost datagram":     {Dial{Protocol: "udp", To: netip.AddrPortFrom(hole, 53), Send: "ping"}, Silent},
			"closed unexpectedly": {Dial{Protocol: "tcp", To: netip.AddrPortFrom(here, uint16(tcp)), Expect: "hello"}, Wrong},
		} {
			c.dial.Timeout = 400 * time.Millisecond
			got, err := d.Dial(context.Background(), c.dial)
			if err != nil || got.Kind != c.want {
				t.Errorf("%s: %+v, %v; want %s", name, got, err, c.want)
			}
		}
		if _, err := d.Dial(context.Background(), Dial{Protocol: "tcp", From: hole, To: netip.AddrPortFrom(here, uint16(tcp)), Timeout: time.Second}); err == nil {
			t.Error("connected from an address that is not here")
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := d.Dial(ctx, Dial{Protocol: "tcp", To: netip.AddrPortFrom(hole, 80), Timeout: time.Minute}); err == nil {
			t.Error("an end was not heeded")
		}
		return nil
	})
}
