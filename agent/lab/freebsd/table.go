package freebsd

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// An entry is one line of the routing table.
type entry struct {
	dst     netip.Prefix
	scope   int        // the index of the link whose link-local address dst is; else 0
	gateway netip.Addr // of a static route
	link    int        // else the index of the link
	flags   string     // "UGS"
	dev     string
	mtu     int
	weight  int
	hop     int  // orders the routes to one destination
	static  bool // not an address's own
}

// table is the routing table of a family: the routes of addresses and those
// that were set, sorted by destination.
func (k kernel) table(six bool) []entry {
	var list []entry
	add := func(e entry) {
		if !slices.ContainsFunc(list, func(o entry) bool { return o.dst == e.dst && o.scope == e.scope && !o.static }) {
			list = append(list, e)
		}
	}
	for i := range k.m.Net.Routes {
		r := &k.m.Net.Routes[i]
		if r.Dst.Addr().Is6() == six {
			list = append(list, k.entryOf(r))
		}
	}
	// A loopback's address is reached by its own link, whoever else has it.
	links := slices.Clone(k.m.Net.Links)
	slices.SortStableFunc(links, func(a, b *sim.Link) int {
		return order(a.Kind == sim.Loopback) - order(b.Kind == sim.Loopback)
	})
	for _, l := range links {
		for _, a := range l.Addrs {
			if a.Prefix.Addr().Is6() == six {
				for _, e := range addressEntries(l, a) {
					add(e)
				}
			}
		}
	}
	if l := k.m.Net.Link("lo0"); six && l != nil && l.Flags[reject6] {
		for _, p := range []string{"::/96", "::ffff:0.0.0.0/96", "fe80::/10", "ff02::/16"} {
			list = append(list, entry{
				dst: netip.MustParsePrefix(p), gateway: netip.IPv6Loopback(), flags: "URS", dev: "lo0", weight: 1, static: true,
			})
		}
	}
	slices.SortStableFunc(list, func(a, b entry) int {
		if c := bytes.Compare(a.key(), b.key()); c != 0 {
			return c
		}
		if c := a.shorterLast() - b.shorterLast(); c != 0 {
			return c
		}
		return a.hop - b.hop
	})
	return list
}

func order(first bool) int {
	if first {
		return 0
	}
	return 1
}

// key is the destination as the kernel keeps it: a link-local one has its
// link's index in the second pair of bytes.
func (e entry) key() []byte {
	b := e.dst.Addr().AsSlice()
	if e.scope > 0 {
		b[3] = byte(e.scope)
	}
	return b
}

// shorterLast puts ::/96 before ::/0, and a net of IPv4 before a host in it.
func (e entry) shorterLast() int {
	if e.dst.Addr().Is6() {
		return -e.dst.Bits()
	}
	return e.dst.Bits()
}

// addressEntries are the routes that an address brings: its net or peer
// through its link, and itself through lo0.
func addressEntries(l *sim.Link, a sim.Addr) []entry {
	addr := a.Prefix.Addr()
	self := netip.PrefixFrom(addr, addr.BitLen())
	scope := 0
	if addr.Is6() && addr.IsLinkLocalUnicast() {
		scope = l.Index
	}
	own := entry{dst: self, scope: scope, link: l.Index, flags: "UHS", dev: "lo0", weight: 1}
	net := entry{dst: a.Prefix.Masked(), scope: scope, link: l.Index, flags: "U", dev: l.Name, weight: 1}
	switch {
	case addr.Is4() && l.Kind == sim.Loopback:
		own.flags = "UH"
		return []entry{own}
	case a.Peer.IsValid():
		net.dst, net.flags = netip.PrefixFrom(a.Peer, a.Peer.BitLen()), "UH"
	case addr.Is6() && a.Prefix.IsSingleIP():
		return []entry{own}
	}
	return []entry{net, own}
}

// entryOf is a route that was set. One of several weighs nothing, as route(8)
// prints it.
func (k kernel) entryOf(r *sim.Route) entry {
	e := entry{dst: r.Dst, gateway: r.Gateway, dev: r.Dev, flags: "UGS", mtu: r.MTU, static: true, weight: 1, hop: r.Metric}
	if !r.Gateway.IsValid() {
		e.flags = "US"
		if l := k.m.Net.Link(r.Dev); l != nil {
			e.link = l.Index
		}
	}
	if r.Dst.IsSingleIP() {
		e.flags = strings.Replace(e.flags, "S", "HS", 1)
	}
	if len(k.to(r.Dst)) > 1 {
		e.weight = 0
	}
	return e
}

// lookup finds the longest entry that holds addr.
func (k kernel) lookup(addr netip.Addr) (best entry, ok bool) {
	for _, e := range k.table(addr.Is6()) {
		if e.dst.Contains(addr) && (!ok || e.dst.Bits() > best.dst.Bits()) {
			best, ok = e, true
		}
	}
	return best, ok
}

// longFlags are the flags in route(8)'s words.
func (e entry) longFlags() string {
	words := []string{"UP"}
	for _, f := range []struct{ letter, word string }{{"G", "GATEWAY"}, {"H", "HOST"}} {
		if strings.Contains(e.flags, f.letter) {
			words = append(words, f.word)
		}
	}
	words = append(words, "DONE")
	if strings.Contains(e.flags, "S") {
		words = append(words, "STATIC")
	}
	if !e.static {
		words = append(words, "PINNED")
	}
	if e.mtu != 0 {
		words = append(words, "FIXEDMTU")
	}
	return strings.Join(words, ",")
}

// names gives destination and gateway as netstat prints them.
func (k kernel) names(e entry) (dst, gateway string) {
	zone := ""
	if e.scope > 0 {
		for _, l := range k.m.Net.Links {
			if l.Index == e.scope {
				zone = "%" + l.Name
			}
		}
	}
	text := e.dst.Addr().String()
	if e.dst.Addr().Is4In6() {
		text = "::ffff:" + e.dst.Addr().Unmap().String()
	}
	dst = text + zone
	switch {
	case e.dst.Bits() == 0:
		dst = "default"
	case !strings.Contains(e.flags, "H"):
		dst = fmt.Sprintf("%s%s/%d", text, zone, e.dst.Bits())
	}
	gateway = fmt.Sprintf("link#%d", e.link)
	if e.gateway.IsValid() {
		gateway = e.gateway.String()
	}
	return dst, gateway
}
