package freebsd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent/lab/labtest"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

func TestConvergeSurvivesReboot(t *testing.T) {
	addr := netip.MustParseAddr
	card := []inventory.Interface{{Device: "em0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.0.170/24")}}}
	base := func(gw string) inventory.Desired {
		return inventory.Desired{
			Host: "rs170", OS: inventory.FreeBSD, Address: "192.168.0.170", Interfaces: card,
			Gateways: []netip.Addr{addr(gw)},
		}
	}
	nat, dr, tun := base("192.168.0.254"), base("192.168.0.252"), base("192.168.0.1")
	nat.NATOf = []netip.Addr{addr("192.168.0.254")}
	dr.VIPs = []inventory.VIP{{Addr: addr("192.168.0.200"), Method: inventory.DR, Device: "em0", OnLAN: true}}
	tun.VIPs = []inventory.VIP{
		{Addr: addr("192.168.10.200"), Method: inventory.TUN, Device: "em0", Peer: addr("192.168.10.99")},
		{Addr: addr("192.168.10.201"), Method: inventory.TUN, Device: "em0", Peer: addr("192.168.10.99")},
	}
	tun.Decaps = []inventory.Decap{
		{Local: addr("192.168.0.170"), Remote: addr("192.168.10.100"), VIPs: []netip.Addr{addr("192.168.10.200"), addr("192.168.10.201")}},
		{Local: addr("192.168.0.170"), Remote: addr("192.168.10.101"), VIPs: []netip.Addr{addr("192.168.10.200")}},
	}
	several := base("192.168.0.252")
	for _, a := range []string{"192.168.0.200", "192.168.0.201", "192.168.0.202"} {
		several.VIPs = append(several.VIPs, inventory.VIP{Addr: addr(a), Method: inventory.DR, Device: "em0", OnLAN: true})
	}
	several.Tunnels = []inventory.PlainEnd{
		{Name: "a", Peer: "x", Inside: addr("10.0.0.1"), FarInside: addr("10.0.0.2"), Local: addr("192.168.0.170"), Remote: addr("192.168.0.180")},
		{Name: "b", Peer: "y", Inside: addr("10.0.1.1"), FarInside: addr("10.0.1.2"), Local: addr("192.168.0.170"), Remote: addr("192.168.0.160")},
	}
	for _, release := range []string{"5.4-RELEASE", "10.0-RELEASE", "13.2-RELEASE", "14.3-RELEASE"} {
		for name, d := range map[string]inventory.Desired{"nat": nat, "dr": dr, "tun": tun, "several": several} {
			t.Run(release+" "+name, func(t *testing.T) {
				c := labtest.Case{
					Machine: func() *sim.Machine {
						return New(sim.Spec{Name: "rs170", OS: inventory.FreeBSD, Release: release, Interfaces: card})
					},
					Desired: d, State: state,
					Show: "cat /etc/rc.conf\nifconfig -a\nnetstat -rn",
				}
				c.Survives(t)
				c.GivesBack(t)
			})
		}
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
			fmt.Fprintf(&b, "%s up=%v mtu=%d %v %v %v\n", l.Name, l.Up, l.MTU, l.Addrs, l.Local, l.Remote)
		}
		fmt.Fprintf(&b, "%v\n", m.Net.Routes)
	})
	return b.String()
}
