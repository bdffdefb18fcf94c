package plan

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

var (
	vip   = netip.MustParseAddr("192.0.2.1")
	other = netip.MustParseAddr("192.0.2.2")
	rip   = netip.MustParseAddr("10.0.0.11")
	web   = ipvs.Key{Addr: vip, Port: 80, Protocol: "tcp"}
	mark  = ipvs.Key{Mark: 7}
)

// on is an entry of w1 on lb.
func on(k ipvs.Key, m ipvs.Method, weight, connections int, vips ...netip.Addr) Entry {
	return Entry{
		Director: "lb", Service: k, Host: "w1", VIPs: vips, Connections: connections, Stays: true,
		Dest: ipvs.Destination{DestKey: ipvs.DestKey{Addr: rip, Port: 80}, Method: m, Weight: weight},
	}
}

func TestAMarkWithoutAnAddressIsHitByEveryVIP(t *testing.T) {
	d := DisturbanceOf([]step.Effect{step.Lose(step.VIP, other)})
	for _, tt := range []struct {
		name string
		e    Entry
		want bool
	}{
		{"another VIP", on(web, ipvs.DR, 1, 0, vip), false},
		{"its VIP", on(web, ipvs.DR, 1, 0, other), true},
		{"a mark, nothing known", on(mark, ipvs.DR, 1, 0), true},
		{"a mark, by tunnel", on(mark, ipvs.TUN, 1, 0), true},
		{"a mark by NAT needs no VIP", on(mark, ipvs.NAT, 1, 0), false},
		{"a mark of others", on(mark, ipvs.DR, 1, 0, vip), false},
		{"a mark of several", on(mark, ipvs.DR, 1, 0, vip, other), true},
	} {
		if got := d.Hits(tt.e.Service, tt.e.VIPs, tt.e.Dest); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestWhoIsServed(t *testing.T) {
	for _, tt := range []struct {
		weight, connections int
		want                bool
	}{{0, 0, false}, {1, 0, true}, {0, 1, true}, {0, 500, true}, {3, 9, true}} {
		if got := Serves(tt.weight, tt.connections); got != tt.want {
			t.Errorf("weight %d, %d connections: %v", tt.weight, tt.connections, got)
		}
	}
}

func TestWhatARealServerMayDo(t *testing.T) {
	gw, old := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.1")
	gains := []step.Effect{step.Gain(step.VIP, vip), step.Gain(step.ARPSuppression, netip.Addr{}), step.Gain(step.DefaultRoute, gw)}
	loses := []step.Effect{step.Lose(step.VIP, vip)}
	bare := []step.Effect{step.Lose(step.ARPSuppression, netip.Addr{})}
	tunnel := []step.Effect{step.Alter(step.Tunnel, netip.Addr{})}
	route := step.Rerouted([]netip.Addr{old}, gw)
	unread := []Unread{{Name: "lb2", Why: "takes no part in this run"}}
	departed := func(e Entry) Entry { e.Departed, e.Stays = true, false; return e }
	nobodys := func(e Entry) Entry { e.Host = ""; return e }
	for _, tt := range []struct {
		name    string
		effects []step.Effect
		split   bool
		entries []Entry
		unread  []Unread
		want    Doing
		gap     int
		why     string
	}{
		{name: "all read", effects: loses, want: Whole},
		{name: "adding goes on", effects: gains, unread: unread, want: Whole},
		{name: "a VIP goes", effects: loses, split: true, unread: unread, want: AddOnly, why: "lb2 takes no part in this run"},
		{name: "a VIP goes, in one piece", effects: loses, unread: unread, want: LeaveOut, why: "lb2"},
		{name: "ARP suppression goes", effects: bare, unread: unread, want: LeaveOut},
		{name: "a tunnel is another one", effects: tunnel, unread: unread, want: LeaveOut},
		{name: "another gateway", effects: route, unread: unread, want: LeaveOut},
		{name: "forwarding is nobody's", effects: []step.Effect{step.Lose(step.Forwarding, netip.Addr{})}, unread: unread, want: Whole},
		{name: "a mark stays", effects: loses, split: true, entries: []Entry{on(mark, ipvs.DR, 1, 0)}, want: AddOnly, why: "FWM 7 on lb has no address"},
		{name: "a mark stays, and its suppression goes", effects: bare, entries: []Entry{on(mark, ipvs.DR, 1, 0)}, want: LeaveOut},
		{name: "a mark at weight 0 stays", effects: loses, split: true, entries: []Entry{on(mark, ipvs.DR, 0, 0)}, want: AddOnly},
		{name: "a mark with an address", effects: loses, split: true, entries: []Entry{on(mark, ipvs.DR, 1, 0, other)}, want: Whole},
		{name: "a mark by NAT", effects: loses, split: true, entries: []Entry{on(mark, ipvs.NAT, 1, 0)}, want: Whole},
		{name: "a mark, another gateway", effects: route, entries: []Entry{on(mark, ipvs.DR, 1, 0)}, want: Whole},
		{name: "a departed director", effects: route, entries: []Entry{departed(on(web, ipvs.NAT, 1, 0))}, want: Whole, gap: 1},
		{name: "one that has connections", effects: route, entries: []Entry{departed(on(web, ipvs.NAT, 0, 5))}, want: Whole, gap: 1},
		{name: "one that has none", effects: route, entries: []Entry{departed(on(web, ipvs.NAT, 0, 0))}, want: Whole},
		{name: "one that it does not concern", effects: loses, entries: []Entry{departed(on(web, ipvs.NAT, 1, 0))}, want: Whole},
		{name: "one at nobody's address", effects: route, entries: []Entry{nobodys(departed(on(web, ipvs.NAT, 1, 0)))}, want: Whole, gap: 1},
	} {
		d := RealServer("w1", tt.effects, tt.split, tt.entries, tt.unread)
		if d.Do != tt.want || len(d.Gap) != tt.gap || !strings.Contains(d.Why, tt.why) || (d.Do == Whole) != (d.Why == "") {
			t.Errorf("%s: %+v", tt.name, d)
		}
	}
	if d := RealServer("w2", loses, true, []Entry{on(mark, ipvs.DR, 1, 0)}, nil); d.Do != Whole {
		t.Errorf("another host's mark: %+v", d)
	}
}

func TestWhomADirectorNames(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Candidate
		want Naming
	}{
		{"new, unchanged", Candidate{Weight: 1}, Prove},
		{"it was in force", Candidate{Weight: 1, InForce: true}, Name},
		{"changed and committed", Candidate{Weight: 1, Changed: true}, Name},
		{"proved", Candidate{Weight: 1, Proved: true}, Name},
		{"at weight 0", Candidate{}, Name},
		{"no proof can be given", Candidate{Weight: 1, Excuse: "proof = false"}, Name},
		{"outside", Candidate{Weight: 1, Outside: true}, Prove},
		{"outside, at weight 0", Candidate{Outside: true}, Prove},
		{"outside, in force", Candidate{Weight: 1, Outside: true, InForce: true}, Name},
		{"outside, and no proof can be given", Candidate{Weight: 1, Outside: true, Excuse: "a mark"}, Hold},
	} {
		if got := tt.c.Naming(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestForwardingIsNeededByNATAlone(t *testing.T) {
	entries := []Entry{on(web, ipvs.NAT, 0, 0, vip), on(web, ipvs.DR, 1, 0, vip)}
	if got := ForwardingNeeded(entries, false); len(got) != 1 || got[0].Dest.Method != ipvs.NAT {
		t.Errorf("IPv4: %v", got)
	}
	if got := ForwardingNeeded(entries, true); len(got) != 0 {
		t.Errorf("IPv6: %v", got)
	}
}
