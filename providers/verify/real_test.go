//go:build linux

package verify

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// realKernel says whether proofs can be tried on the kernel that runs the
// test. Where LVSFLEET_REAL_KERNEL is set they must be: in a virtual machine
// whose kernel has ip_vs and ipip, as root.
func realKernel(t *testing.T) bool {
	t.Helper()
	why := ""
	_ = exec.Command("modprobe", "-a", "ip_vs", "ip_vs_wlc", "ipip", "veth").Run()
	if _, err := os.Stat("/proc/net/ip_vs"); err != nil {
		why = "NOT RUN: this kernel has no ip_vs"
	} else if os.Geteuid() != 0 {
		why = "NOT RUN: only root makes network namespaces"
	}
	if why == "" {
		return true
	}
	if os.Getenv("LVSFLEET_REAL_KERNEL") != "" {
		t.Fatal(why)
	}
	t.Log(why)
	return false
}

// A spot is a machine of one thread, in a network namespace of its own.
type spot struct {
	t  *testing.T
	do chan func()
	fd int
}

func newSpot(t *testing.T) *spot {
	t.Helper()
	s := &spot{t: t, do: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			s.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		ready <- err
		for f := range s.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { close(s.do); _ = unix.Close(s.fd) })
	return s
}

// in runs f on the machine's thread.
func (s *spot) in(f func() error) {
	s.t.Helper()
	done := make(chan error, 1)
	s.do <- func() { done <- f() }
	if err := <-done; err != nil {
		s.t.Fatal(err)
	}
}

// run runs a command there: a child has the namespace of the thread that
// starts it.
func (s *spot) run(lines ...string) {
	s.t.Helper()
	s.in(func() error {
		for _, line := range lines {
			if out, err := exec.Command("/bin/sh", "-c", line).CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", line, err, out)
			}
		}
		return nil
	})
}

// settings are those of the director that a proof touches.
func (s *spot) settings() (text string) {
	s.in(func() error {
		data, err := os.ReadFile("/proc/sys/net/ipv4/conf/d0/accept_local")
		if err != nil {
			return err
		}
		table, err := os.ReadFile("/proc/net/ip_vs")
		text = string(data) + string(table)
		return err
	})
	return text
}

// TestProofOnTheRunningKernel proves real paths: a director and a real server
// in namespaces with a cable between them, by every method, with the VIP on
// the director and without.
func TestProofOnTheRunningKernel(t *testing.T) {
	if !realKernel(t) {
		return
	}
	vip, rip, dip := netip.MustParseAddr("10.9.0.100"), netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("10.9.0.1")
	for _, method := range []ipvs.Method{ipvs.NAT, ipvs.DR, ipvs.TUN} {
		for _, held := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, VIP held %v", method, held), func(t *testing.T) {
				dir, rs := newSpot(t), newSpot(t)
				dir.in(func() error {
					return netlink.LinkAdd(&netlink.Veth{
						LinkAttrs: netlink.LinkAttrs{Name: "d0"}, PeerName: "r0", PeerNamespace: netlink.NsFd(rs.fd),
					})
				})
				dir.run("ip link set lo up", "ip link set d0 up", "ip addr add 10.9.0.1/24 dev d0", "ip route add default via 10.9.0.254")
				if held {
					dir.run("ip addr add 10.9.0.100/32 dev d0")
				}
				rs.run("ip link set lo up", "ip link set r0 up", "ip addr add 10.9.0.2/24 dev r0", "ip route add default via 10.9.0.1",
					"echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore")
				broken := "ip addr del 10.9.0.100/32 dev lo"
				switch method {
				case ipvs.DR:
					rs.run("ip addr add 10.9.0.100/32 dev lo")
				case ipvs.TUN:
					rs.run("ip link set tunl0 up", "ip addr add 10.9.0.100/32 dev tunl0", "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter", "echo 0 > /proc/sys/net/ipv4/conf/tunl0/rp_filter")
					broken = "ip link set tunl0 down"
				case ipvs.NAT:
					broken = "ip link set r0 down"
				}
				var server net.Listener
				rs.in(func() (err error) {
					server, err = net.Listen("tcp4", "0.0.0.0:80")
					return err
				})
				t.Cleanup(func() { _ = server.Close() })
				go func() {
					for {
						c, err := server.Accept()
						if err != nil {
							return
						}
						_ = c.Close()
					}
				}()
				c := Check{
					Kind: Path, Addr: vip, Port: 80, Protocol: "tcp", Source: dip, SourceDev: "d0",
					Real: ipvs.DestKey{Addr: rip, Port: 80}, Method: method, Scheduler: "wlc",
				}
				before := dir.settings()
				expect := func(what string, status Status, words string) {
					t.Helper()
					r := dir.prove(c)
					if r.Status != status || !strings.Contains(r.Detail, words) {
						t.Errorf("%s: %s, %s", what, r.Status, r.Detail)
					}
					if after := dir.settings(); after != before {
						t.Errorf("%s: it left\n%s\nof\n%s", what, after, before)
					}
				}
				expect("whole", Proven, "is answered")
				_ = server.Close()
				expect("nobody listens", Proven, "is refused")
				rs.run(broken)
				expect("broken", Broken, "10.9.0.100:80 by ")
			})
		}
	}
}

// prove does what an engine does, without its journal.
func (s *spot) prove(c Check) (r Result) {
	s.t.Helper()
	s.in(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		h := &host.Local{}
		plan, err := PlanProof(ctx, h, []Check{c})
		if err != nil {
			return err
		}
		if r = plan.Results[0]; r.Status != "" {
			return nil
		}
		var undo []step.Op
		defer func() {
			for _, op := range undo {
				if err := op.Do(ctx, h); err != nil {
					s.t.Errorf("undo: %v", err)
				}
			}
		}()
		for _, st := range plan.Steps {
			undo = append(append([]step.Op(nil), st.Change.Undo...), undo...)
			for _, op := range st.Change.Do {
				if err := op.Do(ctx, h); err != nil {
					return err
				}
			}
		}
		d, ok := DialerOf(h)
		if !ok {
			return fmt.Errorf("this machine cannot connect")
		}
		r = plan.Try(ctx, d, 0)
		return nil
	})
	return r
}
