package kernel

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var prefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
var addresses = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestParseAddrs(t *testing.T) {
	got, err := ParseAddrs(`1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever preferred_lft forever
1: lo    inet 192.168.0.200/32 brd 192.168.0.200 scope global lo:0\       valid_lft forever preferred_lft forever
2: eth0    inet 10.0.0.5/24 metric 100 brd 10.0.0.255 scope global secondary dynamic eth0
3: lvs0    inet 10.0.0.1 peer 10.0.0.2/32 scope global lvs0
4: eth0.5    inet 10.1.0.1/16 scope global noprefixroute
1: lo    inet6 ::1/128 scope host proto kernel_lo \       valid_lft forever preferred_lft forever
2: eth0: <BROADCAST,UP> mtu 1500 \    link/ether 02:00:00:00:00:01
`)
	if err != nil {
		t.Fatal(err)
	}
	p := netip.MustParsePrefix
	want := []Addr{
		{Dev: "lo", Prefix: p("127.0.0.1/8"), Label: "lo", Scope: "host"},
		{Dev: "lo", Prefix: p("192.168.0.200/32"), Label: "lo:0", Scope: "global", Broadcast: "192.168.0.200"},
		{Dev: "eth0", Prefix: p("10.0.0.5/24"), Label: "eth0", Scope: "global", Broadcast: "10.0.0.255", Secondary: true},
		{Dev: "lvs0", Prefix: p("10.0.0.1/32"), Label: "lvs0", Scope: "global", Peer: netip.MustParseAddr("10.0.0.2")},
		{Dev: "eth0.5", Prefix: p("10.1.0.1/16"), Scope: "global"},
		{Dev: "lo", Prefix: p("::1/128"), Scope: "host"},
	}
	if diff := cmp.Diff(want, got, prefixes, addresses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, garbage := range []string{"Segmentation fault\n", "2: eth0    inet nonsense scope global eth0\n", "2: @x    inet 1.2.3.4/8\n", "2:\n"} {
		if got, err := ParseAddrs(garbage); err == nil {
			t.Errorf("%q gave %v", garbage, got)
		}
	}
}

func TestParseLinks(t *testing.T) {
	got, err := ParseLinks("1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 \\    link/loopback 00:00:00:00:00:00\n" +
		"2: eth0.5@eth0: <BROADCAST,MULTICAST> mtu 1500 \\    link/ether 02:AA:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n5: tunl0@NONE: <NOARP,UP> mtu 1480\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Link{{Index: 1, Name: "lo", Up: true}, {Index: 2, Name: "eth0.5", MAC: "02:aa:00:00:00:01"}, {Index: 5, Name: "tunl0", Up: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzParseAddrs(f *testing.F) {
	f.Add("1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever\n2: e    inet 1.2.3.4 peer 5.6.7.8/32 scope global e\n")
	f.Add("1: lo    inet6 ::1/128 scope host \n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseAddrs(text)
		for _, a := range list {
			if err == nil && (a.Dev == "" || !a.Prefix.IsValid()) {
				t.Errorf("%q gave %+v", text, a)
			}
		}
	})
}

func FuzzParseLinks(f *testing.F) {
	f.Add("2: eth0.5@eth0: <BROADCAST,UP> mtu 1500 \\    link/ether 02:AA:00:00:00:01 brd ff\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseLinks(text)
		for _, l := range list {
			if err == nil && l.Name == "" {
				t.Errorf("%q gave a link without a name", text)
			}
		}
	})
}

func FuzzParseRoutes(f *testing.F) {
	f.Add("default via 192.168.0.252 dev eth0 \ndefault \n\tnexthop via 1.2.3.4 dev eth0 weight 1\ndefault via fe80::1 dev e proto ra metric 1024 expires 9sec\n")
	f.Add("1.2.3.4 via 5.6.7.8 dev eth0 src 9.9.9.9 uid 0 \n    cache \n")
	f.Add("tunl0: ip/ip  remote any  local any  ttl inherit  nopmtudisc\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseDefaults(text)
		for _, r := range list {
			for _, via := range r.Via {
				if err == nil && !via.IsValid() {
					t.Errorf("%q gave %+v", text, r)
				}
			}
		}
		ParseSource(text)
		ParseTunnels(text)
	})
}
