package freebsd_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent/lab/freebsd"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
)

func booted(release, rc string) *sim.Machine {
	return freebsd.New(sim.Spec{
		Name: "rs170", OS: inventory.FreeBSD, Release: release,
		Interfaces: []inventory.Interface{{Device: "em0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.0.170/24")}}},
		Base:       etc(map[string]string{"/etc/rc.conf": "ifconfig_em0=\"inet 192.168.0.170 netmask 255.255.255.0\"\n" + rc}),
	})
}

// state says what a machine's loopback and tunnels hold.
func state(m *sim.Machine) (list []string) {
	m.Locked(func() {
		for _, l := range m.Net.Links {
			if l.Kind == sim.IPTunnel && l.Local.IsValid() {
				list = append(list, l.Name+" "+l.Local.String()+" > "+l.Remote.String())
			}
			for _, a := range l.Addrs {
				if l.Kind != sim.Ether && a.Prefix.Addr().Is4() {
					list = append(list, l.Name+" "+a.Prefix.String())
				}
			}
		}
		for _, r := range m.Net.Routes {
			list = append(list, "route "+r.Dst.String()+" "+r.Gateway.String())
		}
	})
	slices.Sort(list)
	return list
}

// TestEras is the table of variables by era: what the scripts of 2006, 2014 and
// 13 to 16 make of one rc.conf.
func TestEras(t *testing.T) {
	const (
		local   = "lo0 127.0.0.1/8"
		vip     = "lo0 192.168.0.200/32"
		other   = "lo0 192.168.0.201/32"
		tunnel  = "gif0 192.168.0.170 > 192.168.10.100"
		gifVIP  = "gif0 192.168.10.200/32"
		router  = "route 0.0.0.0/0 192.168.0.254"
		gif     = "gifconfig_gif0=\"192.168.0.170 192.168.10.100\"\nifconfig_gif0=\"192.168.10.200 192.168.10.99 netmask 255.255.255.255\"\n"
		bareGif = "ifconfig_gif0=\"tunnel 192.168.0.170 192.168.10.100\"\n"
	)
	all := func(want ...string) [3][]string { return [3][]string{want, want, want} }
	tests := []struct {
		name, rc string
		want     [3][]string // eras 6, 10, 13 and on
	}{
		{"alias", `ifconfig_lo0_alias0="inet 192.168.0.200 netmask 255.255.255.255"`, all(local, vip)},
		{"hexadecimal mask", `ifconfig_lo0_alias0="inet 192.168.0.200 netmask 0xffffffff"`, all(local, vip)},
		{"prefix", `ifconfig_lo0_alias0="inet 192.168.0.200/32"`, all(local, vip)},
		{
			"gap", "ifconfig_lo0_alias0=\"inet 192.168.0.200/32\"\nifconfig_lo0_alias2=\"inet 192.168.0.201/32\"",
			[3][]string{{local, vip}, {local, vip, other}, {local, vip, other}},
		},
		{"empty alias stops", "ifconfig_lo0_alias0=\"\"\nifconfig_lo0_alias1=\"inet 192.168.0.201/32\"", all(local)},
		{"no inet keyword", `ifconfig_lo0_alias0="192.168.0.200 netmask 255.255.255.255"`, all(local, vip)},
		{
			"list of aliases", `ifconfig_lo0_aliases="inet 192.168.0.200/32 inet 192.168.0.201/32"`,
			[3][]string{{local}, {local, vip, other}, {local, vip, other}},
		},
		{
			"the old spelling of a tunnel", "gif_interfaces=\"gif0\"\n" + gif,
			[3][]string{{tunnel, gifVIP, local}, {tunnel, local}, {tunnel, gifVIP, local}},
		},
		{
			"both spellings of one tunnel", "cloned_interfaces=\"gif0\"\ngif_interfaces=\"gif0\"\n" + gif,
			[3][]string{{tunnel, gifVIP, local}, {gifVIP, local}, {gifVIP, local}},
		},
		{
			"the new spelling", "cloned_interfaces=\"gif0\"\n" + bareGif + `ifconfig_gif0_alias0="inet 192.168.10.200 192.168.10.99 netmask 0xffffffff"`,
			all(tunnel, gifVIP, local),
		},
		{
			"a tunnel without an address", "cloned_interfaces=\"gif0\"\n" + bareGif + `ifconfig_lo0_alias0="inet 192.168.0.200/32"`,
			all(tunnel, local, vip),
		},
		{
			"interfaces by name, lo0 not among them", "network_interfaces=\"em0\"\nifconfig_lo0_alias0=\"inet 192.168.0.200/32\"",
			[3][]string{nil, {local, vip}, {local, vip}},
		},
		{"lo0's own address replaced", `ifconfig_lo0="inet 192.168.0.200 netmask 255.255.255.255"`, [3][]string{
			{vip}, {vip, "route 127.0.0.1/32 invalid IP"}, {vip, "route 127.0.0.1/32 invalid IP"},
		}},
		{"default route", `defaultrouter="192.168.0.254"`, all(local, router)},
		{"no default route", `defaultrouter="NO"`, all(local)},
		{"curly quotes", "ifconfig_lo0_alias0=“inet 192.168.0.200/32”\ndefaultrouter=“192.168.0.254”", all(local)},
		{"a syntax error stops the boot", "ifconfig_lo0_alias0=\"inet 192.168.0.200/32", all()},
	}
	for _, test := range tests {
		for i, release := range []string{"5.4-RELEASE", "10.0-RELEASE", "13.2-RELEASE", "16.0-CURRENT"} {
			t.Run(test.name+" in "+release, func(t *testing.T) {
				want := slices.Sorted(slices.Values(test.want[min(i, 2)]))
				if d := cmp.Diff(want, state(booted(release, test.rc+"\n"))); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
			})
		}
	}
}

