package freebsd

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
)

// A machine is a FreeBSD with state: files, and as much of a kernel's network
// as the steps of this package touch. It prints as 13.2 does (old: as 2006
// did), and fails on a command that it does not know.
type machine struct {
	*hosttest.Canned
	release  string
	links    Links
	defaults map[bool][]string // by IPv6
	sysctls  map[string]string
}

func (m *machine) major() int { n, _, _ := host.Version(m.release); return n }

func (m *machine) Run(_ context.Context, cmd host.Cmd) (host.Result, error) {
	m.Log = append(m.Log, strings.Join(cmd.Argv, " "))
	out, exit := m.command(cmd.Argv)
	if exit != 0 {
		return host.Result{Stdout: []byte(out), Stderr: []byte(out), Exit: exit},
			&host.ExitError{Host: "test", Argv: cmd.Argv, Exit: exit, Stderr: out}
	}
	return host.Result{Stdout: []byte(out)}, nil
}

func (m *machine) command(argv []string) (string, int) {
	switch {
	case argv[0] == "ifconfig" && len(argv) == 2 && argv[1] == "-a":
		var b strings.Builder
		for _, l := range m.links {
			b.WriteString(m.show(l))
		}
		return b.String(), 0
	case argv[0] == "ifconfig":
		return m.ifconfig(argv[1], argv[2:])
	case argv[0] == "netstat":
		return m.netstat(argv[3] == "inet6"), 0
	case argv[0] == "route":
		return m.route(argv)
	case argv[0] == "sysctl":
		return m.sysctl(argv[1:])
	}
	return fmt.Sprintf("not modelled: %q", argv), 86
}

func (m *machine) show(l Link) string {
	var b strings.Builder
	end, metric := "", " metric 0"
	if m.major() < 7 {
		end, metric = " ", ""
	}
	fmt.Fprintf(&b, "%s: flags=8051<%s>%s mtu 1500\n", l.Name, strings.Join(l.Flags, ","), metric)
	if l.Local.IsValid() {
		fmt.Fprintf(&b, "\ttunnel %s %s --> %s%s\n", family(l.Local), l.Local, l.Remote, end)
	}
	for _, a := range l.Addrs {
		peer := ""
		if a.Peer.IsValid() {
			peer = " --> " + a.Peer.String()
		}
		if a.Prefix.Addr().Is6() {
			fmt.Fprintf(&b, "\tinet6 %s%s prefixlen %d%s\n", a.Prefix.Addr(), peer, a.Prefix.Bits(), end)
		} else {
			fmt.Fprintf(&b, "\tinet %s%s netmask %s%s\n", a.Prefix.Addr(), peer, hexMask(a.Prefix.Bits()), end)
		}
	}
	if m.major() >= 9 {
		off := ""
		if l.IPv6Off {
			off = "IFDISABLED,"
		}
		fmt.Fprintf(&b, "\tnd6 options=29<PERFORMNUD,%sAUTO_LINKLOCAL>\n", off)
	}
	return b.String()
}

func (m *machine) ifconfig(dev string, args []string) (string, int) {
	i := slices.IndexFunc(m.links, func(l Link) bool { return l.Name == dev })
	if len(args) == 1 && args[0] == "create" {
		if i >= 0 {
			return "ifconfig: interface " + dev + " already exists", 1
		}
		m.links = append(m.links, Link{Name: dev, Flags: []string{"POINTOPOINT", "MULTICAST"}, IPv6Off: m.major() >= 9})
		return "", 0
	}
	if i < 0 {
		return "ifconfig: interface " + dev + " does not exist", 1
	}
	l := &m.links[i]
	if len(args) == 0 {
		return m.show(*l), 0
	}
	up := func() {
		if !l.Up() {
			l.Flags = append([]string{"UP"}, l.Flags...)
		}
	}
	six := args[0] == "inet6"
	if six && len(args) > 1 && args[1] == "tunnel" {
		args = args[1:]
	}
	switch {
	case args[0] == "destroy":
		m.links = slices.Delete(m.links, i, i+1)
	case args[0] == "up":
		up()
	case args[0] == "down":
		l.Flags = slices.DeleteFunc(l.Flags, func(s string) bool { return s == "UP" })
	case args[0] == "deletetunnel":
		l.Local, l.Remote = netip.Addr{}, netip.Addr{}
	case args[0] == "tunnel" && len(args) == 3:
		e, ok := parseEnds(args[1], args[2])
		if _, there := m.links.ByEnds(e); !ok || there || e.local.Is6() != six {
			return "", 0 // "Can't assign requested address", and exit 0
		}
		l.Local, l.Remote = e.local, e.remote
	case six && args[1] == "-ifdisabled":
		l.IPv6Off = false
	case six && args[1] == "ifdisabled":
		l.IPv6Off = true
	case args[len(args)-1] == "-alias":
		a := netip.MustParseAddr(args[1])
		if _, ok := l.Addr(a); !ok {
			return "ifconfig: ioctl (SIOCDIFADDR): Can't assign requested address", 1
		}
		l.Addrs = slices.DeleteFunc(l.Addrs, func(x Addr) bool { return x.Prefix.Addr() == a })
	case args[len(args)-1] == "alias":
		list := parseSpec("", strings.Join(args[:len(args)-1], " "))
		if len(list) != 1 {
			return "ifconfig: bad value", 1
		}
		a := list[0].Addr
		l.Addrs = slices.DeleteFunc(l.Addrs, func(x Addr) bool { return x.Prefix.Addr() == a.Prefix.Addr() })
		l.Addrs = append(l.Addrs, a)
		if six {
			l.IPv6Off = false
		}
		if dev != "lo0" {
			up()
		}
	default:
		return fmt.Sprintf("not modelled: ifconfig %s %q", dev, args), 86
	}
	return "", 0
}

