package step

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareAddr = cmpopts.EquateComparable(netip.Addr{})

// Every ID that builds before effects gave a live step.
func TestEffectsOfEarlierRecords(t *testing.T) {
	a := netip.MustParseAddr
	none := netip.Addr{}
	for _, tt := range []struct {
		id, was, want string
		effects       []Effect
	}{
		{"ipvs", "rules 1", "rules 2", []Effect{Alter(IPVSTable, none)}},
		{"address:192.0.2.1", "", "there", []Effect{Gain(VIP, a("192.0.2.1"))}},
		{"address:2001:db8::1", "there", "", []Effect{Lose(VIP, a("2001:db8::1"))}},
		{"lo0:192.0.2.1", "/24", "/32", []Effect{Alter(VIP, a("192.0.2.1"))}},
		{"vip:192.0.2.1", "", "there", []Effect{Gain(VIP, a("192.0.2.1"))}},
		{"gif0:192.0.2.1", "", "there", []Effect{Gain(VIP, a("192.0.2.1")), Gain(Tunnel, none)}},
		{"gif0:create", "", "there", []Effect{Gain(Tunnel, none)}},
		{"gif12:up", "down", "up", []Effect{Gain(Tunnel, none)}},
		{"gif0:ipv6", "IPv6 off", "IPv6 on", []Effect{Gain(Tunnel, none)}},
		{"gif0:tunnel", "tunnel 10.0.0.1 --> 10.0.0.2", "tunnel 10.0.0.1 --> 10.0.0.3", []Effect{Alter(Tunnel, none)}},
		{"tunnel:lvs0", "", "there", []Effect{Gain(Tunnel, none)}},
		{"tunnel:lvs0:10.1.1.1", "", "there", []Effect{Gain(Tunnel, none)}},
		{"tunnel:10.0.0.1-10.0.0.2", "there", "", []Effect{Lose(Tunnel, none)}},
		{"tunnel:10.0.0.1-10.0.0.2", "", "ip.tun0: tunnel src 10.0.0.1 tunnel dst 10.0.0.2, inet 192.0.2.1 --> 192.0.0.8 netmask ffffffff up", []Effect{
			Gain(Tunnel, none), Gain(VIP, a("192.0.2.1")),
		}},
		{"tunnel:10.0.0.1-10.0.0.2", "ip.tun0: inet 192.0.2.1 netmask ffffff00 up", "ip.tun0: inet 192.0.2.1 netmask ffffffff up", []Effect{
			Alter(Tunnel, none), Alter(VIP, a("192.0.2.1")),
		}},
		{"link:tunl0", "down", "up", []Effect{Gain(Tunnel, none)}},
		{"link:tunl0", "", "up", []Effect{Gain(Tunnel, none)}},
		{"route:default", "10.0.0.1", "10.0.0.2", []Effect{Alter(DefaultRoute, a("0.0.0.0"))}},
		{"route:default6", "", "x", []Effect{Gain(DefaultRoute, a("::"))}},
		{"route6:default", "x", "", []Effect{Lose(DefaultRoute, a("::"))}},
		{"route:10.0.0.1", "", "x", []Effect{Gain(Support, none)}},
		{"sysctl:net.ipv4.ip_forward", "0", "1", []Effect{Gain(Forwarding, a("0.0.0.0"))}},
		{"sysctl:net.inet.ip.forwarding", "1", "0", []Effect{Lose(Forwarding, a("0.0.0.0"))}},
		{"sysctl:net.ipv6.conf.all.forwarding", "0", "1", []Effect{Gain(Forwarding, a("::"))}},
		{"sysctl:net.inet6.ip6.forwarding", "0", "1", []Effect{Gain(Forwarding, a("::"))}},
		{"sysctl:net.ipv4.conf.all.arp_ignore", "0", "1", []Effect{Gain(ARPSuppression, none)}},
		{"sysctl:net/ipv4/conf/eth0.1/arp_announce", "2", "0", []Effect{Lose(ARPSuppression, none)}},
		{"sysctl:net.ipv4.conf.all.arp_ignore", "2", "1", []Effect{Alter(ARPSuppression, none)}},
		{"sysctl:net.ipv4.conf.tunl0.rp_filter", "1", "2", []Effect{Alter(Support, none)}},
		{"sysctl:net.ipv4.conf.all.send_redirects", "1", "0", []Effect{Alter(Support, none)}},
		{"module:ip_vs", "", "loaded", []Effect{Gain(Support, none)}},
		{"systemd:ipvsadm.service", "", "x", []Effect{Gain(Support, none)}},
	} {
		if d := cmp.Diff(tt.effects, RecordedEffects(nil, tt.id, tt.was, tt.want), compareAddr); d != "" {
			t.Errorf("%s from %q to %q: %s", tt.id, tt.was, tt.want, d)
		}
	}
	said := []Effect{Alter(Support, none)}
	if got := RecordedEffects(said, "ipvs", "a", "b"); got[0] != said[0] {
		t.Errorf("recorded %v, read %v", said, got)
	}
}

func TestEffectsOfAMirror(t *testing.T) {
	gw := func(s string) []netip.Addr {
		if s == "" {
			return nil
		}
		return []netip.Addr{netip.MustParseAddr(s)}
	}
	route := func(was, want string) Change {
		return Change{Was: was, Want: want, Effects: Rerouted(gw(was), netip.MustParseAddr(want))}
	}
	moved := route("10.0.0.1", "10.0.0.2")
	want := []Effect{Gain(DefaultRoute, netip.MustParseAddr("10.0.0.1")), Lose(DefaultRoute, netip.MustParseAddr("10.0.0.2"))}
	if d := cmp.Diff(want, moved.Mirror().Effects, compareAddr); d != "" {
		t.Error(d)
	}
	// Of changes that follow each other the sum counts, also the way back.
	made := []Made{{"r", route("10.0.0.1", "10.0.0.2")}, {"r", route("10.0.0.2", "10.0.0.3")}}
	want = []Effect{Lose(DefaultRoute, netip.MustParseAddr("10.0.0.3")), Gain(DefaultRoute, netip.MustParseAddr("10.0.0.1"))}
	got := Reversals(made)[0].(*reversal).change.Effects
	if d := cmp.Diff(want, got, compareAddr, cmpopts.SortSlices(func(a, b Effect) bool { return a.Act < b.Act })); d != "" {
		t.Error(d)
	}
}

func TestEffectsAdd(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for _, tt := range []struct{ first, second, want []Effect }{
		{[]Effect{Gain(VIP, a)}, []Effect{Gain(VIP, b)}, []Effect{Gain(VIP, a), Gain(VIP, b)}},
		{[]Effect{Lose(VIP, a)}, []Effect{Gain(VIP, a)}, []Effect{Alter(VIP, a)}},
		{[]Effect{Gain(VIP, a)}, []Effect{Alter(VIP, a)}, []Effect{Gain(VIP, a)}},
		{[]Effect{Alter(VIP, a)}, []Effect{Lose(VIP, a)}, []Effect{Lose(VIP, a)}},
		{[]Effect{Gain(VIP, a)}, []Effect{Lose(VIP, a)}, []Effect{Alter(VIP, a)}}, // something is done, and so has an effect
	} {
		if d := cmp.Diff(tt.want, both(tt.first, tt.second), compareAddr); d != "" {
			t.Errorf("%v, then %v: %s", tt.first, tt.second, d)
		}
	}
}
