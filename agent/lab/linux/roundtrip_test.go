package linux

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
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/host"
	plans "github.com/lvsfleet/lvsfleet/providers/linux"
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
	if d.Director != nil {
		f, err := director.Gather(ctx, h, m.Identity, d)
		if err != nil {
			t.Fatal("gather director:", err)
		}
		more, err := director.Plan(d, f)
		if err != nil {
			t.Fatal("plan director:", err)
		}
		p.Append(more)
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
		t.Log(shell(m, "cat /var/log/boot.log\nip -o addr\nip route\nlsmod\nipvsadm -Sn"))
	}
}

// network is what matters of the live state: addresses with their labels,
// default routes, the IPVS table and its methods' settings.
func network(m *sim.Machine) []string {
	var list []string
	m.Locked(func() {
		for _, l := range m.Net.Links {
			for _, a := range l.Addrs {
				list = append(list, fmt.Sprintf("%s up=%v %s label %s", l.Name, l.Up, a.Prefix, a.Label))
			}
		}
		for _, r := range m.Net.Routes {
			if r.Dst.Bits() == 0 {
				list = append(list, fmt.Sprintf("default via %s dev %s metric %d", r.Gateway, r.Dev, r.Metric))
			}
		}
		for _, s := range m.Net.IPVS {
			list = append(list, s.Key.String()+" "+s.Scheduler)
			for _, d := range s.Dests {
				list = append(list, fmt.Sprintf("  %s %d", d.DestKey, d.Weight))
			}
		}
		for key, v := range m.Net.Sysctls {
			if strings.HasPrefix(key, "net.ipv4.ip_forward") || strings.Contains(key, ".arp_") || strings.Contains(key, ".rp_filter") || strings.Contains(key, "send_redirects") {
				list = append(list, key+"="+v)
			}
		}
	})
	slices.Sort(list)
	return list
}

// state is all that a person could tell a machine by, idle devices and
// modules that stay after an undo left out.
func state(m *sim.Machine) string {
	var b strings.Builder
	m.Locked(func() {
		m.FS.Walk("/", func(p string, f host.File) {
			if f.Mode.IsRegular() && !strings.HasPrefix(p, "/var/log") {
				fmt.Fprintf(&b, "%s %v\n%s\n", p, f.Mode, f.Data)
			}
		})
		for _, l := range m.Net.Links {
			if l.Name == "tunl0" && !l.Up && len(l.Addrs) == 0 {
				continue
			}
			fmt.Fprintf(&b, "%s up=%v mtu=%d %v\n", l.Name, l.Up, l.MTU, l.Addrs)
		}
		fmt.Fprintf(&b, "%v\n%v\n", m.Net.Routes, m.Net.IPVS)
		for _, key := range slices.Sorted(func(yield func(string) bool) {
			for k := range m.Net.Sysctls {
				if !yield(k) {
					return
				}
			}
		}) {
			if !strings.Contains(key, ".tunl0.") && !strings.Contains(key, ".vs.") {
				fmt.Fprintf(&b, "%s=%s\n", key, m.Net.Sysctls[key])
			}
		}
	})
	return b.String()
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func eth0(s ...string) []inventory.Interface {
	i := inventory.Interface{Device: "eth0"}
	for _, a := range s {
		i.Addresses = append(i.Addresses, netip.MustParsePrefix(a))
	}
	return []inventory.Interface{i}
}

func service(m inventory.Method, vip string, real ...string) []inventory.DirectedService {
	s := inventory.DirectedService{Name: "http", Addr: addr(vip), Port: 80, Protocol: "tcp", Scheduler: "wlc"}
	for _, r := range real {
		s.Real = append(s.Real, inventory.DirectedServer{Host: "rs", Addr: addr(r), Port: 80, Method: m, Weight: 1})
	}
	return []inventory.DirectedService{s}
}

// wanted are the hosts of the three reference clusters.
func wanted() map[string]inventory.Desired {
	yes := true
	base := func(own ...string) inventory.Desired {
		return inventory.Desired{Host: "rs160", OS: inventory.Linux, Address: strings.Split(own[0], "/")[0], Interfaces: eth0(own...)}
	}
	with := func(d inventory.Desired, f func(*inventory.Desired)) inventory.Desired {
		f(&d)
		return d
	}
	return map[string]inventory.Desired{
		"nat real server": with(base("192.168.0.160/24"), func(d *inventory.Desired) {
			d.Gateways = []netip.Addr{addr("192.168.0.254")}
			d.NATOf = []netip.Addr{addr("192.168.0.254")}
		}),
		"dr real server": with(base("192.168.0.160/24"), func(d *inventory.Desired) {
			d.Gateways = []netip.Addr{addr("192.168.0.252")}
			d.VIPs = []inventory.VIP{{Addr: addr("192.168.0.200"), Method: inventory.DR, Device: "eth0", OnLAN: true}}
		}),
		"tun real server": with(base("192.168.0.160/24"), func(d *inventory.Desired) {
			d.Gateways = []netip.Addr{addr("192.168.0.1")}
			d.VIPs = []inventory.VIP{{Addr: addr("192.168.10.200"), Method: inventory.TUN, Device: "eth0", Peer: addr("192.0.0.8")}}
			d.Decaps = []inventory.Decap{{Local: addr("192.168.0.160"), Remote: addr("192.168.10.100"), VIPs: []netip.Addr{addr("192.168.10.200")}}}
		}),
		"nat director": with(base("192.168.0.254/24"), func(d *inventory.Desired) {
			d.IPForward4 = &yes
			d.Director = &inventory.Director{
				VIPs:       []inventory.DirectorVIP{{Addr: addr("192.168.0.254"), Device: "eth0", Own: true}},
				Services:   service(inventory.NAT, "192.168.0.254", "192.168.0.160", "192.168.0.254"),
				Schedulers: []string{"wlc"}, OneArmed: []string{"eth0"},
			}
		}),
		"dr director": with(base("192.168.0.254/24"), func(d *inventory.Desired) {
			d.Gateways = []netip.Addr{addr("192.168.0.251")}
			d.Director = &inventory.Director{
				VIPs:       []inventory.DirectorVIP{{Addr: addr("192.168.0.200"), Device: "eth0"}},
				Services:   service(inventory.DR, "192.168.0.200", "192.168.0.160", "192.168.0.170"),
				Schedulers: []string{"wlc"},
			}
		}),
		"tun director": with(base("192.168.10.100/24"), func(d *inventory.Desired) {
			d.Gateways = []netip.Addr{addr("192.168.10.1")}
			d.Director = &inventory.Director{
				VIPs:         []inventory.DirectorVIP{{Addr: addr("192.168.10.200"), Device: "eth0"}},
				Services:     service(inventory.TUN, "192.168.10.200", "192.168.0.160", "192.168.0.170"),
				Schedulers:   []string{"wlc"},
				TunnelRoutes: []inventory.TunnelRoute{{To: addr("192.168.0.160"), From: addr("192.168.10.100")}},
			}
		}),
	}
}

// What lvsfleet makes holds at once, at the next boot and at the one after,
// with an orderly shutdown and without; and is undone to the last byte.
func TestConvergeSurvivesReboot(t *testing.T) {
	for era := range releases {
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
				live := network(m)
				m.Reboot()
				holds(t, "after a reboot", m, d)
				if d := cmp.Diff(live, network(m)); d != "" {
					t.Errorf("what is live differs after a reboot (-before +after):\n%s", d)
				}
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