func (m *machine) netstat(six bool) string {
	var b strings.Builder
	columns := "Flags     Netif Expire"
	if m.major() < 10 {
		columns = "Flags    Refs      Use  Netif Expire"
	}
	fmt.Fprintf(&b, "Routing tables\n\nInternet:\nDestination        Gateway            %s\n", columns)
	for _, gw := range m.defaults[six] {
		if len(gw) > gatewayWidth {
			gw = gw[:gatewayWidth]
		}
		if m.major() < 10 {
			fmt.Fprintf(&b, "default            %s      UGS         0       12   lnc0\n", gw)
		} else {
			fmt.Fprintf(&b, "default            %s      UGS         em0\n", gw)
		}
	}
	return b.String()
}

func (m *machine) route(argv []string) (string, int) {
	six := slices.Contains(argv, "-inet6")
	args := slices.DeleteFunc(slices.Clone(argv[1:]), func(s string) bool { return strings.HasPrefix(s, "-") })
	list := m.defaults[six]
	if len(args) == 2 && args[0] == "get" {
		if len(list) == 0 {
			return "route: route has not been found", 1
		}
		return "   route to: default\n    gateway: " + list[0] + "\n  interface: em0\n", 0
	}
	if len(args) != 3 || args[1] != "default" {
		return fmt.Sprintf("not modelled: %q", argv), 86
	}
	gw := args[2]
	at := slices.Index(list, gw)
	switch args[0] {
	case "add":
		if at >= 0 || len(list) > 0 && m.sysctls[multipath] != "1" {
			return "route already in table", 1
		}
		list = append(list, gw)
	case "change":
		if len(list) != 1 && at < 0 {
			return "not in table", 1
		}
		list = []string{gw}
	case "delete":
		if at < 0 {
			return "not in table", 1
		}
		list = slices.Delete(slices.Clone(list), at, at+1)
	default:
		return fmt.Sprintf("not modelled: %q", argv), 86
	}
	m.defaults[six] = list
	return "", 0
}

func (m *machine) sysctl(args []string) (string, int) {
	if args[0] == "-n" {
		return m.sysctls[args[1]] + "\n", 0
	}
	var b strings.Builder
	for _, a := range args {
		name, value, set := strings.Cut(a, "=")
		old, ok := m.sysctls[name]
		if !ok {
			return b.String() + "sysctl: unknown oid '" + name + "'", 1
		}
		if set {
			if _, err := strconv.Atoi(value); err != nil {
				return "sysctl: invalid integer", 1
			}
			m.sysctls[name] = value
			fmt.Fprintf(&b, "%s: %s -> %s\n", name, old, value)
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", name, old)
	}
	return b.String(), 0
}

// dump is all of the state that a test compares.
func (m *machine) dump() string {
	var b strings.Builder
	for _, l := range m.links {
		l.Addrs = slices.Clone(l.Addrs)
		slices.SortFunc(l.Addrs, func(a, b Addr) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
		b.WriteString(m.show(l))
	}
	for _, six := range []bool{false, true} {
		gws := slices.Clone(m.defaults[six])
		slices.Sort(gws)
		fmt.Fprintf(&b, "default routes: %s\n", gws)
	}
	for _, k := range []string{forwarding4, forwarding6} {
		fmt.Fprintf(&b, "%s=%s\n", k, m.sysctls[k])
	}
	for _, p := range []string{rcConf, sysctlFile} {
		if f, ok := m.Files[p]; ok {
			fmt.Fprintf(&b, "--- %s\n%s", p, f.Data)
		}
	}
	return b.String()
}
