package solaris

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

var tunnelName = regexp.MustCompile(`^ip\.tun[0-9]+$`)

// A kernel is the state that the commands change. Each physical interface is
// a link; its logical interfaces are the link's addresses, labelled with their
// names, of which "lo0" itself is the first. One that was plumbed and has no
// address yet has the zero Prefix.
type kernel struct{ *sim.Net }

// parent splits "lo0:1" into "lo0" and 1; "lo0" is "lo0" and 0.
func parent(name string) (dev string, unit int, ok bool) {
	dev, text, logical := strings.Cut(name, ":")
	if !logical {
		return dev, 0, dev != ""
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 8191 || strconv.Itoa(n) != text {
		return "", 0, false
	}
	return dev, n, dev != ""
}

func label(dev string, unit int) string {
	if unit == 0 {
		return dev
	}
	return fmt.Sprintf("%s:%d", dev, unit)
}

// find gives the logical interface of that name.
func (k kernel) find(name string) (*sim.Link, *sim.Addr) {
	dev, unit, ok := parent(name)
	if !ok {
		return nil, nil
	}
	l := k.Link(dev)
	if l == nil {
		return nil, nil
	}
	for i := range l.Addrs {
		if l.Addrs[i].Label == label(dev, unit) {
			return l, &l.Addrs[i]
		}
	}
	return l, nil
}

// plumb makes an interface. One that is there is left: that is no error. A
// logical one needs its parent.
func (k kernel) plumb(name string, hardware func(string) bool, mac string) error {
	dev, unit, ok := parent(name)
	if !ok {
		return fmt.Errorf("%s: bad interface name", name)
	}
	l, a := k.find(name)
	if a != nil {
		return nil
	}
	if unit > 0 {
		if l == nil {
			return fmt.Errorf("%s: no such interface", dev)
		}
		k.addUnit(l, unit)
		return nil
	}
	if !hardware(name) {
		return fmt.Errorf("%s: no such interface", name)
	}
	l = &sim.Link{Name: name, Kind: sim.Ether, MAC: mac, MTU: 1500}
	switch {
	case name == "lo0":
		l.Kind, l.MTU, l.MAC = sim.Loopback, 8232, ""
	case tunnelName.MatchString(name):
		l.Kind, l.MTU, l.MAC = sim.IPTunnel, 1480, ""
	}
	k.Add(l)
	l.Addrs = []sim.Addr{{Label: name, Down: true}}
	return nil
}

// addUnit makes a logical interface, kept in the order of its number.
func (k kernel) addUnit(l *sim.Link, unit int) {
	at := len(l.Addrs)
	for i, a := range l.Addrs {
		if _, n, _ := parent(a.Label); n > unit {
			at = i
			break
		}
	}
	l.Addrs = slices.Insert(l.Addrs, at, sim.Addr{Label: label(l.Name, unit), Down: true})
}

// freeUnit is the lowest number that no logical interface has (addif).
func freeUnit(l *sim.Link) int {
	for n := 1; ; n++ {
		if !slices.ContainsFunc(l.Addrs, func(a sim.Addr) bool { return a.Label == label(l.Name, n) }) {
			return n
		}
	}
}

// unplumb takes an interface away; the first of a link takes them all.
func (k kernel) unplumb(name string) error {
	l, a := k.find(name)
	switch {
	case a == nil:
		return fmt.Errorf("%s: no such interface", name)
	case a.Label == l.Name:
		k.Delete(name)
	default:
		l.Addrs = slices.DeleteFunc(l.Addrs, func(b sim.Addr) bool { return b.Label == name })
		k.settle(l)
	}
	return nil
}

// settle keeps a link's own Up in step with its logical interfaces, and drops
// the default routes whose gateway no interface reaches any more.
func (k kernel) settle(l *sim.Link) {
	l.Up = slices.ContainsFunc(l.Addrs, func(a sim.Addr) bool { return !a.Down })
	k.Routes = slices.DeleteFunc(k.Routes, func(r sim.Route) bool {
		_, ok := k.reaches(r.Gateway)
		return !ok
	})
}

// setUp brings a logical interface up or down.
func (k kernel) setUp(l *sim.Link, a *sim.Addr, up bool) {
	a.Down = !up
	k.settle(l)
}

// reaches names the interface whose net holds a gateway.
func (k kernel) reaches(gw netip.Addr) (dev string, ok bool) {
	for _, l := range k.Links {
		for _, a := range l.Addrs {
			if a.Down || !a.Prefix.IsValid() || l.Kind == sim.Loopback {
				continue
			}
			if a.Peer == gw || !a.Peer.IsValid() && a.Prefix.Contains(gw) {
				return l.Name, true
			}
		}
	}
	return "", false
}

// The kernel's answers to route(1M), in its words.
const (
	routeExists      = "entry exists"
	routeMissing     = "not in table"
	routeUnreachable = "Network is unreachable"
)

// addRoute adds a route; others of the same destination stay.
func (k kernel) addRoute(r sim.Route) error {
	if slices.ContainsFunc(k.Routes, func(o sim.Route) bool { return o.Dst == r.Dst && o.Gateway == r.Gateway }) {
		return fmt.Errorf("%s", routeExists)
	}
	dev, ok := k.reaches(r.Gateway)
	if !ok {
		return fmt.Errorf("%s", routeUnreachable)
	}
	r.Dev = dev
	k.Routes = append(k.Routes, r)
	return nil
}

// delRoute removes the route of a destination through a gateway.
func (k kernel) delRoute(r sim.Route) error {
	at := slices.IndexFunc(k.Routes, func(o sim.Route) bool { return o.Dst == r.Dst && o.Gateway == r.Gateway })
	if at < 0 {
		return fmt.Errorf("%s", routeMissing)
	}
	k.Routes = slices.Delete(k.Routes, at, at+1)
	return nil
}

// flags are the bits and names of a logical interface (net/if.h).
func flags(l *sim.Link, a sim.Addr) string {
	bits, names := uint64(0), []string(nil)
	add := func(bit uint64, name string) {
		bits |= bit
		names = append(names, name)
	}
	if !a.Down {
		add(0x1, "UP")
	}
	switch l.Kind {
	case sim.Loopback:
		add(0x8, "LOOPBACK")
	case sim.IPTunnel:
		add(0x10, "POINTOPOINT")
	default:
		add(0x2, "BROADCAST")
	}
	add(0x40, "RUNNING")
	if l.Kind == sim.IPTunnel {
		add(0x80, "NOARP")
	}
	add(0x800, "MULTICAST")
	add(0x1000000, "IPv4")
	if l.Kind == sim.Loopback {
		add(0x2001000000&^0x1000000, "VIRTUAL")
	}
	return fmt.Sprintf("flags=%x<%s>", bits, strings.Join(names, ","))
}

// maskHex is a mask as ifconfig prints it: hexadecimal without 0x.
func maskHex(p netip.Prefix) string {
	if !p.IsValid() || p.Bits() == 0 {
		return "0"
	}
	return strconv.FormatUint(uint64(^uint32(0)<<(32-p.Bits())), 16)
}

func broadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}

func orZero(a netip.Addr) netip.Addr {
	if !a.IsValid() {
		return netip.IPv4Unspecified()
	}
	return a
}
