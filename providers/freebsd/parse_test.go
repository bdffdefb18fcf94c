package freebsd

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareAddrs = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// outputs gives what the transcript printed for a command, each time.
func outputs(t testing.TB, file, command string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/transcripts", file))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, part := range strings.Split(string(text), "\n$ ")[1:] {
		cmd, rest, _ := strings.Cut(part, "\n")
		if cmd != command {
			continue
		}
		rest = strings.TrimPrefix(rest, "stdout:\n")
		if i := strings.Index(rest, "stderr:\n"); i >= 0 {
			rest = rest[:i]
		}
		list = append(list, rest)
	}
	if len(list) == 0 {
		t.Fatalf("%s has no %q", file, command)
	}
	return list
}

func TestParseIfconfig(t *testing.T) {
	lo := []Addr{{Prefix: pfx("::1/128")}, {Prefix: pfx("fe80::1/64")}, {Prefix: pfx("127.0.0.1/8")}}
	plain := Links{
		{Name: "vtnet0", Flags: []string{"UP", "BROADCAST", "RUNNING", "SIMPLEX", "MULTICAST"}, Addrs: []Addr{{Prefix: pfx("10.0.2.15/24")}}, IPv6Off: true},
		{Name: "em0", Flags: []string{"UP", "BROADCAST", "RUNNING", "SIMPLEX", "MULTICAST"}, Addrs: []Addr{{Prefix: pfx("192.168.0.170/24")}}, IPv6Off: true},
		{Name: "lo0", Flags: []string{"UP", "LOOPBACK", "RUNNING", "MULTICAST"}, Addrs: lo},
	}
	tests := []struct {
		name, out string
		want      Links
	}{
		{"13.2, plain", outputs(t, "02-ifconfig-plain.txt", "ifconfig -a")[0], plain},
		{"13.2, lengths for masks", outputs(t, "02-ifconfig-plain.txt", "ifconfig -f inet:cidr -a")[0], plain},
		{"13.2, dotted masks", outputs(t, "02-ifconfig-plain.txt", "ifconfig -f inet:dotted lo0")[0], plain[2:]},
		{"13.2, gifs and a VIP on lo0", outputs(t, "07-gif-pairs.txt", "ifconfig -a")[0], append(slices.Clone(plain[:2]),
			Link{Name: "lo0", Flags: plain[2].Flags, Addrs: append(slices.Clone(lo), Addr{Prefix: pfx("192.168.10.200/32")})},
			Link{
				Name: "gif0", Flags: []string{"UP", "POINTOPOINT", "RUNNING", "MULTICAST"},
				Addrs: []Addr{{pfx("10.255.0.1/32"), ip("10.255.0.2")}, {pfx("192.168.10.200/32"), ip("192.168.10.99")}},
				Local: ip("192.168.0.170"), Remote: ip("192.168.10.100"), IPv6Off: true,
			},
		)},
		{"13.2, gif over IPv6", outputs(t, "15-ipv6.txt", "ifconfig gif0")[1], Links{{
			Name: "gif0", Flags: []string{"UP", "POINTOPOINT", "RUNNING", "MULTICAST"},
			Addrs: []Addr{{pfx("2001:db8::200/128"), ip("100::1")}, {Prefix: pfx("fe80::80cf:1ce2:d9b6:f2b3/64")}},
			Local: ip("2001:db8:1::170"), Remote: ip("2001:db8:1::10"),
		}}},
		{"2006: blanks at the end, no metric", "lnc0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500\n" +
			"\tinet 192.168.0.170 netmask 0xffffff00 broadcast 192.168.0.255 \n\tether 00:0c:29:aa:bb:cc\n" +
			"lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384\n\tinet 127.0.0.1 netmask 0xff000000 \n" +
			"gif0: flags=8010<POINTOPOINT,MULTICAST> mtu 1280\n\ttunnel inet 192.168.0.170 --> 192.168.10.100\n" +
			"\tinet 192.168.10.200 --> 192.168.10.99 netmask 0xffffffff \n", Links{
			{Name: "lnc0", Flags: []string{"UP", "BROADCAST", "RUNNING", "SIMPLEX", "MULTICAST"}, Addrs: []Addr{{Prefix: pfx("192.168.0.170/24")}}},
			{Name: "lo0", Flags: []string{"UP", "LOOPBACK", "RUNNING", "MULTICAST"}, Addrs: []Addr{{Prefix: pfx("127.0.0.1/8")}}},
			{
				Name: "gif0", Flags: []string{"POINTOPOINT", "MULTICAST"}, Local: ip("192.168.0.170"), Remote: ip("192.168.10.100"),
				Addrs: []Addr{{pfx("192.168.10.200/32"), ip("192.168.10.99")}},
			},
		}},
		{"newer: LOWER_UP", "lo0: flags=1008049<UP,LOOPBACK,RUNNING,MULTICAST,LOWER_UP> metric 0 mtu 16384\n\tinet 127.0.0.1 netmask 0xff000000\n",
			Links{{Name: "lo0", Flags: []string{"UP", "LOOPBACK", "RUNNING", "MULTICAST", "LOWER_UP"}, Addrs: []Addr{{Prefix: pfx("127.0.0.1/8")}}}}},
		{"nothing", "", nil},
		{"garbage", "lo0\n\tinet\n inet x\nx: flags=\n\tinet 1.2.3.4 netmask 0xff00ff00\n\ttunnel inet a --> b\n", Links{{Name: "x"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ParseIfconfig(tt.out), compareAddrs); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseDefaults(t *testing.T) {
	route := func(gw string) Default { return Default{gw, "UGS", "em0"} }
	const old = "Routing tables\n\nInternet:\nDestination        Gateway            Flags    Refs      Use  Netif Expire\n" +
		"default            192.168.0.254      UGS         0       34   lnc0\n127.0.0.1          127.0.0.1          UH          0        0    lo0\n"
	netstat := outputs(t, "13-two-defaults.txt", "netstat -rn -f inet")
	tests := []struct {
		name, out string
		want      []Default
	}{
		{"13.2, none", outputs(t, "08-default-route.txt", "netstat -rn -f inet")[0], nil},
		{"13.2, one", outputs(t, "08-default-route.txt", "netstat -rn -f inet")[1], []Default{route("192.168.0.254")}},
		{"13.2, two", netstat[0], []Default{route("192.168.0.254"), route("192.168.0.253")}},
		{"13.2, IPv6", outputs(t, "15-ipv6.txt", "netstat -rn -f inet6")[1], []Default{route("2001:db8:1::2")}},
		{"2006, Refs and Use", old, []Default{{"192.168.0.254", "UGS", "lnc0"}}},
		{"an interface for a gateway", strings.Replace(old, "192.168.0.254 ", "link#1        ", 1), []Default{{"link#1", "UGS", "lnc0"}}},
		{"no header", "default 1.2.3.4 UGS em0\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ParseDefaults(tt.out), compareAddrs); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDefaultIs(t *testing.T) {
	long := "2001:db8:1111:2222:3333:4444:5555:6666"
	if !(Default{Gateway: long[:gatewayWidth]}).Is(ip(long)) {
		t.Error("a gateway that netstat cut off was not known again")
	}
	if (Default{Gateway: "10.0.0.1"}).Is(ip("10.0.0.10")) {
		t.Error("10.0.0.1 passed for 10.0.0.10")
	}
}

func TestParseRouteGet(t *testing.T) {
	gw, dev := ParseRouteGet(outputs(t, "08-default-route.txt", "route -n get default")[1])
	if gw != "192.168.0.254" || dev != "em0" {
		t.Errorf("got %q by %q", gw, dev)
	}
	gw, dev = ParseRouteGet(outputs(t, "15-ipv6.txt", "route -n get -inet6 default")[1])
	if gw != "2001:db8:1::1" || dev != "em0" {
		t.Errorf("got %q by %q", gw, dev)
	}
}

func TestParseSpec(t *testing.T) {
	addr := func(p string) bootAddr { return bootAddr{variable: "v", Addr: Addr{Prefix: pfx(p)}} }
	alone := func(a bootAddr) []bootAddr { a.alone = true; return []bootAddr{a} }
	far := addr("192.168.10.200/32")
	far.Peer = ip("192.168.10.99")
	tests := map[string][]bootAddr{
		"inet 192.168.0.200 netmask 255.255.255.255": alone(addr("192.168.0.200/32")),
		"inet 192.168.0.200 netmask 0xffffffff":      alone(addr("192.168.0.200/32")),
		"inet 192.168.0.200/32":                      alone(addr("192.168.0.200/32")),
		"192.168.0.200 netmask 255.255.255.255":      alone(addr("192.168.0.200/32")),
		"192.168.0.200":                              alone(addr("192.168.0.200/24")),
		"inet 10.0.0.1":                              alone(addr("10.0.0.1/8")),
		"inet 172.16.0.1":                            alone(addr("172.16.0.1/16")),
		"inet 192.168.0.200/32 inet 192.168.0.201 netmask 255.255.255.255":            {addr("192.168.0.200/32"), addr("192.168.0.201/32")},
		"inet 192.168.0.210-212/32":                                                   {addr("192.168.0.210/32"), addr("192.168.0.211/32"), addr("192.168.0.212/32")},
		"inet6 2001:db8::200/128":                                                     alone(addr("2001:db8::200/128")),
		"inet6 2001:db8::200 prefixlen 128":                                           alone(addr("2001:db8::200/128")),
		"inet6 2001:db8::200":                                                         alone(addr("2001:db8::200/64")),
		"192.168.10.200 192.168.10.99 netmask 0xffffffff":                             alone(far),
		"inet 192.168.10.200 192.168.10.99 netmask 0xffffffff tunnel 1.1.1.1 2.2.2.2": alone(far),
		"tunnel 192.168.0.170 192.168.10.100":                                         nil,
		"inet6 tunnel 2001:db8:1::170 2001:db8:1::10":                                 nil,
		"inet6 -ifdisabled":                                                           nil,
		"DHCP":                                                                        nil,
		"":                                                                            nil,
		"up media autoselect inet 192.168.0.170 netmask 255.255.255.0 mtu 1400": alone(addr("192.168.0.170/24")),
		"laggproto lacp laggport em0 laggport em1 10.9.0.11/24":                 alone(addr("10.9.0.11/24")),
		"vlan 7 vlandev em0 10.9.0.11 netmask 255.255.255.0":                    alone(addr("10.9.0.11/24")),
		"vhid 1 advskew 100 pass x alias 10.9.0.11/32":                          alone(addr("10.9.0.11/32")),
		"vxlanlocal 10.1.1.1 vxlanremote 10.1.1.2 10.9.0.11/24":                 alone(addr("10.9.0.11/24")),
		"inet 192.168.0.170 broadcast 192.168.0.255 netmask 255.255.255.0":      alone(addr("192.168.0.170/24")),
	}
	opts := append(compareAddrs, cmp.AllowUnexported(bootAddr{}))
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			if diff := cmp.Diff(want, parseSpec("v", text), opts); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestBoots reads the files of each recorded boot of 13.2 and compares what
// they are taken to mean with what the machine then had.
func TestBoots(t *testing.T) {
	paths, err := filepath.Glob("testdata/transcripts/boot-*.txt")
	if err != nil || len(paths) < 31 {
		t.Fatalf("%d transcripts: %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text := string(raw)
			f := Facts{Release: "13.2-RELEASE"}
			head, rest, _ := strings.Cut(text, "\nconsole, from")
			for _, part := range strings.Split(head, "--- ")[1:] {
				name, data, _ := strings.Cut(part, "\n")
				switch name {
				case rcConf:
					f.RCConf = []byte(data)
				case rcConf + ".local":
					f.Later = append(f.Later, RCFile{Path: name, Data: []byte(data)})
				case "/etc/rc.conf.d/network", "/etc/rc.conf.d/netif":
					f.Later = append(f.Later, RCFile{Path: name, Data: []byte(data), Part: Netif})
				case "/etc/rc.conf.d/routing":
					f.Later = append(f.Later, RCFile{Path: name, Data: []byte(data), Part: Routing})
				}
			}
			_, after, _ := strings.Cut(rest, "$ ifconfig -a\n")
			ifconfig, after, _ := strings.Cut(after, "$ netstat -rn -f inet\n")
			links := ParseIfconfig(ifconfig)
			c, err := newConf(f, f.RCConf)
			if strings.Contains(path, "curly") {
				if err == nil {
					t.Error("curly quotes were taken")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, dev := range []string{"lo0", "em0", "vtnet0"} {
				l, _ := links.Find(dev)
				var want []netip.Prefix
				if dev == "lo0" {
					want = append(want, pfx("::1/128"))
					if !c.has("ifconfig_lo0") {
						want = append(want, pfx("127.0.0.1/8"))
					}
					if strings.Contains(head, "start_if.lo0") {
						want = append(want, pfx("192.168.0.200/32")) // by that script
					}
				}
				for _, a := range c.addrs(dev) {
					want = append(want, a.Prefix)
				}
				compareBoot(t, dev, want, l)
			}
			var names []string
			for _, g := range c.gifs() {
				names = append(names, g.name)
				l, ok := links.Find(g.name)
				if !ok {
					t.Errorf("%s is not there", g.name)
				}
				if (ends{l.Local, l.Remote}) != g.ends {
					t.Errorf("%s has %s --> %s, taken to have %s", g.name, l.Local, l.Remote, g.ends)
				}
				var want []netip.Prefix
				for _, a := range g.addrs {
					want = append(want, a.Prefix)
				}
				compareBoot(t, g.name, want, l)
				if l.IPv6Off == c.ipv6On(g.name) {
					t.Errorf("%s: IFDISABLED is %v", g.name, l.IPv6Off)
				}
			}
			for _, l := range links {
				if strings.HasPrefix(l.Name, "gif") && !slices.Contains(names, l.Name) {
					t.Errorf("%s was not expected", l.Name)
				}
			}
			want := strings.TrimSpace(c.value("defaultrouter"))
			if want == "NO" {
				want = ""
			}
			netstat, _, _ := strings.Cut(after, "$ ")
			got := ""
			for _, d := range ParseDefaults(netstat) {
				got += d.Gateway
			}
			if got != want {
				t.Errorf("default route by %q, taken to be by %q", got, want)
			}
		})
	}
}

func compareBoot(t *testing.T, dev string, want []netip.Prefix, l Link) {
	t.Helper()
	var got []netip.Prefix
	for _, a := range l.Addrs {
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			got = append(got, a.Prefix)
		}
	}
	for _, list := range [][]netip.Prefix{got, want} {
		slices.SortFunc(list, netip.Prefix.Compare)
	}
	if diff := cmp.Diff(want, got, compareAddrs); diff != "" {
		t.Errorf("%s (-as read +as booted): %s", dev, diff)
	}
}

func TestSysctlConf(t *testing.T) {
	text := []byte("# a\nnet.inet.ip.forwarding=0\n net.inet.ip.forwarding = 1 # x\nx\n#net.inet.ip.forwarding=7\n")
	if v, line := sysctlConf(text, forwarding4); v != "1" || line != 3 {
		t.Errorf("got %q in line %d", v, line)
	}
	want := "# a\nnet.inet.ip.forwarding=0\n net.inet.ip.forwarding = 0 # x\nx\n#net.inet.ip.forwarding=7\n"
	if diff := cmp.Diff(want, string(setSysctlConf(text, forwarding4, "0"))); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseIfconfig(f *testing.F) {
	for _, s := range outputs(f, "07-gif-pairs.txt", "ifconfig -a") {
		f.Add(s)
	}
	f.Add("lo0: flags=8049<UP,LOOPBACK> mtu 16384\n\tinet 127.0.0.1 netmask 0xff000000 \n")
	f.Add("gif0: flags=1<\n\tinet 1.2.3.4 --> 5.6.7.8/33\n\tnd6 options=29<,>\n\ttunnel inet6 ::1 --> ::2\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, l := range ParseIfconfig(s) {
			if l.Name == "" {
				t.Error("a link without a name")
			}
			for _, a := range l.Addrs {
				if !a.Prefix.IsValid() {
					t.Errorf("%s has an invalid address", l.Name)
				}
			}
			if l.Local.IsValid() != l.Remote.IsValid() {
				t.Errorf("%s has one end", l.Name)
			}
		}
	})
}

func FuzzParseDefaults(f *testing.F) {
	for _, s := range outputs(f, "13-two-defaults.txt", "netstat -rn -f inet") {
		f.Add(s)
	}
	f.Add("Destination Gateway Flags Refs Use Netif Expire\ndefault 1.2.3.4 UGS\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, d := range ParseDefaults(s) {
			if d.Gateway == "" {
				t.Error("a default route without a gateway")
			}
		}
		ParseRouteGet(s)
	})
}

func FuzzParseSpec(f *testing.F) {
	for _, s := range []string{
		"inet 192.168.0.200 netmask 255.255.255.255", "inet 192.168.0.210-212/32", "inet6 ::1/128 inet 1.2.3.4 5.6.7.8 netmask 0xff",
		"tunnel 1.1.1.1 2.2.2.2 up", "inet 1.2.3.4-999", "inet6 a::-3/64", "192.168.0.1/99",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, a := range parseSpec("v", s) {
			if !a.Prefix.Addr().IsValid() {
				t.Error("an invalid address")
			}
		}
		specEnds(s)
	})
}

// FuzzEdit holds that an edit of any rc.conf either refuses or is done: a
// second one finds nothing to do.
func FuzzEdit(f *testing.F) {
	paths, _ := filepath.Glob("testdata/transcripts/boot-*.txt")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		head, _, _ := strings.Cut(string(text), "\nconsole, from")
		for _, part := range strings.Split(head, "--- ")[1:] {
			_, data, _ := strings.Cut(part, "\n")
			f.Add([]byte(data), true)
			f.Add([]byte(data), false)
		}
	}
	d, _ := sites("tun-two-directors", "em0")
	d.Gateways = []netip.Addr{ip("192.168.0.254")}
	d.Interfaces = nil
	f.Fuzz(func(t *testing.T, text []byte, old bool) {
		facts := Facts{
			Release: "13.2-RELEASE", RCConf: text, Sysctls: map[string]string{checkInterface: "0", forwarding4: "0"},
			Links: Links{{Name: "lo0", Addrs: []Addr{{Prefix: pfx("127.0.0.1/8")}}}},
		}
		if old {
			facts.Release = "5.4-RELEASE"
		}
		p := &planner{d: d, f: facts, tunnels: wanted(d)}
		c, err := newConf(facts, text)
		if err != nil {
			return
		}
		if err := nameTunnels(p.tunnels, facts, c); err != nil {
			return
		}
		once, err := p.edit(text)
		if err != nil {
			return
		}
		twice, err := p.edit(once)
		if err != nil {
			t.Fatalf("refused after its own edit: %v\n%s", err, once)
		}
		if diff := cmp.Diff(string(once), string(twice)); diff != "" {
			t.Fatal(diff)
		}
	})
}
