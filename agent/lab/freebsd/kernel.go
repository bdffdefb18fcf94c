package freebsd

import (
	"crypto/md5"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// A kernel is a machine's network state under FreeBSD's rules.
type kernel struct {
	system
	m *sim.Machine
}

func (s system) on(m *sim.Machine) kernel { return kernel{s, m} }

// errno is a kernel's answer as perror(3) has it.
type errno string

func (e errno) Error() string { return string(e) }

const (
	eexist        = errno("File exists")
	eaddrnotavail = errno("Can't assign requested address")
	edestaddrreq  = errno("Destination address required")
)

// The flags of Link.Flags.
const (
	running      = "running"
	ifdisabled   = "ifdisabled"
	ignoreSource = "ignore_source"
	link2        = "link2"
	tentative    = "tentative" // its link-local address is younger than its check for doubles
	reject6      = "reject6"   // lo0: boot has set the reject routes of IPv6
)

// create makes a link of a cloned kind.
func (k kernel) create(name string) *sim.Link {
	l := &sim.Link{Name: name, Flags: map[string]bool{}}
	switch {
	case strings.HasPrefix(name, "gif"):
		l.Kind, l.MTU = sim.IPTunnel, 1280
		l.Flags[ifdisabled] = true
	default:
		l.Kind, l.MTU = sim.Loopback, 16384
	}
	return k.m.Net.Add(l)
}

// isClone says whether name is of a kind that can be made, with a number or
// without.
func isClone(name string) (prefix string, ok bool) {
	for _, p := range []string{"gif", "lo"} {
		rest, found := strings.CutPrefix(name, p)
		if _, err := strconv.ParseUint(rest, 10, 15); found && (rest == "" || err == nil) {
			return p, true
		}
	}
	return "", false
}

// up marks a link up; IPv6 then gets its link-local address.
func (k kernel) up(l *sim.Link) {
	l.Up = true
	l.Flags[running] = true
	k.linkLocal(l)
}

// linkLocal adds what in6_ifattach adds to a link that is up.
func (k kernel) linkLocal(l *sim.Link) {
	if !l.Up || l.Flags[ifdisabled] || slices.ContainsFunc(l.Addrs, func(a sim.Addr) bool { return a.Prefix.Addr().IsLinkLocalUnicast() && a.Prefix.Addr().Is6() }) {
		return
	}
	add := func(text string) {
		l.Addrs = append(l.Addrs, sim.Addr{Prefix: netip.MustParsePrefix(text)})
	}
	if l.Kind == sim.Loopback {
		if l.Name == "lo0" {
			add("::1/128")
		}
		add("fe80::1/64")
		return
	}
	l.Flags[tentative] = true
	l.Addrs = append(l.Addrs, sim.Addr{Prefix: netip.PrefixFrom(k.interfaceID(l), 64)})
}

// interfaceID makes the link-local address of a link: of the card's address
// (RFC 4291, appendix A), or where there is none of the host's name
// (get_rand_ifid in in6_ifattach.c).
func (k kernel) interfaceID(l *sim.Link) netip.Addr {
	b := [16]byte{0: 0xfe, 1: 0x80}
	var mac [6]byte
	if n, _ := fmt.Sscanf(l.MAC, "%02x:%02x:%02x:%02x:%02x:%02x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]); n == 6 {
		copy(b[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
		return netip.AddrFrom16(b)
	}
	sum := md5.Sum([]byte(k.m.Name))
	copy(b[8:], sum[:8])
	b[8] = (b[8]&^1 | 2) ^ 2
	return netip.AddrFrom16(b)
}

// prefixRoute is the destination that an IPv4 address makes reachable through
// its link: itself on a loopback, the peer of a tunnel, the subnet of a card.
func prefixRoute(l *sim.Link, a sim.Addr) netip.Prefix {
	switch {
	case l.Kind == sim.Loopback:
		return netip.PrefixFrom(a.Prefix.Addr(), 32)
	case a.Peer.IsValid():
		return netip.PrefixFrom(a.Peer, 32)
	}
	return a.Prefix.Masked()
}

// addAddr is SIOCAIFADDR: an address that the link has is taken away first, so
// that it comes last.
func (k kernel) addAddr(l *sim.Link, a sim.Addr) error {
	if a.Prefix.Addr().Is6() {
		k.addAddr6(l, a)
		return nil
	}
	if l.Kind == sim.IPTunnel && !a.Peer.IsValid() {
		return edestaddrreq
	}
	// in_addprefix: a route to the same net with the same mask serves both;
	// a loopback's host route meets that of another interface's address.
	if l.Kind == sim.Loopback {
		for _, o := range k.m.Net.Links {
			for _, b := range o.Addrs {
				if o != l && o.Kind == sim.Ether && b.Prefix.Addr() == a.Prefix.Addr() && b.Prefix.Bits() != 32 {
					return eexist
				}
			}
		}
	}
	_ = k.delAddr(l, a.Prefix.Addr())
	l.Addrs = append(l.Addrs, a)
	if !l.Up {
		k.up(l)
	}
	return nil
}

// addAddr6 keeps the place of an address that is there, and takes IFDISABLED
// away (transcript 15-ipv6).
func (k kernel) addAddr6(l *sim.Link, a sim.Addr) {
	if i := index(l, a.Prefix.Addr()); i >= 0 {
		l.Addrs[i] = a
		return
	}
	l.Addrs = append(l.Addrs, a)
	l.Flags[ifdisabled] = false
	k.up(l)
}

func index(l *sim.Link, addr netip.Addr) int {
	return slices.IndexFunc(l.Addrs, func(a sim.Addr) bool { return a.Prefix.Addr() == addr })
}

// delAddr is SIOCDIFADDR. Routes whose gateway was reached by the address go
// with it.
func (k kernel) delAddr(l *sim.Link, addr netip.Addr) error {
	i := index(l, addr)
	if i < 0 {
		return eaddrnotavail
	}
	gone := l.Addrs[i]
	l.Addrs = slices.Delete(l.Addrs, i, i+1)
	if l.Kind == sim.Loopback {
		return nil
	}
	k.m.Net.Routes = slices.DeleteFunc(k.m.Net.Routes, func(r sim.Route) bool {
		return r.Dev == l.Name && (gone.Prefix.Contains(r.Gateway) || gone.Peer == r.Gateway) && k.towards(r.Gateway) == nil
	})
	return nil
}

// firstAddr gives the first address of a family; the zero Addr if there is
// none.
func firstAddr(l *sim.Link, six bool) netip.Addr {
	for _, a := range l.Addrs {
		if a.Prefix.Addr().Is6() == six {
			return a.Prefix.Addr()
		}
	}
	return netip.Addr{}
}

// towards finds the link by which addr is reached without a gateway; nil if
// there is none. An address of a card is reached by that card.
func (k kernel) towards(addr netip.Addr) *sim.Link {
	for _, l := range k.m.Net.Links {
		for _, a := range l.Addrs {
			if l.Kind != sim.Loopback && (prefixRoute6(l, a).Contains(addr) || a.Prefix.Addr() == addr) {
				return l
			}
		}
	}
	return nil
}

func prefixRoute6(l *sim.Link, a sim.Addr) netip.Prefix {
	if a.Prefix.Addr().Is4() {
		return prefixRoute(l, a)
	}
	return a.Prefix.Masked()
}

// setTunnel is SIOCSIFPHYADDR: one link per pair of ends, and no end unset.
func (k kernel) setTunnel(l *sim.Link, local, remote netip.Addr) error {
	if local.IsUnspecified() || remote.IsUnspecified() {
		return eaddrnotavail
	}
	for _, o := range k.m.Net.Links {
		if o != l && o.Kind == sim.IPTunnel && o.Local == local && o.Remote == remote {
			return eaddrnotavail
		}
	}
	l.Local, l.Remote = local, remote
	return nil
}

// isRunning says whether a link shows RUNNING: a tunnel does while its local
// end is an address of this machine.
func (k kernel) isRunning(l *sim.Link) bool {
	if l.Kind == sim.IPTunnel {
		return l.Local.IsValid() && k.m.Net.Holder(l.Local) != nil
	}
	return l.Flags[running]
}
