package fleet

import (
	"net/netip"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

func TestWhatDisturbsAnEntry(t *testing.T) {
	const v4, other, v6 = "192.0.2.1", "192.0.2.2", "2001:db8::1"
	for _, tt := range []struct {
		step          string
		layer         agent.Layer
		nat, dr, tun  bool // an entry of v4 with that method
		other, ofIPv6 bool // entries by DR of another VIP, of an IPv6 one
	}{
		{step: "route:default", nat: true, dr: true, tun: true, other: true},
		{step: "route:default6", ofIPv6: true},
		{step: "route6:default", ofIPv6: true},
		{step: "route:10.0.0.1"},
		{step: "address:" + v4, dr: true, tun: true},
		{step: "lo0:" + v4, dr: true, tun: true},
		{step: "vip:" + v4, dr: true, tun: true},
		{step: "vip:" + v6, ofIPv6: true},
		{step: "lo0:" + other, other: true},
		{step: "gif0:tunnel", tun: true},
		{step: "tunnel:10.0.0.1-10.0.0.2", tun: true},
		{step: "link:tunl0", tun: true},
		{step: "sysctl:net.ipv4.conf.all.arp_ignore"},
		{step: "file:/etc/rc.conf", layer: agent.Boot},
		{step: "route:default", layer: agent.Boot},
	} {
		layer := tt.layer
		if layer == "" {
			layer = agent.Live
		}
		d := disturbanceOf(agent.Report{Items: []agent.Item{{
			Step: tt.step, Layer: layer,
			Change: step.Change{Diff: "x", Do: []step.Op{{Kind: step.Run, Argv: []string{"x"}}}, Effects: effectsOf(tt.step)},
		}}})
		if none := disturbanceOf(agent.Report{Items: []agent.Item{{Step: tt.step, Layer: layer}}}); none.any() {
			t.Errorf("%s %s disturbs although it holds", layer, tt.step)
		}
		hits := func(vip string, m ipvs.Method) bool {
			a := netip.MustParseAddr(vip)
			rip := netip.MustParseAddr("10.0.0.1")
			if a.Is6() {
				rip = netip.MustParseAddr("2001:db8::11")
			}
			return d.hits(&entry{
				Entry: agent.Entry{
					Service: ipvs.Key{Protocol: "tcp", Addr: a, Port: 80},
					Dest:    ipvs.Destination{DestKey: ipvs.DestKey{Addr: rip}, Method: m},
				},
				service: &inventory.DirectedService{Addr: a},
			})
		}
		got := [5]bool{hits(v4, ipvs.NAT), hits(v4, ipvs.DR), hits(v4, ipvs.TUN), hits(other, ipvs.DR), hits(v6, ipvs.DR)}
		if want := [5]bool{tt.nat, tt.dr, tt.tun, tt.other, tt.ofIPv6}; got != want {
			t.Errorf("%s %s disturbs NAT, DR, TUN, another, IPv6: %v, want %v", layer, tt.step, got, want)
		}
	}
}

func TestWhatADrainWaitsFor(t *testing.T) {
	e := agent.Entry{Active: 1, Inactive: 10, Persistent: 100}
	for want, key := range map[int]ipvs.Key{
		101: {Protocol: "tcp"},
		111: {Protocol: "udp"},
	} {
		e.Service = key
		if got := (&entry{Entry: e}).connections(); got != want {
			t.Errorf("%v: %d, want %d", key, got, want)
		}
	}
	e.Service = ipvs.Key{Mark: 7}
	if got := (&entry{Entry: e}).connections(); got != 111 {
		t.Errorf("a mark: %d", got)
	}
}