func TestForwardingAtBoot(t *testing.T) {
	for _, test := range []struct{ release, rc, want string }{
		{"5.4-RELEASE", `gateway_enable="YES"`, "1"},
		{"13.2-RELEASE", `gateway_enable="YES"`, "1"},
		{"5.4-RELEASE", "", "1"},  // by sysctl.conf, and never reset
		{"13.2-RELEASE", "", "0"}, // rc.d/routing resets it
	} {
		m := freebsd.New(sim.Spec{Name: "gw", OS: inventory.FreeBSD, Release: test.release, Base: etc(map[string]string{
			"/etc/rc.conf": test.rc + "\n", "/etc/sysctl.conf": "# routing\nnet.inet.ip.forwarding=1\t# yes\n",
		})})
		if got, _, _ := sh(m, "sysctl -n net.inet.ip.forwarding"); got != test.want+"\n" {
			t.Errorf("%s %s: %q", test.release, test.rc, got)
		}
	}
}

// TestOldFormats shows what the readers of old systems' output have to cope
// with.
func TestOldFormats(t *testing.T) {
	m := booted("5.4-RELEASE", "ifconfig_lo0_alias0=\"inet 192.168.0.200/32\"\ncloned_interfaces=\"gif0\"\nifconfig_gif0=\"tunnel 192.168.0.170 192.168.10.100\"\ndefaultrouter=\"192.168.0.254\"\n")
	for line, want := range map[string]string{
		"ifconfig lo0":       "lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384\n\tinet6 ::1 prefixlen 128 \n\tinet6 fe80::1%lo0 prefixlen 64 scopeid 0x2 \n\tinet 127.0.0.1 netmask 0xff000000 \n\tinet 192.168.0.200 netmask 0xffffffff \n",
		"ifconfig gif0 inet": "gif0: flags=8051<UP,POINTOPOINT,RUNNING,MULTICAST> mtu 1280\n",
		"route -n get default": "   route to: 0.0.0.0\ndestination: 0.0.0.0\n       mask: 0.0.0.0\n    gateway: 192.168.0.254\n  interface: em0\n      flags: <UP,GATEWAY,DONE,STATIC>\n" +
			" recvpipe  sendpipe  ssthresh  rtt,msec    rttvar  hopcount      mtu     expire\n       0         0         0         0         0         0      1500         0 \n",
		"route -n get -inet6 default": "",
		"netstat -rn -f inet": "Routing tables\n\nInternet:\n" +
			"Destination        Gateway            Flags    Refs      Use  Netif Expire\n" +
			"default            192.168.0.254      UGS        0        0    em0\n" +
			"127.0.0.1          link#2             UH         0        0    lo0\n" +
			"192.168.0.0/24     link#1             U          0        0    em0\n" +
			"192.168.0.170      link#1             UHS        0        0    lo0\n" +
			"192.168.0.200      link#2             UH         0        0    lo0\n",
	} {
		if got, _, _ := sh(m, line); got != want {
			t.Errorf("%s:\n%s", line, cmp.Diff(want, got))
		}
	}
	if _, stderr, exit := sh(m, "route -n get -inet6 default"); exit != 1 || stderr != "route: writing to routing socket: No such process\n" {
		t.Errorf("no route: exit %d, %q", exit, stderr)
	}
	if stdout, _, exit := sh(m, "route add default 192.168.0.253"); exit != 1 || stdout != "add net default: gateway 192.168.0.253: route already in table\n" {
		t.Errorf("a second default route: exit %d, %q", exit, stdout)
	}
}

