package linux

import (
	"flag"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent/lab/labtest"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var releases = map[string]string{"fc5": "2.6.15", "el6": "2.6.32-754.el6.x86_64", "el7": "3.10.0-1160.el7.x86_64", "current": "6.1.0"}

// machine makes a machine of an era with one card, eth0.
func machine(era string, addrs ...string) *sim.Machine {
	card := inventory.Interface{Device: "eth0"}
	if len(addrs) == 0 {
		addrs = []string{"192.168.0.160/24"}
	}
	for _, a := range addrs {
		card.Addresses = append(card.Addresses, netip.MustParsePrefix(a))
	}
	return New(sim.Spec{Name: "rs160", OS: inventory.Linux, Release: releases[era], Interfaces: []inventory.Interface{card}})
}

func TestTranscripts(t *testing.T) {
	labtest.Transcripts(t, *update, func(era string) *sim.Machine { return machine(era) })
}

// A boot leaves nothing behind that would change the next one.
func TestSecondBootIsTheSame(t *testing.T) {
	for era := range releases {
		m := machine(era, "192.168.0.160/24", "192.168.0.161/32", "10.0.0.1/8", "2001:db8::1/64", "2001:db8::2/64")
		first := state(m)
		m.Reboot()
		if d := cmp.Diff(strings.Split(first, "\n"), strings.Split(state(m), "\n")); d != "" {
			t.Errorf("%s (-first +second):\n%s", era, d)
		}
		own := labtest.Shell(m, "ip -o addr show dev eth0")
		for _, a := range []string{"192.168.0.160/24", "192.168.0.161/32", "10.0.0.1/8", "2001:db8::1/64", "2001:db8::2/64"} {
			if !strings.Contains(own, a) {
				t.Errorf("%s does not hold %s:\n%s", era, a, own)
			}
		}
	}
}

// With a base tree in the place of /etc the machine boots from that alone. One
// that says nothing of services is taken to have the network enabled.
func TestBase(t *testing.T) {
	base := map[string]host.File{
		"/etc/sysconfig/network-scripts/ifcfg-eth0": {Mode: 0o644, Data: []byte("DEVICE=eth0\nIPADDR=10.1.2.3\nNETMASK=255.255.0.0\nNOZEROCONF=yes\n")},
		"/etc/sysctl.conf":                          {Mode: 0o644, Data: []byte("net.ipv4.ip_forward = 1\n")},
	}
	spec := sim.Spec{Name: "lb", OS: inventory.Linux, Release: "2.6.15", Base: base, Interfaces: []inventory.Interface{{Device: "eth0"}}}
	ask := "ip -o -4 addr show dev eth0\nsysctl -n net.ipv4.ip_forward"
	addr := "$ ip -o -4 addr show dev eth0\n2: eth0    inet 10.1.2.3/16 brd 10.1.255.255 scope global eth0\n"
	if d := cmp.Diff(addr+"$ sysctl -n net.ipv4.ip_forward\n1\n", labtest.Shell(New(spec), ask)); d != "" {
		t.Error(d)
	}
	spec.Base["/etc/rc.d/init.d/network"] = host.File{Mode: 0o755}
	if d := cmp.Diff("$ ip -o -4 addr show dev eth0\n$ sysctl -n net.ipv4.ip_forward\n1\n", labtest.Shell(New(spec), ask)); d != "" {
		t.Error("without a start link:", d)
	}
}

// Debian's init script loads its file only where AUTO says so.
func TestDebianRules(t *testing.T) {
	base := map[string]host.File{
		"/etc/debian_version":   {Mode: 0o644, Data: []byte("12.11\n")},
		"/etc/init.d/ipvsadm":   {Mode: 0o755, Data: []byte("#!/bin/sh\n")},
		"/etc/rc3.d/S01ipvsadm": {Mode: fs.ModeSymlink | 0o777, Data: []byte("../init.d/ipvsadm")},
		"/etc/ipvsadm.rules":    {Mode: 0o644, Data: []byte("# ipvsadm.rules\n-A -t 192.168.0.200:80 -s rr\n")},
		"/etc/default/ipvsadm":  {Mode: 0o644, Data: []byte("AUTO=\"false\"\n")},
	}
	m := New(sim.Spec{Name: "lb", OS: inventory.Linux, Release: "6.1.0", Base: base})
	if got := labtest.Shell(m, "ipvsadm -Sn"); got != "$ ipvsadm -Sn\n" {
		t.Error(got)
	}
	got := labtest.Shell(m, "echo 'AUTO=\"true\"' > /etc/default/ipvsadm\nREBOOT\nipvsadm -Sn\nipvsadm -C\nREBOOT\nipvsadm -Sn")
	if strings.Count(got, "-A -t 192.168.0.200:80 -s rr\n") != 2 {
		t.Error(got)
	}
}

type wire struct{ asked, told []string }

func (w *wire) Ask(m *sim.Machine, dev, addr string) string {
	w.asked = append(w.asked, dev+" "+addr)
	if addr == "192.168.0.200" {
		return "02:00:c0:a8:00:fe"
	}
	return ""
}

func (w *wire) Tell(m *sim.Machine, dev, addr string) { w.told = append(w.told, dev+" "+addr) }

func TestArping(t *testing.T) {
	m := machine("current")
	w := &wire{}
	m.Wire = w
	labtest.Golden(t, "arping.txt", labtest.Shell(m, `
		arping -D -c 2 -w 3 -I eth0 192.168.0.200
		arping -q -D -I eth0 192.168.0.201
		arping -c 1 -I eth0 192.168.0.200
		arping -c 1 -I eth0 192.168.0.201
		arping -q -U -c 1 -I eth0 192.168.0.160
		arping -A -c 1 -I eth0 192.168.0.160
		arping -U -c 1 -I eth0 192.168.0.209
		arping -D -I eth9 192.168.0.200
		arping -D -I lo 192.168.0.200
		arping -x 192.168.0.200`), *update)
	if d := cmp.Diff([]string{"eth0 192.168.0.160", "eth0 192.168.0.160"}, w.told); d != "" {
		t.Error(d)
	}
}

func FuzzCommands(f *testing.F) {
	for _, s := range []string{
		"ip addr add 192.168.0.200/32 dev lo label lo:0", "ip -o -4 addr show dev lo", "ip route replace default via 192.168.0.1 metric 3",
		"ip -6 route add default via 2001:db8::1", "ip route get 1.2.3.4 from 5.6.7.8", "ip link set dev eth0 mtu 1400 up", "ip tunnel add x mode ipip local any",
		"ip addr del 192.168.0.160 dev eth0", "ip addr flush dev lo label lo:*", "ip addr add 1.2.3.4/0 dev eth0 brd +", "ip addr add 2001:db8::1/64 brd + dev lo",
		"sysctl -w net.ipv4.ip_forward=1", "sysctl -n -e x", "sysctl net/ipv4/conf/eth0.1/x=", "modprobe -q -- ipip", "systemctl cat ../../x", "chkconfig --list network",
		"ip route add 10.0.0.0/8 via 192.168.0.1 advmss 1440 src 192.168.0.160", "ip route add default via 2001:db8::1", "ip addr add 1.2.3.4 peer 5.6.7.8/24 dev eth0", "ip route get 2001:db8::5",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		argv := strings.Fields(line)
		if len(argv) == 0 {
			return
		}
		for _, era := range []string{"fc5", "current"} {
			m := machine(era)
			if _, ok := m.Commands[argv[0]]; !ok {
				return
			}
			_, _ = m.Run(t.Context(), host.Cmd{Argv: argv})
			for _, look := range []string{"ip addr", "ip route", "ip -6 route", "ip tunnel", "ip route get 1.2.3.4", "ip -6 route get 2001:db8::9"} {
				if res, err := m.Run(t.Context(), host.Cmd{Argv: strings.Fields(look)}); err != nil && res.Exit != 2 {
					t.Errorf("after %q: %v", line, err)
				}
			}
		}
	})
}

