package linux

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// ops gives the operations of the plan's live steps whose name begins with
// one of the prefixes, as text: what is done, then what is undone.
func ops(t *testing.T, c *hosttest.Canned, p step.Plan, prefixes ...string) (do, undo []string) {
	t.Helper()
	for _, s := range p.Live {
		if !slices.ContainsFunc(prefixes, func(x string) bool { return strings.HasPrefix(s.ID(), x) }) {
			continue
		}
		change, err := s.Check(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if change.Holds() != (change.Diff == "") {
			t.Errorf("%s: operations %v with the diff %q", s.ID(), change.Do, change.Diff)
		}
		if !change.Holds() && change.Was == change.Want {
			t.Errorf("%s: from %q to the same", s.ID(), change.Was)
		}
		for _, o := range change.Do {
			do = append(do, o.String())
			if len(o.If) == 0 && o.Argv[0] != "modprobe" {
				t.Errorf("%s: %q has no condition", s.ID(), o)
			}
		}
		for _, o := range change.Undo {
			undo = append(undo, o.String())
			if len(o.If) == 0 {
				t.Errorf("%s: the undo %q has no condition", s.ID(), o)
			}
		}
	}
	return do, undo
}

func TestVIPThatIsThere(t *testing.T) {
	tests := []struct {
		name, lines string
		do, undo    []string
	}{
		{"with another label", "1: lo    inet 192.168.0.200/32 brd 192.168.0.200 scope global lo:9\\       valid_lft forever preferred_lft forever\n", nil, nil},
		{"at scope host", "1: lo    inet 192.168.0.200/32 scope host lo\n", nil, nil},
		{"with the length of a net", "1: lo    inet 192.168.0.200/24 brd 192.168.0.255 scope host lo:3\n",
			[]string{"ip addr add 192.168.0.200/32 dev lo label lo:3", "ip addr del 192.168.0.200/24 dev lo"},
			[]string{"ip addr add 192.168.0.200/24 brd 192.168.0.255 scope host dev lo label lo:3", "ip addr del 192.168.0.200/32 dev lo"}},
		{"with both lengths", "1: lo    inet 192.168.0.200/24 scope global lo\n1: lo    inet 192.168.0.200/32 scope global lo:0\n",
			[]string{"ip addr del 192.168.0.200/24 dev lo"}, []string{"ip addr add 192.168.0.200/24 dev lo"}},
		{"on a tunnel as well", "5: tunl0    inet 192.168.0.200/32 scope global tunl0\n",
			[]string{"ip addr add 192.168.0.200/32 dev lo label lo:0"}, []string{"ip addr del 192.168.0.200/32 dev lo"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := canned(fc5, "192.168.0.160/24")
			c.Runs["ip -o -4 addr show"] = hosttest.Text(string(c.Runs["ip -o -4 addr show"].Stdout) + tt.lines)
			do, undo := ops(t, c, plan(t, c, fc5, wanted()["real-dr"]), "address:")
			if diff := cmp.Diff([2][]string{tt.do, tt.undo}, [2][]string{do, undo}); diff != "" {
				t.Errorf("do and undo (-want +got):\n%s", diff)
			}
		})
	}
}

// Undo of silence must not run while a VIP is left, and must once none is.
func TestSilenceOutlastsTheLastVIP(t *testing.T) {
	c := canned(current, "192.168.0.160/24")
	undo := func() step.Op {
		for _, s := range plan(t, c, current, wanted()["real-dr"]).Live {
			if s.ID() == "sysctl:net.ipv4.conf.all.arp_ignore" {
				change, err := s.Check(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				return change.Undo[0]
			}
		}
		t.Fatal("no such step")
		return step.Op{}
	}()
	c.Runs["sysctl -n net.ipv4.conf.all.arp_ignore"] = hosttest.Text("1\n")
	c.Runs[undo.String()] = hosttest.Text("")
	for lines, lifted := range map[string]bool{
		"1: lo    inet 127.0.0.1/8 scope host lo\n":                                                 true,
		"1: lo    inet 127.0.0.1/8 scope host lo\n1: lo    inet 127.0.1.1/32 scope host lo\n":       true,
		"1: lo    inet 127.0.0.1/8 scope host lo\n1: lo    inet 12.0.0.1/32 scope global lo:0\n":    false,
		"1: lo    inet 127.0.0.1/8 scope host lo\n1: lo    inet 1.2.3.4/32 scope global lo:0\n":     false,
		"1: lo    inet 127.0.0.1/8 scope host lo\n5: tunl0    inet 192.168.0.9/32 scope global t\n": false,
		"1: lo    inet 127.0.0.1/8 scope host lo\n2: eth0    inet 192.168.0.9/24 scope global e\n":  true,
	} {
		c.Runs["ip -o -4 addr show"] = hosttest.Text(lines)
		c.Log = nil
		if err := undo.Do(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(c.Log, undo.String()); got != lifted {
			t.Errorf("with\n%ssilence lifted: %v, want %v", lines, got, lifted)
		}
	}
}

func TestDefaultRoute(t *testing.T) {
	const via = "default via 192.168.0.254 dev eth0 "
	tests := []struct {
		name, routes string
		do, undo     []string
	}{
		{"none", "", []string{"ip route replace default via 192.168.0.254"}, []string{"ip route del default via 192.168.0.254"}},
		{"there", via + "\n", nil, nil},
		{"there, with what a person set", via + "proto static src 192.168.0.160 advmss 1440\n", nil, nil},
		{"there, another of a higher metric", via + "\ndefault via 192.168.0.1 dev eth0 metric 100\n", nil, nil},
		{"another", "default via 192.168.0.1 dev eth0 proto static mtu lock 1400 linkdown\n",
			[]string{"ip route replace default via 192.168.0.254"},
			[]string{"ip route replace default via 192.168.0.1 dev eth0 proto static mtu lock 1400"}},
		{"another, at a metric", "default via 192.168.0.1 dev eth0  proto dhcp  metric 100 \n" + via + "metric 200\n",
			[]string{"ip route replace default via 192.168.0.254 metric 100"},
			[]string{"ip route replace default via 192.168.0.1 dev eth0 proto dhcp metric 100"}},
		{"through a device", "default dev ppp0 scope link\n", []string{"ip route replace default via 192.168.0.254"},
			[]string{"ip route replace default dev ppp0 scope link"}},
		{"several next hops", "default \n\tnexthop via 192.168.0.254 dev eth0 weight 1 \n\tnexthop via 192.168.0.1  dev eth0 weight 1\n10.0.0.0/8 dev eth1\n",
			[]string{"ip route replace default via 192.168.0.254"},
			[]string{"ip route replace default nexthop via 192.168.0.254 dev eth0 weight 1 nexthop via 192.168.0.1 dev eth0 weight 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := canned(current, "192.168.0.160/24")
			c.Runs["ip route show"] = hosttest.Text(tt.routes)
			do, undo := ops(t, c, plan(t, c, current, wanted()["real-nat"]), "route")
			if diff := cmp.Diff([2][]string{tt.do, tt.undo}, [2][]string{do, undo}); diff != "" {
				t.Errorf("do and undo (-want +got):\n%s", diff)
			}
		})
	}
}

// The undo of a default route runs over the line that Do left, in the words
// of every era, and over no other.
func TestUndoOfDefaultRouteKnowsItsOwn(t *testing.T) {
	tests := []struct {
		gw, line string
		metric   int
		want     bool
	}{
		{"192.168.0.254", "default via 192.168.0.254 dev eth0 ", 0, true},
		{"192.168.0.254", "default via 192.168.0.254 dev eth0 linkdown ", 0, true},
		{"192.168.0.254", "default via 192.168.0.254 dev eth0 metric 100 ", 0, false},
		{"192.168.0.254", "default via 192.168.0.254 dev eth0  metric 100 ", 100, true},
		{"192.168.0.254", "default via 192.168.0.2 dev eth0 ", 0, false},
		{"2001:db8::1", "default via 2001:db8::1 dev eth0 metric 1024 pref medium", 1024, true},
		{"2001:db8::1", "default via 2001:db8::1 dev eth0  metric 1024  expires 21334372sec mtu 1500 advmss 1440 hoplimit 4294967295", 1024, true},
		{"2001:db8::1", "default via 2001:db8::1 dev eth0 metric 10240 pref medium", 1024, false},
	}
	for _, tt := range tests {
		c := &hosttest.Canned{}
		cond := step.Cond{Argv: []string{"show"}, Match: routeLine(netip.MustParseAddr(tt.gw), tt.metric)}
		c.Runs = map[string]host.Result{"show": hosttest.Text(tt.line + "\n")}
		got, err := cond.Holds(t.Context(), c)
		if err != nil || got != tt.want {
			t.Errorf("%q, metric %d: %v %v, want %v", tt.line, tt.metric, got, err, tt.want)
		}
	}
}

func TestForwardingUndoRestoresWhatSwitchingResets(t *testing.T) {
	c := canned(current, "192.168.0.254/24")
	c.Runs["sysctl -n net.ipv4.conf.eth0.forwarding"] = hosttest.Text("1\n") // somebody let this one forward
	c.Runs["sysctl -n net.ipv4.conf.all.accept_redirects"] = hosttest.Text("0\n")
	do, undo := ops(t, c, plan(t, c, current, wanted()["director-nat"]), "sysctl:net.ipv4.ip_forward")
	if diff := cmp.Diff([2][]string{
		{"sysctl -w net.ipv4.ip_forward=1"},
		{"sysctl -w net.ipv4.ip_forward=0", "sysctl -w net.ipv4.conf.eth0.forwarding=1", "sysctl -w net.ipv4.conf.all.accept_redirects=0"},
	}, [2][]string{do, undo}); diff != "" {
		t.Errorf("do and undo (-want +got):\n%s", diff)
	}
}

func TestForwardingIPv6EndsRouterAdvertisements(t *testing.T) {
	c := canned(current, "192.168.0.254/24")
	c.Runs["ip -6 route show"] = hosttest.Text("2001:db8::/64 dev eth0 proto ra metric 100 pref medium\ndefault via fe80::1 dev eth0 proto ra metric 1024 expires 1790sec hoplimit 64 pref medium\n")
	d := wanted()["director-dr"]
	d.IPForward6 = yes()
	if text := show(t, c, plan(t, c, current, d)); !strings.Contains(text, "  note: a host that forwards IPv6 takes no router advertisements") {
		t.Errorf("got\n%s", text)
	}
}

func TestModulesThatAreThere(t *testing.T) {
	c := canned(current, "192.168.0.160/24")
	c.Files["/proc/modules"] = hosttest.Regular("ip_vs_wrr 16384 0 - Live 0x0\nip_vs 200704 2 ip_vs_wrr, Live 0x0\n")
	c.Files["/lib/modules/"+current+"/modules.builtin"] = hosttest.Regular("kernel/net/ipv4/ipip.ko\nkernel/net/netfilter/ipvs/ip_vs_sh.ko\n")
	d := wanted()["real-tun"]
	d.Director = &inventory.Director{Schedulers: []string{"rr", "sh", "wrr"}}
	do, _ := ops(t, c, plan(t, c, current, d), "module:")
	if diff := cmp.Diff([]string{"modprobe ip_vs_rr"}, do); diff != "" {
		t.Errorf("loaded (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ip_vs", "ip_vs_rr", "ip_vs_sh", "ip_vs_wrr", "ipip"}, Modules(d)); diff != "" {
		t.Errorf("Modules (-want +got):\n%s", diff)
	}
}

func TestDirectorTakesItsVIPAsItIs(t *testing.T) {
	for lines, note := range map[string]string{
		"2: eth0    inet 192.168.0.200/32 scope global eth0\n":                                                     "",
		"2: eth0    inet 192.168.0.200/24 scope global secondary eth0:0\n":                                         "with /24 and is left so",
		"2: eth0    inet 192.168.0.200/32 scope global eth0:4\n1: lo    inet 192.168.0.200/32 scope global lo:0\n": "on lo as well",
	} {
		c := canned(current, "192.168.0.254/24")
		c.Runs["ip -o -4 addr show"] = hosttest.Text(string(c.Runs["ip -o -4 addr show"].Stdout) + lines)
		text := show(t, c, plan(t, c, current, wanted()["director-dr"]))
		if !strings.Contains(text, "address:192.168.0.200: holds\n") || !strings.Contains(text, note) {
			t.Errorf("with %s\n%s", lines, text)
		}
	}
}
