package solaris

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

func TestConvergeSurvivesReboot(t *testing.T) {
	for _, era := range []string{"solaris10", "illumos"} {
		for name, d := range wanted() {
			t.Run(era+" "+name, func(t *testing.T) {
				own := d.Interfaces[0].Addresses[0].String()
				c := labtest.Case{
					Machine: func() *sim.Machine { return machine(era, own) }, Desired: d, State: state, Show: "cat /var/log/boot.log\nifconfig -a\nnetstat -rn",
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
		return inventory.VIP{Addr: addr(a), Method: m, Device: "pcn0", OnLAN: m == inventory.DR, Peer: addr("192.168.10.99")}
	}
	base := inventory.Desired{Host: "rs180", OS: inventory.Solaris, Address: "192.168.0.180", Interfaces: pcn0("192.168.0.180/24")}
	dr, tun := base, base
	dr.VIPs = []inventory.VIP{vip("192.168.0.200", inventory.DR), vip("192.168.0.201", inventory.DR), vip("192.168.0.202", inventory.DR)}
	dr.Tunnels = []inventory.PlainEnd{
		{Name: "a", Peer: "x", Inside: addr("10.0.0.1"), FarInside: addr("10.0.0.2"), Local: addr("192.168.0.180"), Remote: addr("192.168.0.170")},
		{Name: "b", Peer: "y", Inside: addr("10.0.1.1"), FarInside: addr("10.0.1.2"), Local: addr("192.168.0.180"), Remote: addr("192.168.0.160")},
	}
	tun.VIPs = []inventory.VIP{vip("192.168.10.200", inventory.TUN), vip("192.168.10.201", inventory.TUN)}
	tun.Decaps = []inventory.Decap{{Local: addr("192.168.0.180"), Remote: addr("192.168.10.100"), VIPs: []netip.Addr{addr("192.168.10.200"), addr("192.168.10.201")}}}
	for _, era := range []string{"solaris10", "illumos"} {
		for name, d := range map[string]inventory.Desired{"dr": dr, "tun": tun} {
			t.Run(era+" "+name, func(t *testing.T) {
				labtest.Case{Machine: func() *sim.Machine { return machine(era, "192.168.0.180/24") }, Desired: d, State: state}.GivesBack(t)
			})
		}
	}
}
