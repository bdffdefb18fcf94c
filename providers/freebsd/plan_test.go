package freebsd

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/providers/step/steptest"
)

var update = flag.Bool("update", false, "write the goldens anew")

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// sites are the desired states that the cases of testdata/plan name.
func sites(name, dev string) (inventory.Desired, bool) {
	yes := true
	d := inventory.Desired{
		Host: "rs170", OS: inventory.FreeBSD, Address: "192.168.0.170",
		Interfaces: []inventory.Interface{{Device: dev, Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.0.170/24")}}},
	}
	dr := inventory.VIP{Addr: ip("192.168.0.200"), Method: inventory.DR, Device: dev, OnLAN: true, Peer: ip("192.0.0.8")}
	tun := inventory.VIP{Addr: ip("192.168.10.200"), Method: inventory.TUN, Device: dev, Peer: ip("192.168.10.99")}
	decap := inventory.Decap{Local: ip("192.168.0.170"), Remote: ip("192.168.10.100"), VIPs: []netip.Addr{tun.Addr}}
	switch name {
	case "nothing":
	case "nat":
		d.Gateways = []netip.Addr{ip("192.168.0.254")}
		d.NATOf = d.Gateways
	case "nat-forwarding":
		d.Gateways = []netip.Addr{ip("192.168.0.254")}
		d.IPForward4 = &yes
	case "dr":
		d.VIPs = []inventory.VIP{dr}
		d.Gateways = []netip.Addr{ip("192.168.0.252")}
	case "dr-two":
		other := dr
		other.Addr = ip("192.168.0.201")
		d.VIPs = []inventory.VIP{dr, other}
	case "dr-none":
		d.VIPs = []inventory.VIP{dr}
		d.Network = "none"
	case "tun":
		d.VIPs = []inventory.VIP{tun}
		d.Decaps = []inventory.Decap{decap}
	case "tun-two-directors":
		d.VIPs = []inventory.VIP{tun}
		second := decap
		second.Remote = ip("192.168.10.101")
		d.Decaps = []inventory.Decap{decap, second}
	case "dr6":
		d.VIPs = []inventory.VIP{dr, {Addr: ip("2001:db8::200"), Method: inventory.DR, Device: dev, OnLAN: true}}
		d.Gateways = []netip.Addr{ip("2001:db8:1::1")}
	case "tun6":
		d.VIPs = []inventory.VIP{{Addr: ip("2001:db8::200"), Method: inventory.TUN, Device: dev}}
		d.Decaps = []inventory.Decap{{Local: ip("2001:db8:1::170"), Remote: ip("2001:db8:1::10"), VIPs: []netip.Addr{ip("2001:db8::200")}}}
	case "plain":
		d.Tunnels = []inventory.PlainEnd{{
			Name: "t", Peer: "lb", Inside: ip("172.16.0.2"), FarInside: ip("172.16.0.1"),
			Local: ip("192.168.0.170"), Remote: ip("10.0.0.1"),
		}}
	case "plain-named":
		d.Tunnels = []inventory.PlainEnd{{
			Name: "t", Peer: "lb", Inside: ip("172.16.0.2"), FarInside: ip("172.16.0.1"),
			Local: ip("192.168.0.170"), Remote: ip("10.0.0.1"), Interface: "gif7",
		}}
	default:
		return d, false
	}
	return d, true
}

// newMachine makes the host of a case: a freshly installed one of the release
// with its own address, and what the case's files say beyond it.
func newMachine(t testing.TB, release, dev string, a *txtar.Archive) *machine {
	t.Helper()
	m := &machine{
		Canned: &hosttest.Canned{Name: "rs170", Files: map[string]host.File{}}, release: release,
		defaults: map[bool][]string{}, sysctls: map[string]string{forwarding4: "0", forwarding6: "0"},
	}
	switch major := m.major(); {
	case major >= 14:
		m.sysctls[strongES] = "0"
		m.sysctls[multipath] = "1"
	case major == 13:
		m.sysctls[checkInterface] = "0"
		m.sysctls[multipath] = "1"
	default:
		m.sysctls[checkInterface] = "0"
	}
	m.links = Links{
		{Name: dev, Flags: []string{"UP", "BROADCAST"}, Addrs: []Addr{{Prefix: netip.MustParsePrefix("192.168.0.170/24")}}, IPv6Off: m.major() >= 9},
		{Name: "lo0", Flags: []string{"UP", "LOOPBACK"}, Addrs: []Addr{{Prefix: netip.MustParsePrefix("127.0.0.1/8")}}},
	}
	for _, f := range a.Files {
		text := string(f.Data)
		switch {
		case strings.HasPrefix(f.Name, "etc/") || strings.HasPrefix(f.Name, "usr/"):
			m.Files["/"+f.Name] = hosttest.Regular(strings.ReplaceAll(text, "^M\n", "\r\n"))
		case f.Name == "live":
			for line := range strings.Lines(text) {
				argv := strings.Fields(line)
				if out, exit := m.command(argv); exit != 0 {
					t.Fatalf("%s: %s", line, out)
				}
			}
		}
	}
	return m
}

func (m *machine) plan(d inventory.Desired) (step.Plan, error) {
	h := host.NewCache(m)
	f, err := Gather(context.Background(), h, host.Identity{OS: host.FreeBSD, Release: m.release}, d)
	if err != nil {
		return step.Plan{}, err
	}
	return Plan(d, f)
}

// TestPlan plans every case of testdata/plan, compares what it says with the
// golden, does it, checks and plans again (nothing may be left to do), undoes
// it twice (the host must be as before), and runs the undo on a host on which
// nothing was done.
func TestPlan(t *testing.T) {
	cases, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var site, release string
			dev := "em0"
			for line := range strings.Lines(string(a.Comment)) {
				fmt.Sscanf(line, "site: %s", &site)
				fmt.Sscanf(line, "release: %s", &release)
				fmt.Sscanf(line, "device: %s", &dev)
			}
			d, ok := sites(site, dev)
			if !ok {
				t.Fatalf("no site %q", site)
			}
			got := runCase(t, d, release, dev, a)
			steptest.Golden(t, *update, strings.TrimSuffix(path, ".txtar")+".golden", got)
		})
	}
}

