package linux

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// A route is one line of the main table.
type route struct {
	sim.Route
	kernel bool // made by an address ("proto kernel scope link")
}

// table is the main table of a family, in the order in which the kernel of the
// era lists it: the trie by address and then length, the hash of 2.6 by length
// first (fib_trie.c, fib_hash.c).
func (k kernel) table(six bool) []route {
	var list []route
	for _, l := range k.Links {
		if !l.Up {
			continue
		}
		for i, a := range l.Addrs {
			if family6(a.Prefix.Addr()) != six {
				continue
			}
			r := route{sim.Route{Dst: subnet(a), Dev: l.Name, Src: a.Prefix.Addr()}, true}
			switch {
			case six && a.Prefix.Addr().IsLoopback():
				continue
			case six:
				r.Src, r.Metric = netip.Addr{}, 256
			case secondary(l, i), l.Kind == sim.Loopback, r.Dst.IsSingleIP() && !a.Peer.IsValid():
				continue // local table only
			}
			list = append(list, r)
		}
	}
	for _, r := range k.Routes {
		if family6(r.Dst.Addr()) == six {
			list = append(list, route{r, false})
		}
	}
	slices.SortStableFunc(list, func(a, b route) int {
		byLen, byAddr := b.Dst.Bits()-a.Dst.Bits(), a.Dst.Addr().Compare(b.Dst.Addr())
		if six {
			// ip -6 lists the default route last.
			if (a.Dst.Bits() == 0) != (b.Dst.Bits() == 0) {
				return byLen
			}
		}
		if k.era < el7 {
			if byLen != 0 {
				return byLen
			}
			return first(byAddr, a.Metric-b.Metric)
		}
		return first(byAddr, -byLen, a.Metric-b.Metric)
	})
	return list
}

func first(n ...int) int {
	for _, i := range n {
		if i != 0 {
			return i
		}
	}
	return 0
}

// A path is what a packet takes.
type path struct {
	kind string // "", "local", "broadcast"
	via  netip.Addr
	dev  string
	src  netip.Addr
	// metric is shown for IPv6.
	metric  int
	options string // metrics of the route: "advmss 1440"
}

// lookup finds the path to dst, its source address selected (fib_lookup,
// fib_select_default, inet_select_addr).
func (k kernel) lookup(dst netip.Addr) (path, error) {
	six := family6(dst)
	for _, l := range k.Links {
		for _, a := range l.Addrs {
			switch {
			case !l.Up:
			case a.Prefix.Addr() == dst, l.Kind == sim.Loopback && a.Prefix.Contains(dst):
				return path{kind: "local", dev: "lo", src: dst}, nil
			case !six && a.Prefix.Bits() < 31 && last(a.Prefix) == dst:
				return path{kind: "broadcast", dev: l.Name, src: a.Prefix.Addr()}, nil
			}
		}
	}
	var best *route
	for _, r := range k.table(six) {
		if r.Dst.Contains(dst) && (best == nil || r.Dst.Bits() > best.Dst.Bits() ||
			r.Dst.Bits() == best.Dst.Bits() && r.Metric < best.Metric) {
			c := r
			best = &c
		}
	}
	if best == nil {
		return path{}, &kernelError{errno: enetunreach}
	}
	p := path{via: best.Gateway, dev: best.Dev, src: best.Src, metric: best.Metric,
		options: strings.TrimSpace(strings.TrimPrefix(best.Options, "proto static"))}
	if !p.src.IsValid() {
		near := dst
		if best.Gateway.IsValid() {
			near = best.Gateway
		}
		p.src = k.selectSource(best.Dev, near)
	}
	return p, nil
}

// last is the highest address of p's net, its broadcast address.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}

