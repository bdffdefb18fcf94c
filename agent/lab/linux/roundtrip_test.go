package linux

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent/lab/labtest"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

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

func TestConvergeSurvivesReboot(t *testing.T) {
	for era := range releases {
		for name, d := range wanted() {
			t.Run(era+" "+name, func(t *testing.T) {
				own := d.Interfaces[0].Addresses[0].String()
				labtest.Case{
					Machine: func() *sim.Machine { return machine(era, own) }, Desired: d, State: state, Network: network,
					Show: "cat /var/log/boot.log\nip -o addr\nip route\nlsmod\nipvsadm -Sn",
				}.Survives(t)
			})
		}
	}
}
