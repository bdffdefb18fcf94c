package sim

import (
	"net/netip"
	"slices"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A Net is a kernel's network state: what a reboot forgets. The commands of
// each system give it their own meaning.
type Net struct {
	Links   []*Link // in the order in which they appeared
	Routes  []Route
	Sysctls map[string]string // by dotted name; Linux, FreeBSD; ndd's on Solaris as "ip:NAME"
	Modules map[string]bool   // loaded
	IPVS    []ipvs.Service
}

// NewNet makes the state of a kernel that has just started: nothing yet.
func NewNet() *Net {
	return &Net{Sysctls: map[string]string{}, Modules: map[string]bool{}}
}

// A Kind is a kind of link.
type Kind string

// The kinds of link.
const (
	Ether    Kind = "ether"
	Loopback Kind = "loopback"
	IPTunnel Kind = "iptunnel" // gif, ip.tun, tunl0, ipip
)

// A Link is a network interface.
type Link struct {
	Name   string
	Index  int
	Kind   Kind
	MAC    string // Ether
	MTU    int
	Up     bool
	Addrs  []Addr // in the kernel's order
	Local  netip.Addr
	Remote netip.Addr      // IPTunnel's outer ends; zero: unset
	Flags  map[string]bool // a system's own: "ignore_source", "ifdisabled", ...
}

// An Addr is an address of a link.
type Addr struct {
	Prefix netip.Prefix // the address, not the net, with its length
	Peer   netip.Addr   // point-to-point
	Brd    netip.Addr   // broadcast address; zero: unset
	Scope  string       // Linux: where it was set other than the address implies: "host", "link"
	Label  string       // Linux' "lo:0"; Solaris' logical interface "lo0:1"
	Down   bool         // Solaris: plumbed but not up
}

// A Route is a route that somebody set (those of the addresses are implied).
type Route struct {
	Dst     netip.Prefix // 0.0.0.0/0 and ::/0 are default routes
	Gateway netip.Addr
	Dev     string
	Metric  int
	Src     netip.Addr // Linux: the source address that it selects; zero: the kernel chooses
	Options string     // Linux: what else it prints, as typed: "advmss 1440"
	MTU     int        // FreeBSD: of the route itself; 0: the link's
}

// Link finds a link; nil if there is none.
func (n *Net) Link(name string) *Link {
	for _, l := range n.Links {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// Add appends a link with the next free index.
func (n *Net) Add(l *Link) *Link {
	l.Index = 1
	for _, o := range n.Links {
		l.Index = max(l.Index, o.Index+1)
	}
	if l.Flags == nil {
		l.Flags = map[string]bool{}
	}
	n.Links = append(n.Links, l)
	return l
}

// Delete removes a link, and the routes through it.
func (n *Net) Delete(name string) {
	n.Links = slices.DeleteFunc(n.Links, func(l *Link) bool { return l.Name == name })
	n.Routes = slices.DeleteFunc(n.Routes, func(r Route) bool { return r.Dev == name })
}

// Holder finds the link that has addr; nil if none has.
func (n *Net) Holder(addr netip.Addr) *Link {
	for _, l := range n.Links {
		for _, a := range l.Addrs {
			if a.Prefix.Addr() == addr {
				return l
			}
		}
	}
	return nil
}