// selectSource is inet_select_addr (devinet.c): of the device's primary
// addresses the one whose net holds near, else the first; else any global one
// of another device, the loopback's too.
func (k kernel) selectSource(dev string, near netip.Addr) netip.Addr {
	six := family6(near)
	pick := func(l *sim.Link) netip.Addr {
		var found netip.Addr
		for i, a := range l.Addrs {
			switch {
			case family6(a.Prefix.Addr()) != six, secondary(l, i), hostScope(a) == 1:
			case subnet(a).Contains(near):
				return a.Prefix.Addr()
			case !found.IsValid():
				found = a.Prefix.Addr()
			}
		}
		return found
	}
	if l := k.Link(dev); l != nil {
		if a := pick(l); a.IsValid() {
			return a
		}
	}
	for _, l := range k.Links {
		if a := pick(l); a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}

// place fills in the device of a route, and refuses a gateway that no link
// reaches by itself (fib_check_nh in fib_semantics.c).
func (k kernel) place(r *sim.Route) error {
	if r.Dev != "" {
		l := k.Link(r.Dev)
		switch {
		case l == nil:
			return &kernelError{errno: enodev}
		case !l.Up:
			return &kernelError{enetdown, "Device for nexthop is not up."}
		}
	}
	if r.Src.IsValid() {
		if l := k.Holder(r.Src); l == nil {
			return &kernelError{einval, "Invalid prefsrc address."}
		}
	}
	if !r.Gateway.IsValid() {
		if r.Dev == "" {
			return &kernelError{errno: enodev}
		}
		return nil
	}
	if family6(r.Gateway) && r.Gateway.IsLinkLocalUnicast() && r.Dev != "" {
		return nil
	}
	for _, t := range k.table(family6(r.Gateway)) {
		if t.Gateway.IsValid() || !t.Dst.Contains(r.Gateway) || t.Dst.Bits() == 0 || r.Dev != "" && r.Dev != t.Dev {
			continue
		}
		r.Dev = t.Dev
		return nil
	}
	if family6(r.Gateway) {
		return &kernelError{"No route to host", "Nexthop has invalid gateway."}
	}
	return &kernelError{enetunreach, "Nexthop has invalid gateway."}
}

// A routeVerb is how an existing route of the same destination and metric is
// met (the NLM_F flags of netlink(7)).
type routeVerb string

const (
	routeAdd     routeVerb = "add"     // it is an error
	routeReplace routeVerb = "replace" // it is replaced
	routeChange  routeVerb = "change"  // there must be one
)

// setRoute adds or replaces a route (fib_table_insert in fib_trie.c): one of a
// destination and metric. A route of another metric is left alone.
func (k kernel) setRoute(verb routeVerb, r sim.Route) error {
	if family6(r.Dst.Addr()) && r.Metric == 0 {
		r.Metric = 1024 // IP6_RT_PRIO_USER
	}
	if err := k.place(&r); err != nil {
		return err
	}
	at := slices.IndexFunc(k.Routes, func(o sim.Route) bool { return o.Dst == r.Dst && o.Metric == r.Metric })
	switch {
	case at >= 0 && verb == routeAdd:
		return &kernelError{errno: eexist}
	case at >= 0:
		k.Routes[at] = r
		return nil
	case verb == routeChange:
		return &kernelError{errno: enoent}
	}
	k.Routes = append(k.Routes, r)
	return nil
}

// delRoute removes the first route of the table that matches what r says:
// without a metric the one of the lowest.
func (k kernel) delRoute(r sim.Route) error {
	best := -1
	for i, o := range k.Routes {
		if o.Dst != r.Dst || r.Gateway.IsValid() && o.Gateway != r.Gateway || r.Dev != "" && o.Dev != r.Dev ||
			r.Metric != 0 && o.Metric != r.Metric || r.Src.IsValid() && o.Src != r.Src {
			continue
		}
		if best < 0 || o.Metric < k.Routes[best].Metric {
			best = i
		}
	}
	if best < 0 {
		return &kernelError{errno: esrch}
	}
	k.Routes = slices.Delete(k.Routes, best, best+1)
	return nil
}
