package solaris

import (
	"flag"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent/lab/labtest"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// machine makes a machine of an era with one card, pcn0.
func machine(era string, addrs ...string) *sim.Machine {
	card := inventory.Interface{Device: "pcn0"}
	if len(addrs) == 0 {
		addrs = []string{"192.168.0.180/24"}
	}
	for _, a := range addrs {
		card.Addresses = append(card.Addresses, netip.MustParsePrefix(a))
	}
	spec := sim.Spec{Name: "rs180", OS: inventory.Solaris, Release: "5.10", Interfaces: []inventory.Interface{card}}
	if era == "illumos" {
		spec.Release, spec.Illumos = "5.11", true
	}
	return New(spec)
}

func TestTranscripts(t *testing.T) {
	labtest.Transcripts(t, *update, func(era string) *sim.Machine { return machine(era) })
}

// A boot leaves nothing behind that would change the next one.
func TestSecondBootIsTheSame(t *testing.T) {
	for _, era := range []string{"solaris10", "illumos"} {
		m := machine(era, "192.168.0.180/24", "192.168.1.180/24", "10.0.0.1/8")
		first := state(m)
		m.Reboot()
		if d := cmp.Diff(first, state(m)); d != "" {
			t.Errorf("%s (-first +second):\n%s", era, d)
		}
	}
}

// With a base tree in the place of /etc the machine boots from that alone.
func TestBase(t *testing.T) {
	spec := sim.Spec{
		Name: "rs180", OS: inventory.Solaris, Release: "5.10",
		Interfaces: []inventory.Interface{{Device: "pcn0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.0.180/24")}}},
		Base: map[string]host.File{
			"/etc/hostname.pcn0": {Mode: 0o644, Data: []byte("10.1.2.3/16\n")},
			"/etc/nodename":      {Mode: 0o644, Data: []byte("x\n")},
		},
	}
	got := labtest.Shell(New(spec), "ifconfig pcn0\nls /etc")
	want := "$ ifconfig pcn0\npcn0: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 2\n" +
		"\tinet 10.1.2.3 netmask ffff0000 broadcast 10.1.255.255\n\tether 2:0:c0:a8:0:b4 \n$ ls /etc\nhostname.pcn0\nnodename\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func FuzzIfconfig(f *testing.F) {
	for _, s := range []string{
		"lo0:1 plumb 10.0.0.1/32 up", "-a", "-auD4 netmask + broadcast +", "ip.tun0 plumb tsrc 1.1.1.1 tdst 2.2.2.2 3.3.3.3 4.4.4.4 up",
		"lo0 addif 10.0.0.1/32 up", "pcn0 netmask 0xffffff00", "lo0:1 unplumb", "pcn0 inet", "pcn0 mtu 1", "lo0:99999 plumb", ": plumb", "lo0: plumb",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		m := machine("solaris10")
		for _, name := range []string{"ifconfig", "route", "netstat", "ndd"} {
			_, _ = m.Run(t.Context(), host.Cmd{Argv: append([]string{name}, strings.Fields(line)...)})
		}
		res, err := m.Run(t.Context(), host.Cmd{Argv: []string{"ifconfig", "-a"}})
		if err != nil || len(res.Stdout) == 0 {
			t.Errorf("after %q: %v", line, err)
		}
	})
}

func FuzzBoot(f *testing.F) {
	f.Add("tsrc 1.1.1.1 tdst 2.2.2.2\n3.3.3.3 4.4.4.4 up\n", "10.0.0.1/32\n", "192.168.0.1\n", "10.0.0.0 255.0.0.0\n")
	f.Add("up", "# x\n\n", "\n", "x y\n1 2")
	f.Fuzz(func(t *testing.T, tun, lo, router, masks string) {
		for _, era := range []string{"solaris10", "illumos"} {
			m := machine(era)
			m.Locked(func() {
				m.FS.Put("/etc/hostname.ip.tun0", 0o644, tun)
				m.FS.Put("/etc/hostname.lo0:1", 0o644, lo)
				m.FS.Put("/etc/defaultrouter", 0o644, router)
				m.FS.Put("/etc/inet/netmasks", 0o644, masks)
			})
			m.Reboot()
			first := state(m)
			m.Reboot()
			if d := cmp.Diff(first, state(m)); d != "" {
				t.Errorf("second boot differs:\n%s", d)
			}
		}
	})
}
