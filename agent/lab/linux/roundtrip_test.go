package linux

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/labtest"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
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
				c := labtest.Case{
					Machine: func() *sim.Machine { return machine(era, own) }, Desired: d, State: state, Network: network,
					Show: "cat /var/log/boot.log\nip -o addr\nip route\nlsmod\nipvsadm -Sn",
				}
				c.Survives(t)
				c.GivesBack(t)
			})
		}
	}
}

// Numbers move up where what had one before goes.
func TestSeveralAreGivenBack(t *testing.T) {
	vip := func(a string, m inventory.Method) inventory.VIP {
		return inventory.VIP{Addr: addr(a), Method: m, Device: "eth0", OnLAN: m == inventory.DR, Peer: addr("192.0.0.8")}
	}
	end := func(name, peer, in, far, remote string) inventory.PlainEnd {
		return inventory.PlainEnd{Name: name, Peer: peer, Inside: addr(in), FarInside: addr(far), Local: addr("192.168.0.160"), Remote: addr(remote)}
	}
	yes := true
	base := inventory.Desired{Host: "rs160", OS: inventory.Linux, Address: "192.168.0.160", Interfaces: eth0("192.168.0.160/24")}
	dr, tun, lb := base, base, base
	dr.VIPs = []inventory.VIP{vip("192.168.0.200", inventory.DR), vip("192.168.0.201", inventory.DR), vip("192.168.0.202", inventory.DR)}
	dr.Tunnels = []inventory.PlainEnd{end("a", "x", "10.0.0.1", "10.0.0.2", "192.168.0.170"), end("b", "y", "10.0.1.1", "10.0.1.2", "192.168.0.180")}
	tun.VIPs = []inventory.VIP{vip("192.168.10.200", inventory.TUN), vip("192.168.10.201", inventory.TUN)}
	tun.Decaps = []inventory.Decap{{Local: addr("192.168.0.160"), Remote: addr("192.168.10.100"), VIPs: []netip.Addr{addr("192.168.10.200"), addr("192.168.10.201")}}}
	lb.IPForward4 = &yes
	lb.Director = &inventory.Director{
		VIPs: []inventory.DirectorVIP{{Addr: addr("192.168.0.200"), Device: "eth0"}, {Addr: addr("192.168.0.201"), Device: "eth0"}},
		Services: append(service(inventory.DR, "192.168.0.200", "192.168.0.161", "192.168.0.170"),
			service(inventory.NAT, "192.168.0.201", "192.168.0.161", "192.168.0.170")...),
		Schedulers: []string{"wlc"}, OneArmed: []string{"eth0"},
	}
	lb.Gateways = []netip.Addr{addr("192.168.0.251")}
	for era := range releases {
		for name, d := range map[string]inventory.Desired{"dr": dr, "tun": tun, "director": lb} {
			t.Run(era+" "+name, func(t *testing.T) {
				labtest.Case{Machine: func() *sim.Machine { return machine(era, "192.168.0.160/24") }, Desired: d, State: state}.GivesBack(t)
			})
		}
	}
}

// A service that somebody else had made is given back as it was, also where the
// rules were saved over since; others' are never touched.
func TestAServiceThatWasTakenOverIsGivenBack(t *testing.T) {
	const theirs = `# by hand
-A -t 192.168.0.200:80 -s rr -p 60
-a -t 192.168.0.200:80 -r 192.168.0.199:80 -g -w 7
-A -u 192.168.0.200:53 -s wlc
-a -u 192.168.0.200:53 -r 192.168.0.160:53 -g -w 1
`
	d := wanted()["dr director"]
	for era := range releases {
		t.Run(era, func(t *testing.T) {
			rules := "/etc/sysconfig/ipvsadm"
			labtest.Case{
				Desired: d, State: state,
				Machine: func() *sim.Machine {
					m := machine(era, "192.168.0.254/24")
					m.Locked(func() {
						m.FS.Put(rules, 0o640, theirs)
						services, err := ipvs.ParseRules([]byte(theirs))
						if err != nil {
							t.Fatal(err)
						}
						for _, name := range []string{"ip_vs", "ip_vs_rr", "ip_vs_wlc"} {
							m.Net.Modules[name] = true
						}
						m.Net.IPVS = ipvs.Sorted(services)
						// It is loaded at boot.
						if _, err := m.FS.Stat("/etc/systemd/system", true); err == nil {
							m.FS.Link("/etc/systemd/system/multi-user.target.wants/ipvsadm.service", "/usr/lib/systemd/system/ipvsadm.service")
							return
						}
						for level := 2; level <= 5; level++ {
							dir := fmt.Sprintf("/etc/rc.d/rc%d.d/", level)
							m.FS.Remove(dir + "K92ipvsadm")
							m.FS.Link(dir+"S11ipvsadm", "../init.d/ipvsadm")
						}
					})
					return m
				},
			}.GivesBack(t)
		})
	}
}

