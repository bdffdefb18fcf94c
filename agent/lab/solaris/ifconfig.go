package solaris

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// ifconfig is ifconfig(1M). Its words act in their order; the first that fails
// ends it, and what stood before stays in force.
func (s *system) ifconfig(m *sim.Machine, c *sim.Call) int {
	args := c.Argv[1:]
	if len(args) == 0 {
		return c.Refuse()
	}
	call := &ifconfigCall{s: s, m: m, k: kernel{m.Net}, c: c}
	name, words := args[0], args[1:]
	if len(words) > 0 && words[0] == "inet" {
		words = words[1:]
	}
	if !strings.HasPrefix(name, "-") {
		if len(words) == 0 {
			return call.status(name)
		}
		return call.edit(name, words)
	}
	all, only := false, byte(0)
	for _, o := range []byte(name[1:]) {
		switch o {
		case 'a':
			all = true
		case 'u', 'd':
			only = o
		case '4', 'D': // D: without those that DHCP has; there are none
		default:
			return c.Refuse()
		}
	}
	if !all {
		return c.Refuse()
	}
	var list []string
	for _, l := range m.Net.Links {
		for _, a := range l.Addrs {
			if only == 0 || (only == 'd') == a.Down {
				list = append(list, a.Label)
			}
		}
	}
	exit := 0
	for _, n := range list {
		if len(words) == 0 {
			call.status(n)
		} else if e := call.edit(n, words); e != 0 {
			exit = e
		}
	}
	if len(words) == 0 && s.spec.Illumos && only != 'd' && !strings.Contains(name, "4") {
		c.Printf("lo0: flags=2002000849<UP,LOOPBACK,RUNNING,MULTICAST,IPv6,VIRTUAL> mtu 8252 index 1\n\tinet6 ::1/128 \n")
	}
	return exit
}

type ifconfigCall struct {
	s *system
	m *sim.Machine
	k kernel
	c *sim.Call
}

func (i *ifconfigCall) fail(format string, args ...any) int {
	i.c.Errorf(format, args...)
	return 1
}

// status prints one interface.
func (i *ifconfigCall) status(name string) int {
	l, a := i.k.find(name)
	if a == nil {
		return i.fail("status: SIOCGLIFFLAGS: %s: no such interface", name)
	}
	i.c.Printf("%s: %s mtu %d index %d\n", a.Label, flags(l, *a), l.MTU, l.Index)
	if l.Kind == sim.IPTunnel && a.Label == l.Name {
		i.c.Printf("\tinet tunnel src %s ", orZero(l.Local))
		if l.Remote.IsValid() {
			i.c.Printf("tunnel dst %s", l.Remote)
		}
		i.c.Printf("\n\ttunnel hop limit 60 \n")
	}
	i.c.Printf("\tinet %s ", orZero(a.Prefix.Addr()))
	if l.Kind == sim.IPTunnel {
		i.c.Printf("--> %s ", orZero(a.Peer))
	}
	i.c.Printf("netmask %s ", maskHex(a.Prefix))
	if l.Kind == sim.Ether {
		brd := a.Brd
		if !brd.IsValid() && a.Prefix.IsValid() {
			brd = broadcast(a.Prefix)
		}
		i.c.Printf("broadcast %s", orZero(brd))
	}
	i.c.Printf("\n")
	if l.Kind == sim.Ether && a.Label == l.Name {
		var parts []string
		for b := range strings.SplitSeq(l.MAC, ":") {
			n, _ := strconv.ParseUint(b, 16, 8)
			parts = append(parts, strconv.FormatUint(n, 16))
		}
		i.c.Printf("\tether %s \n", strings.Join(parts, ":"))
	}
	return 0
}

// plumbing words come before there is an interface.
func plumbing(word string) bool { return word == "plumb" || word == "unplumb" }

