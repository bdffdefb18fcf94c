package solaris

import (
	"context"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

const sample = `lo0: flags=2001000849<UP,LOOPBACK,RUNNING,MULTICAST,IPv4,VIRTUAL> mtu 8232 index 1
	inet 127.0.0.1 netmask ff000000 
lo0:1: flags=2001000848<LOOPBACK,RUNNING,MULTICAST,IPv4,VIRTUAL> mtu 8232 index 1
	zone web
	inet 192.168.0.200 netmask ffffffff 
pcn0: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 2
	inet 192.168.0.180 netmask ffff00ff broadcast 192.168.0.255
	groupname production
	ether 0:c:29:5e:1:b4 
ip.tun0: flags=10008d1<UP,POINTOPOINT,RUNNING,NOARP,MULTICAST,IPv4> mtu 1480 index 3
	inet tunnel src 192.168.0.180 tunnel dst 192.168.10.100
	tunnel hop limit 60 
	inet 192.168.10.200 --> 192.168.10.99 netmask ffffffff 
ip.tun1: flags=10008d0<POINTOPOINT,RUNNING,NOARP,MULTICAST,IPv4> mtu 1480 index 4
	inet tunnel src 0.0.0.0
	tunnel hop limit 60 
	inet 0.0.0.0 --> 0.0.0.0 netmask 0 
lo0: flags=2002000849<UP,LOOPBACK,RUNNING,MULTICAST,IPv6,VIRTUAL> mtu 8252 index 1
	inet6 ::1/128 
`

var addresses = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestParseIfconfig(t *testing.T) {
	got, err := ParseIfconfig([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	unset := netip.IPv4Unspecified()
	want := []Interface{
		{Name: "lo0", Up: true, Addr: addr("127.0.0.1"), Mask: 0xff000000, Bits: 8},
		{Name: "lo0:1", Zone: "web", Addr: addr("192.168.0.200"), Mask: 0xffffffff, Bits: 32},
		{Name: "pcn0", Up: true, Addr: addr("192.168.0.180"), Mask: 0xffff00ff, Bits: -1},
		{
			Name: "ip.tun0", Up: true, Addr: addr("192.168.10.200"), Peer: addr("192.168.10.99"), Mask: 0xffffffff, Bits: 32,
			Tunnel: true, Src: addr("192.168.0.180"), Dst: addr("192.168.10.100"),
		},
		{Name: "ip.tun1", Tunnel: true, Peer: unset},
		{Name: "lo0", Up: true, IPv6: true, Addr: addr("::1"), Bits: 128},
	}
	if diff := cmp.Diff(want, got, addresses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseIfconfigRefusesGarbage(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":          "",
		"another language": "ifconfig: nicht gefunden\n",
		"detail first":     "\tinet 127.0.0.1 netmask ff000000\n",
		"bad address":      "lo0: flags=1<UP> mtu 1 index 1\n\tinet 127.0.0 netmask ff000000\n",
		"bad mask":         "lo0: flags=1<UP> mtu 1 index 1\n\tinet 127.0.0.1 netmask 255.0.0.0\n",
		"bad end":          "lo0: flags=1<UP> mtu 1 index 1\n\tinet tunnel src here\n",
		"without lo0":      "pcn0: flags=1<UP> mtu 1 index 1\n\tinet 10.0.0.1 netmask ff000000\n",
	} {
		if list, err := ParseIfconfig([]byte(text)); err == nil {
			t.Errorf("%s: gave %v", name, list)
		}
	}
}

func TestParseDefaults(t *testing.T) {
	const head = "\nRouting Table: IPv4\n  Destination           Gateway           Flags  Ref     Use     Interface \n" +
		"-------------------- -------------------- ----- ----- ---------- --------- \n"
	const v6 = "\nRouting Table: IPv6\n  Destination/Mask            Gateway                   Flags Ref   Use    If   \n" +
		"--------------------------- --------------------------- ----- --- ------- ----- \n" +
		"default                     fe80::1                     UG      1       0 pcn0\n"
	for _, c := range []struct {
		name, text string
		want       []netip.Addr
	}{
		{"none", head + "127.0.0.1            127.0.0.1            UH        6         35 lo0\n", nil},
		{"no interface", head + "default              192.168.0.252        UG        1         12           \n", []netip.Addr{addr("192.168.0.252")}},
		{"several, one twice", head + "default 10.0.0.1 UG 1 1 pcn0\ndefault 10.0.0.2 UG 1 1\ndefault 10.0.0.1 UG 1 1 pcn1\n" + v6,
			[]netip.Addr{addr("10.0.0.1"), addr("10.0.0.2")}},
		{"IPv6 alone", head + v6, nil},
	} {
		got, err := ParseDefaults([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got, addresses); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	for _, text := range []string{"", v6, head + "default router UG 1 1\n"} {
		if got, err := ParseDefaults([]byte(text)); err == nil {
			t.Errorf("%q gave %v", text, got)
		}
	}
}

// The rules of hostname.IF, line by line.
func TestBootReader(t *testing.T) {
	hosts := HostsTable([]byte("127.0.0.1 localhost\n192.168.0.180\trs180 loghost # own\n10.0.0.7 rs180\n"))
	masks := "192.168.0.0 255.255.255.0\n10.0.0.0 255.0.0.0\n10.1.0.0 255.255.0.0\n192.168.0.201 255.255.255.255\n"
	up := func(a string, bits int) BootAddr { return BootAddr{Addr: addr(a), Bits: bits, Up: true} }
	down := func(a string, bits int) BootAddr { return BootAddr{Addr: addr(a), Bits: bits} }
	for _, c := range []struct {
		name, ifname, text, masks string
		illumos                   bool
		want                      []BootAddr
		faults                    int
	}{
		{name: "one line is brought up", text: "10.9.9.9/32\n", want: []BootAddr{up("10.9.9.9", 32)}},
		{name: "spaces around", text: " \t10.9.9.9/32 \n", want: []BootAddr{up("10.9.9.9", 32)}},
		{name: "no newline is lost", text: "10.9.9.9/32", faults: 1},
		{name: "a blank line after it leaves it down", text: "10.9.9.9/32\n\n", want: []BootAddr{down("10.9.9.9", 32)}, faults: 1},
		{name: "a blank line before it is harmless", text: "\n10.9.9.9/32\n", want: []BootAddr{up("10.9.9.9", 32)}},
		{name: "but not on illumos", text: "\n10.9.9.9/32\n", illumos: true, want: []BootAddr{down("10.9.9.9", 32)}, faults: 1},
		{name: "a comment makes it two lines", text: "# VIP\n10.9.9.9/32\n", want: []BootAddr{down("10.9.9.9", 32)}, faults: 2},
		{name: "a trailing comment stops ifconfig", text: "10.9.9.9/32 # VIP\n", want: []BootAddr{down("10.9.9.9", 32)}, faults: 1},
		{name: "a carriage return is part of the word", text: "10.9.9.9/32\r\n", faults: 1},
		{name: "typographic quotes", text: "“10.9.9.9/32”\n", faults: 1},
		{name: "netmasks beats the length", text: "192.168.0.200/32\n", masks: masks, want: []BootAddr{up("192.168.0.200", 24)}},
		{name: "and a mask that is written", text: "192.168.0.200 netmask 255.255.255.255 up\nbroadcast +\n", masks: masks, want: []BootAddr{up("192.168.0.200", 24)}},
		{name: "an entry of its own saves it", text: "192.168.0.201/32\n", masks: masks, want: []BootAddr{up("192.168.0.201", 32)}},
		{name: "the longest net counts", text: "10.1.2.3/32\n", masks: masks, want: []BootAddr{up("10.1.2.3", 16)}},
		{name: "no net, no change", text: "11.1.2.3/32\n", masks: masks, want: []BootAddr{up("11.1.2.3", 32)}},
		{name: "a name", text: "rs180\n", want: []BootAddr{up("192.168.0.180", 24)}},
		{name: "a name with length", text: "rs180/26\n", want: []BootAddr{up("192.168.0.180", 26)}},
		{name: "an unknown name", text: "rs181\n", faults: 1},
		{name: "class A", text: "11.0.0.1\n", want: []BootAddr{up("11.0.0.1", 8)}},
		{name: "class B", text: "172.16.0.1\n", want: []BootAddr{up("172.16.0.1", 16)}},
		{name: "several lines", text: "10.9.9.9/24 broadcast + up\naddif 10.9.9.8/32 up\n", want: []BootAddr{up("10.9.9.9", 24), up("10.9.9.8", 32)}},
		{name: "addif in one line", text: "addif 10.9.9.8/32 up\n", want: []BootAddr{up("10.9.9.8", 32)}},
		{name: "words with arguments", text: "10.9.9.9 netmask 0xffffff00 mtu 1400 group production -failover deprecated up\n", want: []BootAddr{up("10.9.9.9", 24)}},
		{name: "a tunnel", ifname: "ip.tun0", text: "tsrc 10.0.0.1 tdst 10.0.0.2\n10.9.9.9 10.9.9.1 netmask 255.255.255.255 up\n",
			want: []BootAddr{{Addr: addr("10.9.9.9"), Bits: 32, Peer: addr("10.9.9.1"), Up: true}}},
		{name: "a tunnel needs its up", ifname: "ip.tun0", text: "tsrc 10.0.0.1 tdst 10.0.0.2 10.9.9.9/32 10.9.9.1\n",
			want: []BootAddr{{Addr: addr("10.9.9.9"), Bits: 32, Peer: addr("10.9.9.1")}}},
		{name: "not on illumos", ifname: "ip.tun0", text: "tsrc 10.0.0.1 tdst 10.0.0.2 10.9.9.9/32 10.9.9.1\n", illumos: true,
			want: []BootAddr{{Addr: addr("10.9.9.9"), Bits: 32, Peer: addr("10.9.9.1"), Up: true}}},
		{name: "lo0 itself is up already", ifname: "lo0", text: "10.9.9.9/32\nbroadcast +\n", want: []BootAddr{up("10.9.9.9", 32)}},
		{name: "tunnel ends on what is no tunnel", text: "10.9.9.9/32 tsrc 10.0.0.1\n", want: []BootAddr{down("10.9.9.9", 32)}, faults: 1},
		{name: "a destination with a length", text: "10.9.9.9/32 10.9.9.8/32\n", want: []BootAddr{down("10.9.9.9", 32)}, faults: 1},
		{name: "a third address", text: "10.9.9.9/32 10.9.9.8 10.9.9.7 up\n", want: []BootAddr{{Addr: addr("10.9.9.9"), Bits: 32, Peer: addr("10.9.9.8")}}, faults: 1},
		{name: "empty", text: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.ifname == "" {
				c.ifname = "lo0:1"
			}
			r := BootReader{Hosts: hosts, Netmasks: ParseNetmasks([]byte(c.masks)), Illumos: c.illumos}
			b := r.Read(c.ifname, []byte(c.text))
			if len(b.Addrs) == 0 {
				b.Addrs = nil
			}
			if diff := cmp.Diff(c.want, b.Addrs, addresses); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(b.Faults) != c.faults {
				t.Errorf("faults: %q", b.Faults)
			}
		})
	}
}

func TestTables(t *testing.T) {
	gw, vip := addr("192.168.0.252"), addr("192.168.0.200")
	router := func(text string) string {
		return string(oneRouter([]byte(text), gw, map[string]netip.Addr{"routerb": gw}))
	}
	hosts := func(text string) string { return string(nameHost([]byte(text), vip, vipName(vip))) }
	masks := func(text string) string { return string(keepHostMask([]byte(text), vip)) }
	const line = "192.168.0.200\tvip-192-168-0-200\n"
	for _, c := range []struct {
		name     string
		edit     func(string) string
		old, new string
	}{
		{"router: none", router, "", "192.168.0.252\n"},
		{"router: it is there", router, "# B\n192.168.0.252 main\n", "# B\n192.168.0.252 main\n"},
		{"router: by name", router, "routerb\n", "routerb\n"},
		{"router: another", router, "192.168.0.50 B\n", "192.168.0.252 B\n"},
		{"router: several", router, "\n192.168.0.50\n# old\n192.168.0.252\n", "\n192.168.0.252\n# old\n"},
		{"router: no newline", router, "192.168.0.252", "192.168.0.252\n"},
		{"router: a comment without newline", router, "# none", "# none\n192.168.0.252\n"},
		{"hosts: none", hosts, "", line},
		{"hosts: named already", hosts, "192.168.0.200 www\n", "192.168.0.200 www\n"},
		{"hosts: in a comment", hosts, "# 192.168.0.200 www\n", "# 192.168.0.200 www\n" + line},
		{"hosts: no newline", hosts, "127.0.0.1 localhost", "127.0.0.1 localhost\n" + line},
		{"netmasks: no net", masks, "10.0.0.0 255.0.0.0", "10.0.0.0 255.0.0.0"},
		{"netmasks: a net", masks, "192.168.0.0\t255.255.255.0", "192.168.0.0\t255.255.255.0\n192.168.0.200\t255.255.255.255\n"},
		{"netmasks: in a comment", masks, "#192.168.0.0\t255.255.255.0\n", "#192.168.0.0\t255.255.255.0\n"},
		{"netmasks: its own, wrong", masks, "192.168.0.200 255.255.255.0 # x\n", "192.168.0.200 255.255.255.255 # x\n"},
		{"netmasks: the longer net is right", masks, "192.168.0.0 255.255.255.0\n192.168.0.200 255.255.255.255", "192.168.0.0 255.255.255.0\n192.168.0.200 255.255.255.255"},
		{"netmasks: its own, right", masks, "192.168.0.200 255.255.255.255\n192.168.0.0 255.255.255.0\n", "192.168.0.200 255.255.255.255\n192.168.0.0 255.255.255.0\n"},
	} {
		if got := c.edit(c.old); got != c.new {
			t.Errorf("%s: %q gave %q, want %q", c.name, c.old, got, c.new)
		}
	}
}

// Undo takes away what Do left, whole or half-way, and nothing else.
func TestUndoConditions(t *testing.T) {
	vip := &loopbackVIP{addr("192.168.0.200"), "lo0:1", nil}
	tun := &tunnel{
		local: addr("192.168.0.180"), remote: addr("192.168.10.100"),
		carry: addr("192.168.10.200"), peer: addr("192.168.10.99"), name: "ip.tun0",
	}
	lo := func(rest string) string {
		return "lo0:1: flags=2001000849<UP,LOOPBACK,RUNNING,MULTICAST,IPv4,VIRTUAL> mtu 8232 index 1\n\tinet " + rest + " \n"
	}
	ip := func(ends, rest string) string {
		return "ip.tun0: flags=10008d1<UP,POINTOPOINT,RUNNING,NOARP,MULTICAST,IPv4> mtu 1480 index 3\n\tinet tunnel src " + ends +
			"\n\ttunnel hop limit 60 \n\tinet " + rest + " \n"
	}
	for _, c := range []struct {
		name, now string
		step      step.Step
		want      bool
	}{
		{"the VIP", lo("192.168.0.200 netmask ffffffff"), vip, true},
		{"plumbed only", lo("0.0.0.0 netmask 0"), vip, true},
		{"another address", lo("192.168.0.201 netmask ffffffff"), vip, false},
		{"an address that begins alike", lo("192.168.0.20 netmask ffffffff"), vip, false},
		{"gone", "", vip, false},
		{"the tunnel", ip("192.168.0.180 tunnel dst 192.168.10.100", "192.168.10.200 --> 192.168.10.99 netmask ffffffff"), tun, true},
		{"its ends only", ip("192.168.0.180 tunnel dst 192.168.10.100", "0.0.0.0 --> 0.0.0.0 netmask 0"), tun, true},
		{"plumbed tunnel", ip("0.0.0.0", "0.0.0.0 --> 0.0.0.0 netmask 0"), tun, true},
		{"other ends", ip("192.168.0.180 tunnel dst 192.168.10.101", "192.168.10.200 --> 192.168.10.99 netmask ffffffff"), tun, false},
		{"other inside", ip("192.168.0.180 tunnel dst 192.168.10.100", "172.16.0.1 --> 172.16.0.2 netmask ffffffff"), tun, false},
		{"no tunnel", "", tun, false},
	} {
		h := &hosttest.Canned{Runs: map[string]host.Result{"ifconfig -a": hosttest.Text(sample[:strings.Index(sample, "lo0:1")])}}
		change, err := c.step.Check(context.Background(), h)
		if err != nil || len(change.Undo) != 1 {
			t.Fatalf("%s: %v %v", c.name, change, err)
		}
		all := true
		for _, cond := range change.Undo[0].If {
			answer := hosttest.Text(c.now)
			if c.now == "" {
				answer = hosttest.Fail(1, "ifconfig: status: SIOCGLIFFLAGS: no such interface\n")
			}
			h.Runs[strings.Join(cond.Argv, " ")] = answer
			holds, err := cond.Holds(context.Background(), h)
			if err != nil {
				t.Fatal(err)
			}
			all = all && holds
		}
		if all != c.want {
			t.Errorf("%s: undo runs: %v, want %v", c.name, all, c.want)
		}
	}
}

// Solaris' own egrep has neither character classes by name nor intervals.
func TestConditionsAreOldEgrep(t *testing.T) {
	unknown := regexp.MustCompile(`\[\[:|[^\\]\{`)
	for _, c := range []step.Cond{
		showsAddress("lo0:1", addr("10.0.0.1"), netip.Addr{}), shows("x", "y"),
		{Match: (&tunnel{local: addr("10.0.0.1"), remote: addr("10.0.0.2"), carry: addr("10.0.0.3")}).create().Undo[0].If[0].Match},
		{Match: (&tunnel{}).raise(Interface{Name: "ip.tun0", Addr: addr("10.0.0.1")}).Undo[0].If[0].Match},
	} {
		if unknown.MatchString(c.Match) {
			t.Errorf("%q", c.Match)
		}
	}
}

// Several own addresses take the form of many lines, which must spell `up`.
func TestOwnTextIsWhatBootReads(t *testing.T) {
	for _, want := range [][]netip.Prefix{
		{netip.MustParsePrefix("10.1.2.3/24")},
		{netip.MustParsePrefix("10.1.2.3/24"), netip.MustParsePrefix("10.1.3.3/26")},
	} {
		text, err := ownText(want)
		if err != nil {
			t.Fatal(err)
		}
		for _, illumos := range []bool{false, true} {
			b := BootReader{Illumos: illumos}.Read("pcn0", text)
			var got []netip.Prefix
			for _, a := range b.Addrs {
				if a.Up {
					got = append(got, netip.PrefixFrom(a.Addr, a.Bits))
				}
			}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" || len(b.Faults) > 0 {
				t.Errorf("%q: %s %q", text, diff, b.Faults)
			}
		}
	}
}