// Somebody else's address needs the silence too, in force and at the next boot:
// it goes when that has gone.
func TestSilenceStaysForSomebodyElse(t *testing.T) {
	d := inventory.Desired{Host: "rs160", OS: inventory.Linux, Address: "192.168.0.160", Interfaces: eth0("192.168.0.160/24")}
	dr := d
	dr.VIPs = []inventory.VIP{{Addr: addr("192.168.0.200"), Method: inventory.DR, Device: "eth0", OnLAN: true, Peer: addr("192.0.0.8")}}
	dr.Gateways = []netip.Addr{addr("192.168.0.252")}
	less := dr
	less.VIPs = nil
	become := func(t *testing.T, m *sim.Machine, run string, want agent.Request) agent.Report {
		t.Helper()
		e := &agent.Engine{Host: m.NewSession(), Plan: providers.Plan}
		r, err := e.Check(t.Context(), want)
		if err == nil {
			_, err = e.Begin(t.Context(), agent.Transaction{Run: run, Request: want}, nil)
		}
		if err == nil && agent.Differs(r) {
			err = errors.Join(e.Apply(t.Context(), nil), e.Finish(t.Context(), run, true, nil))
		}
		if err = errors.Join(err, e.Close()); err != nil {
			t.Fatalf("%s: %v", run, err)
		}
		return r
	}
	const file = "/etc/sysconfig/network-scripts/ifcfg-lo:9"
	silent := func(m *sim.Machine) (n int) {
		m.Locked(func() {
			for _, key := range []string{"all.arp_ignore", "all.arp_announce", "eth0.arp_ignore", "eth0.arp_announce"} {
				if v := m.Net.Sysctls["net.ipv4.conf."+key]; v == "1" && strings.HasSuffix(key, "ignore") || v == "2" {
					n++
				}
			}
		})
		return n
	}
	for era := range releases {
		for name, after := range map[string]agent.Request{"removed": agent.ToRemove(dr), "its VIP gone": agent.ToConverge(less)} {
			t.Run(era+" "+name, func(t *testing.T) {
				m := machine(era, "192.168.0.160/24")
				become(t, m, "r1", agent.ToConverge(dr))
				m.Locked(func() {
					m.FS.Put(file, 0o644, "DEVICE=lo:9\nIPADDR=192.168.0.222\nNETMASK=255.255.255.255\nONPARENT=yes\n")
				})
				m.Reboot()
				r := become(t, m, "r2", after)
				if !slices.ContainsFunc(r.Items, func(i agent.Item) bool {
					return i.Layer == agent.Boot && slices.ContainsFunc(i.Change.Told(), func(n string) bool { return strings.Contains(n, "ifcfg-lo:9") })
				}) {
					t.Errorf("nobody is told why it stays: %+v", r.Items)
				}
				if n := silent(m); n != 4 {
					t.Errorf("%d of 4 settings are in force", n)
				}
				m.Reboot()
				if n := silent(m); n != 4 {
					t.Errorf("%d of 4 settings come back at boot", n)
				}
				if r := become(t, m, "r3", after); agent.Differs(r) {
					t.Errorf("there was more to do: %+v", r.Items)
				}
			})
		}
		t.Run(era+" nobody's", func(t *testing.T) {
			m := machine(era, "192.168.0.160/24")
			become(t, m, "r1", agent.ToConverge(dr))
			m.Locked(func() { m.FS.Put(file, 0o644, "DEVICE=lo:9\nIPADDR=127.0.0.9\nNETMASK=255.255.255.255\n") })
			become(t, m, "r2", agent.ToConverge(less))
			m.Reboot()
			if n := silent(m); n != 0 {
				t.Errorf("%d of 4 settings come back at boot for nobody", n)
			}
		})
	}
}