func TestNewFormats(t *testing.T) {
	m := booted("14.3-RELEASE", "")
	got, _, _ := sh(m, "ifconfig lo0")
	if first, _, _ := strings.Cut(got, "\n"); first != "lo0: flags=1008049<UP,LOOPBACK,RUNNING,MULTICAST,LOWER_UP> metric 0 mtu 16384" {
		t.Errorf("%s", first)
	}
	if _, stderr, exit := sh(m, "ifconfig em0 inet 192.168.0.200 alias"); exit != 1 || !strings.Contains(stderr, "no longer supported") {
		t.Errorf("an address without a mask: exit %d, %q", exit, stderr)
	}
	if got, _, _ := sh(m, "sysctl -n net.inet.ip.rfc1122_strong_es"); got != "0\n" {
		t.Errorf("strong_es: %q", got)
	}
}

func TestFresh(t *testing.T) {
	for _, release := range []string{"5.4-RELEASE", "10.0-RELEASE", "14.3-RELEASE"} {
		m := freebsd.New(sim.Spec{Name: "rs170", OS: inventory.FreeBSD, Release: release, Interfaces: []inventory.Interface{
			{Device: "em0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.0.170/24"), netip.MustParsePrefix("10.0.0.1/8"), netip.MustParsePrefix("2001:db8::170/64")}},
		}})
		stdout, _, _ := sh(m, "ifconfig em0")
		for _, want := range []string{"inet 192.168.0.170 netmask 0xffffff00 ", "inet 10.0.0.1 netmask 0xff000000 ", "inet6 2001:db8::170 prefixlen 64"} {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s lacks %q:\n%s", release, want, stdout)
			}
		}
		if got := state(m); !slices.Contains(got, "lo0 127.0.0.1/8") || slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "route 0") }) {
			t.Errorf("%s: %v", release, got)
		}
	}
}

func TestSysrcReads(t *testing.T) {
	steps, _ := readTranscript(t, "10-sysrc.txt")
	m := real("52:54:00:00:08:9a", etc(map[string]string{"/etc/rc.conf": plainRC}))
	compared := 0
	for _, s := range steps[:5] {
		if !scoped(s.line) {
			continue
		}
		stdout, stderr, exit := sh(m, s.line)
		if d := cmp.Diff(s, step{s.line, stdout, stderr, exit}, cmp.AllowUnexported(step{})); d != "" {
			t.Errorf("(-real +simulated):\n%s", d)
		}
		compared++
	}
	if compared < 5 {
		t.Errorf("compared %d", compared)
	}
	if stdout, _, _ := sh(m, "sysrc -n defaultrouter; sysrc gateway_enable cloned_interfaces"); stdout != "NO\ngateway_enable: NO\ncloned_interfaces: \n" {
		t.Errorf("%q", stdout)
	}
	if _, stderr, exit := sh(m, "sysrc cloned_interfaces+=gif0"); exit != sim.RefusedExit || !strings.Contains(stderr, "not modelled") {
		t.Errorf("exit %d, %q", exit, stderr)
	}
}