// edit applies words to an interface.
func (i *ifconfigCall) edit(name string, words []string) int {
	addresses := 0
	for n := 0; n < len(words); n++ {
		word := words[n]
		l, a := i.k.find(name)
		if a == nil && !plumbing(word) {
			return i.fail("status: SIOCGLIFFLAGS: %s: no such interface", name)
		}
		arg := ""
		switch word {
		case "netmask", "broadcast", "addif", "removeif", "tsrc", "tdst", "destination", "mtu":
			if n++; n >= len(words) {
				return i.fail("%s: missing argument", word)
			}
			arg = words[n]
		}
		var err error
		switch word {
		case "plumb":
			err = i.k.plumb(name, i.s.isCard, i.s.mac(name))
		case "unplumb":
			err = i.k.unplumb(name)
			if err == nil && n+1 < len(words) {
				return i.c.Refuse()
			}
		case "up", "down":
			i.k.setUp(l, a, word == "up")
		case "netmask":
			err = i.netmask(l, a, arg)
		case "broadcast":
			if arg == "+" {
				a.Brd = netip.Addr{} // follows from the mask
			} else if a.Brd, err = i.address(arg); err != nil {
				return i.fail("%s: bad address", arg)
			}
		case "addif":
			var p netip.Prefix
			if p, err = i.prefix(arg); err == nil {
				unit := freeUnit(l)
				i.k.addUnit(l, unit)
				name = label(l.Name, unit) // what follows is about the new one
				_, fresh := i.k.find(name)
				fresh.Prefix = p
				addresses = 1
				i.c.Printf("Created new logical interface %s\n", name)
			}
		case "removeif":
			err = i.removeif(l, arg)
		case "tsrc", "tdst":
			if l.Kind != sim.IPTunnel {
				return i.fail("%s: %s: not a tunnel", word, name)
			}
			var end netip.Addr
			if end, err = i.address(arg); err == nil {
				if word == "tsrc" {
					l.Local = end
				} else {
					l.Remote = end
				}
			}
		case "destination":
			a.Peer, err = i.address(arg)
		case "mtu":
			mtu, bad := strconv.Atoi(arg)
			if bad != nil || mtu < 68 || mtu > 65535 {
				return i.fail("mtu: %s: bad value", arg)
			}
			l.MTU = mtu
		default:
			if strings.HasPrefix(word, "-") || refusedWords[word] {
				return i.c.Refuse()
			}
			addresses++
			switch {
			case addresses == 2:
				a.Peer, err = i.address(word)
			case addresses > 2:
				return i.fail("%s: bad address", word)
			default:
				var p netip.Prefix
				if p, err = i.prefix(word); err == nil {
					a.Prefix, a.Brd, a.Peer = p, netip.Addr{}, netip.Addr{}
					i.k.settle(l)
				}
			}
		}
		if err != nil {
			return i.fail("%s", err)
		}
	}
	return 0
}

// refusedWords are ifconfig's that are not modelled.
var refusedWords = map[string]bool{
	"inet6": true, "dhcp": true, "auto-dhcp": true, "auto-revarp": true, "group": true, "standby": true, "zone": true,
	"ether": true, "usesrc": true, "modlist": true, "modinsert": true, "modremove": true, "set": true, "token": true,
	"arp": true, "router": true, "private": true, "deprecated": true, "metric": true, "failover": true, "index": true,
	"thoplimit": true, "encaplimit": true, "trailers": true, "subnet": true,
}

func (s *system) mac(name string) string {
	for n, i := range s.spec.Interfaces {
		if i.Device == name && len(i.Addresses) > 0 {
			return sim.MAC(i.Addresses[0].Addr(), n)
		} else if i.Device == name {
			return sim.MAC(netip.Addr{}, n)
		}
	}
	return ""
}

// netmask sets the mask; "+" asks netmasks(4), and leaves the mask alone where
// that has no entry.
func (i *ifconfigCall) netmask(l *sim.Link, a *sim.Addr, arg string) error {
	if !a.Prefix.IsValid() {
		if arg == "+" {
			return nil
		}
		return fmt.Errorf("netmask before an address is not modelled")
	}
	bits := a.Prefix.Bits()
	if arg == "+" {
		if n, ok := i.table(a.Prefix.Addr()); ok {
			bits = n
		}
	} else {
		n, ok := maskBits(arg)
		if !ok {
			return fmt.Errorf("%s: bad address", arg)
		}
		bits = n
	}
	a.Prefix = netip.PrefixFrom(a.Prefix.Addr(), bits)
	i.k.settle(l)
	return nil
}

func (i *ifconfigCall) removeif(l *sim.Link, arg string) error {
	addr, err := i.address(arg)
	if err != nil {
		return err
	}
	for _, a := range l.Addrs {
		if a.Prefix.IsValid() && a.Prefix.Addr() == addr {
			if a.Label == l.Name {
				return fmt.Errorf("removeif: can't remove primary interface %s", a.Label)
			}
			return i.k.unplumb(a.Label)
		}
	}
	return fmt.Errorf("removeif: SIOCLIFREMOVEIF: %s: no such interface", l.Name)
}

// address parses an address, or a name of /etc/hosts.
func (i *ifconfigCall) address(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		a = hostsTable(text(i.m.FS, "/etc/hosts"))[s]
	}
	if !a.Is4() {
		return netip.Addr{}, fmt.Errorf("%s: bad address", s)
	}
	return a, nil
}

// prefix parses ADDR or ADDR/LEN. Without a length the mask is that of
// netmasks(4), else the one of the address's class.
func (i *ifconfigCall) prefix(s string) (netip.Prefix, error) {
	host, length, hasLength := strings.Cut(s, "/")
	a, err := i.address(host)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s: bad address", s)
	}
	if hasLength {
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 || n > 32 {
			return netip.Prefix{}, fmt.Errorf("%s: bad prefix length", s)
		}
		return netip.PrefixFrom(a, n), nil
	}
	if n, ok := i.table(a); ok {
		return netip.PrefixFrom(a, n), nil
	}
	n := 24
	switch first := a.As4()[0]; {
	case first < 128:
		n = 8
	case first < 192:
		n = 16
	}
	return netip.PrefixFrom(a, n), nil
}

// table looks an address up in /etc/netmasks.
func (i *ifconfigCall) table(a netip.Addr) (bits int, ok bool) {
	return netmaskOf(text(i.m.FS, "/etc/netmasks"), a)
}