func FuzzBoot(f *testing.F) {
	f.Add("DEVICE=lo:0\nIPADDR=1.2.3.4\n", "NETWORKING=yes\nGATEWAY=192.168.0.1\n", "net.ipv4.ip_forward = 1\n", "ipip\n", "[Service]\nExecStop=\n")
	f.Add("IPADDR=$(cat /etc/passwd)\nexit 3\n", "while true; do :; done", "=", "-", "x")
	f.Fuzz(func(t *testing.T, alias, network, settings, modules, unit string) {
		if loops(alias) || loops(network) {
			return
		}
		for _, era := range []string{"fc5", "current"} {
			m := machine(era)
			m.Locked(func() {
				m.FS.Put(scripts+"ifcfg-lo:0", 0o644, alias)
				m.FS.Put("/etc/sysconfig/network", 0o644, network)
				m.FS.Put("/etc/sysctl.conf", 0o644, settings)
				m.FS.Put("/etc/modules-load.d/x.conf", 0o644, modules)
				m.FS.Put("/etc/systemd/system/ipvsadm.service.d/x.conf", 0o644, unit)
			})
			m.Reboot()
			_ = labtest.Shell(m, "ip addr")
		}
	})
}

// loops keeps scripts away that would take their time, as on a real machine.
func loops(script string) bool {
	return strings.ContainsAny(script, "(){};&|`<>") || strings.Contains(script, "while") || strings.Contains(script, "until") || strings.Contains(script, "for")
}