func runCase(t *testing.T, d inventory.Desired, release, dev string, a *txtar.Archive) string {
	ctx := context.Background()
	m := newMachine(t, release, dev, a)
	before := m.dump()
	plan, err := m.plan(d)
	var refusal *step.Refusal
	if errors.As(err, &refusal) {
		return refusal.Error() + "\n"
	}
	if err != nil {
		t.Fatal(err)
	}
	s := steptest.Show(t, host.NewCache(m), plan)
	if s.Failed {
		if !strings.Contains(s.Text, ": refused: ") {
			t.Error("a check failed")
		}
		return s.Text
	}
	var do, undo []step.Op
	for _, c := range slices.Concat(s.Live, s.Boot) {
		if c.Diff == "" || len(c.Undo) == 0 {
			t.Errorf("a change without diff or undo: %v", c.Do)
		}
		do = append(do, c.Do...)
		undo = slices.Concat(c.Undo, undo)
	}
	for _, c := range s.Live {
		if c.Was == c.Want {
			t.Errorf("from %q to the same: %v", c.Was, c.Do)
		}
		for _, op := range slices.Concat(c.Do, c.Undo) {
			if len(op.If) == 0 {
				t.Errorf("%s has no condition", op)
			}
		}
	}
	run := func(h host.Host, what string, ops []step.Op) {
		for _, op := range ops {
			if err := op.Do(ctx, h); err != nil {
				t.Fatalf("%s %s: %v", what, op, err)
			}
		}
	}

	untouched := newMachine(t, release, dev, a)
	// A file's undo is of the file that Do wrote; without that it says so.
	run(untouched, "undo of nothing:", slices.DeleteFunc(slices.Clone(undo), func(op step.Op) bool { return op.Kind != step.Run }))
	if diff := cmp.Diff(before, untouched.dump()); diff != "" {
		t.Errorf("undo of what was never done changed the host: %s", diff)
	}

	run(m, "do", do)
	again, err := m.plan(d)
	if err != nil {
		t.Fatal("plan again:", err)
	}
	for _, p := range []step.Plan{plan, again} {
		for _, s := range slices.Concat(p.Live, p.Boot) {
			c, err := s.Check(ctx, m)
			if err != nil {
				t.Fatalf("check %s again: %v", s.ID(), err)
			}
			if !c.Holds() {
				t.Errorf("%s does not hold afterwards:\n%s", s.ID(), c.Diff)
			}
		}
	}
	after := m.dump()
	for _, turn := range []struct {
		what string
		ops  []step.Op
		want string
	}{{"do twice", do, after}, {"undo", undo, before}, {"do again", do, after}, {"undo again", undo, before}, {"undo twice", undo, before}} {
		run(m, turn.what, turn.ops)
		if diff := cmp.Diff(turn.want, m.dump()); diff != "" {
			t.Errorf("%s: %s", turn.what, diff)
		}
	}
	return s.Text
}

func TestPlanIsDeterministic(t *testing.T) {
	d, _ := sites("tun-two-directors", "em0")
	render := func() string {
		m := newMachine(t, "13.2-RELEASE", "em0", &txtar.Archive{})
		p, err := m.plan(d)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		for _, s := range slices.Concat(p.Live, p.Boot) {
			c, err := s.Check(context.Background(), m)
			fmt.Fprintln(&b, s.ID(), c, err)
		}
		return b.String()
	}
	first := render()
	for range 10 {
		if diff := cmp.Diff(first, render()); diff != "" {
			t.Fatal(diff)
		}
	}
}
