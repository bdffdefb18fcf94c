package kernel

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// nobody tells nothing: what is left to it is an error.
type nobody struct{}

func (nobody) Addrs(context.Context, bool) ([]Addr, error)     { return nil, os.ErrInvalid }
func (nobody) Links(context.Context) ([]Link, error)           { return nil, os.ErrInvalid }
func (nobody) Defaults(context.Context, bool) ([]Route, error) { return nil, os.ErrInvalid }
func (nobody) Tunnels(context.Context) ([]Tunnel, error)       { return nil, os.ErrInvalid }

// By netlink and by ip(8) the same is read, of a machine that grows step by
// step; what netlink leaves to ip is said. The VM lab asks a kernel that has
// tunnels.
func TestNetlinkReadsWhatIpPrints(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("NOT RUN: a network namespace wants root")
		}
		t.Skip("NOT RUN: a network namespace wants root")
	}
	prog, err := exec.LookPath("ip")
	if err != nil {
		t.Fatal("NOT RUN: there is no ip(8)")
	}
	runtime.LockOSThread() // the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	text := func(argv []string) string {
		out, err := exec.Command(prog, argv[1:]...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	k := onMachine(nobody{})
	for _, s := range []struct {
		do   string // of ip(8); several, separated by ";"
		left bool   // the default routes are ip's to tell from now on
		back string // takes the step back
	}{
		{do: "link set lo up"},
		{do: "addr add 192.0.2.200/32 dev lo label lo:1; addr add 192.0.2.201/32 dev lo; addr add 192.0.2.202/32 dev lo scope host"},
		{do: "-6 addr add 2001:db8::200/128 dev lo nodad; -6 addr add 2001:db8::201/128 dev lo nodad preferred_lft 0"},
		{do: "link add veth0 type veth peer name veth1; link set veth0 addrgenmode none; link set veth1 addrgenmode none"},
		{do: "link add br0 type bridge; link set br0 addrgenmode none; link set veth1 master br0; link set br0 up; link set veth1 up"},
		{do: "link set veth0 mtu 1400 txqueuelen 7 multicast off alias uplink"},
		{do: "addr add 10.0.0.1/24 brd + dev veth0; addr add 10.0.0.2/24 brd + dev veth0 label veth0:1"},
		{do: "addr add 10.9.0.1 peer 10.9.0.2/32 dev veth0; addr add 10.7.0.1/24 dev veth0 scope link"},
		{do: "addr add 10.6.0.1/24 dev veth0 valid_lft 3600 preferred_lft 1800"},
		{do: "link set veth0 up"},
		{do: "-6 addr add fd00::1/64 dev veth0 nodad"},
		{do: "route add default via 10.0.0.254; route add default via 10.0.0.253 metric 100 src 10.0.0.2"},
		{do: "route add default via 10.1.1.1 dev veth0 onlink metric 200; route add default dev veth0 scope link metric 300 proto dhcp"},
		{do: "route add 10.20.0.0/16 via 10.0.0.254 proto static; route add 0.0.0.0/1 via 10.0.0.254; route add unreachable 10.23.0.0/16"},
		{do: "route add default via 10.0.0.252 table 7; rule add from 10.0.0.2 lookup 7"},
		{do: "link set veth1 down"}, // routes of a link without carrier
		{do: "link set veth1 up"},
		{do: "link property add dev veth0 altname other0"},
		{do: "link add tun5 type ipip local 10.0.0.1 remote 10.0.0.9; link set tun5 up; link set tunl0 up"}, // where the kernel has it
		{do: "route add default metric 400 nexthop via 10.0.0.254 nexthop via 10.0.0.253", left: true, back: "route del default metric 400"},
		{do: "route add default via 10.0.0.254 metric 401 mtu 1300", left: true, back: "route del default metric 401"},
		{do: "route add default via 10.0.0.254 metric 402 proto 99", left: true, back: "route del default metric 402"},
		{do: "link del veth0"},
	} {
		ip := func(line string) {
			for part := range strings.SplitSeq(line, ";") {
				if part = strings.TrimSpace(part); part == "" {
					continue
				}
				if out, err := exec.Command(prog, strings.Fields(part)...).CombinedOutput(); err != nil {
					t.Logf("ip %s: %v: %s", part, err, out)
				}
			}
		}
		ip(s.do)
		ctx := t.Context()
		// A carrier comes and goes by itself, some time after what it depends
		// on: what changes meanwhile is asked again.
		compare := func(what string, left bool, argv []string, parse func(string) (any, error), read func() (any, error)) {
			var want, got any
			var err error
			for range 100 {
				before := text(argv)
				got, err = read()
				printed := text(argv)
				if before != printed {
					continue
				}
				if want, err2 := parse(printed); err2 != nil {
					t.Fatal(err2)
				} else if left {
					if err == nil {
						t.Errorf("after ip %s: %s are told by netlink: %v", s.do, what, got)
					}
					return
				} else if diff := cmp.Diff(want, got, prefixes, addresses); err == nil && diff == "" {
					return
				}
			}
			want, _ = parse(text(argv))
			t.Errorf("after ip %s: %s: %v (-ip +netlink)\n%s", s.do, what, err, cmp.Diff(want, got, prefixes, addresses))
		}
		for _, v6 := range []bool{false, true} {
			compare("addresses", false, AddrShow(v6), func(s string) (any, error) { return ParseAddrs(s) }, func() (any, error) { return k.Addrs(ctx, v6) })
		}
		compare("links", false, LinkShow, func(s string) (any, error) { return ParseLinks(s) }, func() (any, error) { return k.Links(ctx) })
		compare("default routes", s.left, RouteShow(false), func(s string) (any, error) { return ParseDefaults(s) }, func() (any, error) { return k.Defaults(ctx, false) })
		compare("tunnels", false, TunnelShow, func(s string) (any, error) { return ParseTunnels(s), nil }, func() (any, error) {
			list, err := k.Tunnels(ctx)
			return list, err
		})
		ip(s.back)
	}
	// The machine itself is read by netlink, and once through a cache.
	cache := host.NewCache(&host.Local{})
	one, err := Of(cache).Links(t.Context())
	if err != nil || len(one) == 0 || one[0].Name != "lo" {
		t.Fatalf("%v, %v", one, err)
	}
	if err := exec.Command(prog, "link", "add", "later", "type", "bridge").Run(); err != nil {
		t.Fatal(err)
	}
	two, err := Of(cache).Links(t.Context())
	if diff := cmp.Diff(one, two); err != nil || diff != "" {
		t.Errorf("the cache was passed over: %v %s", err, diff)
	}
	cache.Forget()
	if two, err = Of(cache).Links(t.Context()); err != nil || len(two) != len(one)+1 {
		t.Errorf("%v, %v", two, err)
	}
}
