package solaris

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	plans "github.com/lvsfleet/lvsfleet/providers/solaris"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// agentless is a machine that offers nothing but a host.Host, as one that is
// reached over SSH without an agent.
type agentless struct{ host.Host }

func plan(t *testing.T, m *sim.Machine, d inventory.Desired) (host.Host, step.Plan) {
	t.Helper()
	ctx := context.Background()
	h := host.NewCache(agentless{m})
	f, err := plans.Gather(ctx, h, m.Identity, d)
	if err != nil {
		t.Fatal("gather:", err)
	}
	p, err := plans.Plan(d, f)
	if err != nil {
		t.Fatal("plan:", err)
	}
	return h, p
}

func steps(p step.Plan) []step.Step { return append(slices.Clone(p.Live), p.Boot...) }

// converge makes the plan hold, as the engine does: all checks first.
func converge(t *testing.T, m *sim.Machine, d inventory.Desired) (undo []step.Op) {
	t.Helper()
	ctx := context.Background()
	h, p := plan(t, m, d)
	var do []step.Op
	for _, s := range steps(p) {
		c, err := s.Check(ctx, h)
		if err != nil {
			t.Fatalf("check %s: %v", s.ID(), err)
		}
		do = append(do, c.Do...)
		undo = append(slices.Clone(c.Undo), undo...)
	}
	if len(do) == 0 {
		t.Fatal("nothing to do on a fresh machine")
	}
	for _, o := range do {
		if err := o.Do(ctx, h); err != nil {
			t.Fatalf("%s: %v", o, err)
		}
	}
	return undo
}

// holds fails for every step that is not as it should be.
func holds(t *testing.T, when string, m *sim.Machine, d inventory.Desired) {
	t.Helper()
	h, p := plan(t, m, d)
	for _, s := range steps(p) {
		c, err := s.Check(context.Background(), h)
		if err != nil {
			t.Errorf("%s: check %s: %v", when, s.ID(), err)
		} else if !c.Holds() {
			t.Errorf("%s: %s does not hold:\n%s%v", when, s.ID(), c.Diff, c.Do)
		}
	}
	if t.Failed() {
		t.Log(shell(m, "cat /var/log/boot.log\nifconfig -a\nnetstat -rn"))
	}
}

// state is all that a person could tell a machine by.
func state(m *sim.Machine) string {
	var b strings.Builder
	m.Locked(func() {
		m.FS.Walk("/", func(p string, f host.File) {
			if f.Mode.IsRegular() && !strings.HasPrefix(p, "/var/log") {
				fmt.Fprintf(&b, "%s %v\n%s\n", p, f.Mode, f.Data)
			}
		})
		for _, l := range m.Net.Links {
			fmt.Fprintf(&b, "%s up=%v mtu=%d %v\n", l.Name, l.Up, l.MTU, l.Addrs)
		}
		fmt.Fprintf(&b, "%v\n", m.Net.Routes)
	})
	return b.String()
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func pcn0(s ...string) []inventory.Interface {
	i := inventory.Interface{Device: "pcn0"}
	for _, a := range s {
		i.Addresses = append(i.Addresses, netip.MustParsePrefix(a))
	}
	return []inventory.Interface{i}
}

// wanted are the Solaris hosts of the three reference clusters.
func wanted() map[string]inventory.Desired {
	base := func(gw string) inventory.Desired {
		return inventory.Desired{
			Host: "rs180", OS: inventory.Solaris, Address: "192.168.0.180", Interfaces: pcn0("192.168.0.180/24"),
			Gateways: []netip.Addr{addr(gw)},
		}
	}
	nat, dr, tun := base("192.168.0.254"), base("192.168.0.252"), base("192.168.0.1")
	nat.NATOf = []netip.Addr{addr("192.168.0.254")}
	dr.VIPs = []inventory.VIP{{Addr: addr("192.168.0.200"), Method: inventory.DR, Device: "pcn0", OnLAN: true}}
	tun.VIPs = []inventory.VIP{{Addr: addr("192.168.10.200"), Method: inventory.TUN, Device: "pcn0", Peer: addr("192.168.10.99")}}
	tun.Decaps = []inventory.Decap{{Local: addr("192.168.0.180"), Remote: addr("192.168.10.100"), VIPs: []netip.Addr{addr("192.168.10.200")}}}
	return map[string]inventory.Desired{"nat": nat, "dr": dr, "tun": tun}
}

// What lvsfleet makes holds at once, at the next boot and at the one after,
// with an orderly shutdown and without; and is undone to the last byte.
func TestConvergeSurvivesReboot(t *testing.T) {
	for _, era := range []string{"solaris10", "illumos"} {
		for name, d := range wanted() {
			t.Run(era+" "+name, func(t *testing.T) {
				own := d.Interfaces[0].Addresses[0].String()
				m := machine(era, own)
				before := state(m)
				undo := converge(t, m, d)
				holds(t, "at once", m, d)
				if t.Failed() {
					return
				}
				m.Reboot()
				holds(t, "after a reboot", m, d)
				m.PowerCycle()
				holds(t, "after a power cut", m, d)

				fresh := machine(era, own)
				undo = converge(t, fresh, d)
				h := host.NewCache(agentless{fresh})
				for range 2 {
					for _, o := range undo {
						if err := o.Do(context.Background(), h); err != nil {
							t.Errorf("undo %s: %v", o, err)
						}
					}
				}
				if d := cmp.Diff(strings.Split(before, "\n"), strings.Split(state(fresh), "\n")); d != "" {
					t.Errorf("undone (-before +after):\n%s", d)
				}
			})
		}
	}
}
