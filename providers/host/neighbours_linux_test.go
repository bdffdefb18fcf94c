package host

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
)

// A cable is two network namespaces with a pair of Ethernet devices between
// them: "here", in which each function of the test runs, and "there".
type cable struct {
	here, there chan func()
	mac         string // of there's end
}

// namespace runs functions on a thread of its own, in a network namespace that
// ends with the thread.
func namespace(t *testing.T) (do chan func(), fd int) {
	t.Helper()
	do = make(chan func())
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		ready <- err
		for f := range do {
			f()
		}
	}()
	err := <-ready
	t.Cleanup(func() { close(do) })
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return do, fd
}

// in runs f in a namespace, and hands on its failure.
func in(t *testing.T, do chan func(), f func() error) {
	t.Helper()
	done := make(chan error, 1)
	do <- func() { done <- f() }
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func plug(t *testing.T) *cable {
	t.Helper()
	c := &cable{}
	c.here, _ = namespace(t)
	var fd int
	c.there, fd = namespace(t)
	in(t, c.here, func() error {
		err := netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "here"}, PeerName: "there", PeerNamespace: netlink.NsFd(fd),
		})
		if err != nil {
			return fmt.Errorf("make a pair of devices: %w", err)
		}
		return up("here", "192.168.0.1/24", "2001:db8::1/64")
	})
	in(t, c.there, func() error {
		card, err := net.InterfaceByName("there")
		if err != nil {
			return err
		}
		c.mac = card.HardwareAddr.String()
		return up("there", "192.168.0.2/24", "2001:db8::2/64")
	})
	in(t, c.there, func() error { return up("lo") })
	return c
}

// up brings a device up and gives it addresses that are used at once.
func up(dev string, addrs ...string) error {
	link, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	for _, a := range addrs {
		if err := hold(dev, a); err != nil {
			return err
		}
	}
	return nil
}

func hold(dev, addr string) error {
	link, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(addr)
	if err != nil {
		return err
	}
	a.Flags = unix.IFA_F_NODAD
	if err := netlink.AddrAdd(link, a); err != nil {
		return fmt.Errorf("add %s to %s: %w", addr, dev, err)
	}
	return nil
}

// privileged says whether the test may make namespaces. Where CI cannot, that
// is a failure.
func privileged(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() == 0 {
		return true
	}
	const why = "NOT RUN: neighbours are tried in network namespaces, and only root makes those"
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Log(why)
	return false
}

func TestProbeOnALink(t *testing.T) {
	if !privileged(t) {
		return
	}
	c := plug(t)
	probe := func(addr string) (who string) {
		t.Helper()
		in(t, c.here, func() (err error) {
			who, err = (&Local{}).Probe(context.Background(), "here", netip.MustParseAddr(addr))
			return err
		})
		return who
	}
	for _, vip := range []string{"192.168.0.200", "2001:db8::200"} {
		if who := probe(vip); who != "" {
			t.Errorf("%s is nobody's, and %s answers", vip, who)
		}
		bits := map[bool]string{true: "/32", false: "/128"}[netip.MustParseAddr(vip).Is4()]
		in(t, c.there, func() error { return hold("there", vip+bits) })
		if who := probe(vip); who != c.mac {
			t.Errorf("%s: %q answers, want %s", vip, who, c.mac)
		}
	}
	// A VIP on the loopback answers on every card, until it is silenced.
	in(t, c.there, func() error { return hold("lo", "192.168.0.201/32") })
	if who := probe("192.168.0.201"); who != c.mac {
		t.Errorf("a VIP on lo: %q answers, want %s", who, c.mac)
	}
	in(t, c.there, func() error {
		return os.WriteFile("/proc/sys/net/ipv4/conf/all/arp_ignore", []byte("1"), 0o644)
	})
	if who := probe("192.168.0.201"); who != "" {
		t.Errorf("a silenced VIP: %s answers", who)
	}
	if who := probe("192.168.0.1"); who != "" {
		t.Errorf("an address of this machine's own: %s answers", who)
	}
}

// TestAnnounceOnALink: who remembers another machine for the VIP learns better.
func TestAnnounceOnALink(t *testing.T) {
	if !privileged(t) {
		return
	}
	c := plug(t)
	for _, vip := range []string{"192.168.0.200/32", "2001:db8::200/128"} {
		addr := netip.MustParsePrefix(vip).Addr()
		old := net.HardwareAddr{2, 0, 0, 0, 0, 9}
		in(t, c.there, func() error {
			link, err := netlink.LinkByName("there")
			if err != nil {
				return err
			}
			return netlink.NeighSet(&netlink.Neigh{
				LinkIndex: link.Attrs().Index, IP: addr.AsSlice(), HardwareAddr: old, State: netlink.NUD_STALE,
			})
		})
		var own string
		in(t, c.here, func() error {
			card, err := net.InterfaceByName("here")
			if err != nil {
				return err
			}
			own = card.HardwareAddr.String()
			if err := hold("here", vip); err != nil {
				return err
			}
			return (&Local{}).Announce(context.Background(), "here", addr)
		})
		now := ""
		for deadline := time.Now().Add(5 * time.Second); now != own && time.Now().Before(deadline); {
			in(t, c.there, func() error {
				list, err := netlink.NeighList(0, 0)
				for _, n := range list {
					if a, _ := netip.AddrFromSlice(n.IP); a.Unmap() == addr {
						now = n.HardwareAddr.String()
					}
				}
				return err
			})
		}
		if now != own {
			t.Errorf("%s is remembered at %s, want %s", addr, now, own)
		}
	}
}

func TestNeighboursNowhere(t *testing.T) {
	ctx, l := context.Background(), &Local{}
	if _, err := l.Probe(ctx, "none-such0", testVIP); err == nil {
		t.Error("a device that is not there was asked")
	}
	if err := l.Announce(ctx, "none-such0", testVIP); err == nil {
		t.Error("a device that is not there was told")
	}
	if who, err := l.Probe(ctx, "lo", testVIP); who != "" || err != nil {
		t.Errorf("the loopback has neighbours: %q, %v", who, err)
	}
	if err := l.Announce(ctx, "lo", testVIP6); err != nil {
		t.Error(err)
	}
	if _, ok := As[Neighbours](l); !ok {
		t.Error("this machine cannot ask its neighbours")
	}
}
