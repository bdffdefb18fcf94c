package inventory

import "net/netip"

// tunnels judges the plain tunnels.
func (c *checker) tunnels() {
	type device struct{ host, name string }
	devices := map[device]*Tunnel{}
	pairs := map[tunnelKey]*Tunnel{}
	vips := map[netip.Addr]*service{}
	for _, s := range c.services {
		for _, vip := range s.VIPs() {
			if vips[vip] == nil {
				vips[vip] = s
			}
		}
	}
	lvs := c.lvsPairs()
	inside := map[netip.Addr]string{}
	for i, t := range c.site.Tunnels {
		c.name("tunnel", t.Name, t.Src.Block)
		if i > 0 {
			c.twice("tunnel", t.Name, c.site.Tunnels[i-1].Name, t.Src.Block, c.site.Tunnels[i-1].Src.Block)
		}
		if !c.tunnelHosts(t) || t.Incomplete {
			continue
		}
		a, b := t.Ends[0], t.Ends[1]
		ha, hb := c.host(a.Host), c.host(b.Host)
		if ha == hb {
			c.report(CodeTunnelEnds, b.Src.Block, "Both ends of the tunnel %q are on host %q.", t.Name, ha.Name)
			continue
		}
		outA, outB := outside(ha, a), outside(hb, b)
		switch {
		case a.Inside.Is6() != b.Inside.Is6():
			c.report(CodeTunnelEnds, b.Src.Attr("inside"), "The inside addresses of %q, %s and %s, are of different families.", t.Name, a.Inside, b.Inside)
			continue
		case a.Inside == b.Inside:
			c.report(CodeTunnelEnds, b.Src.Attr("inside"), "Both ends of %q have the inside address %s.", t.Name, a.Inside)
			continue
		case ha.Incomplete || hb.Incomplete:
			continue
		case !outA.IsValid() || !outB.IsValid():
			c.report(CodeTunnelEnds, t.Src.Block, "An outside address of %q is not known: write outside = \"ADDRESS\".", t.Name)
			continue
		case outA.Is6() != outB.Is6():
			c.report(CodeTunnelEnds, b.Src.Attr("outside"), "The outside addresses of %q, %s and %s, are of different families.", t.Name, outA, outB)
			continue
		case outA == outB:
			c.report(CodeTunnelEnds, b.Src.Attr("outside"), "Both ends of %q have the outside address %s.", t.Name, outA)
			continue
		}
		if !near(a.Inside, b.Inside) {
			c.report(CodeInsideApart, b.Src.Attr("inside"), "The inside addresses of %q are %s and %s.", t.Name, a.Inside, b.Inside)
		}
		ends := [2]netip.Addr{outA, outB}
		for j, e := range t.Ends {
			c.insideAddress(t, e, vips, inside)
			if e.Interface != "" {
				c.device(c.host(e.Host).OS, e.Interface, e.Src.Attr("interface"))
				d := device{e.Host, e.Interface}
				if f := devices[d]; f != nil {
					c.report(CodeTwoSources, e.Src.Attr("interface"), "The tunnels %q and %q both want to be %s on host %q.", f.Name, t.Name, e.Interface, e.Host)
				} else {
					devices[d] = t
				}
			}
			p := tunnelKey{e.Host, ends[j], ends[1-j]}
			if f := pairs[p]; f != nil {
				if j == 0 {
					c.report(CodeTwoSources, t.Src.Block, "The tunnels %q and %q have the same outer addresses, %s and %s.", f.Name, t.Name, outA, outB)
				}
				continue
			}
			pairs[p] = t
			if s := lvs[p]; s != nil {
				c.report(CodeTwoSources, e.Src.Block, "The tunnel %q and the service %q, by TUN, both need a tunnel from %s to %s on host %q.", t.Name, s.Name, ends[j], ends[1-j], e.Host)
			}
		}
	}
}

// tunnelHosts wants hosts at both ends.
func (c *checker) tunnelHosts(t *Tunnel) bool {
	ok := true
	for _, e := range t.Ends {
		if e.Host == "" && t.Incomplete {
			ok = false // there is no such end, and it was reported
		} else if c.host(e.Host) == nil {
			ok = false
			c.report(CodeUnknownHost, e.Src.Block, "An end of the tunnel %q is on host %q, which the site does not have.%s", t.Name, e.Host, c.suggest(e.Host, c.hostNames))
		}
	}
	return ok
}

// insideAddress wants an inside address that nobody else has. One host may be
// the hub of several tunnels by one inside address.
func (c *checker) insideAddress(t *Tunnel, e TunnelEnd, vips map[netip.Addr]*service, inside map[netip.Addr]string) {
	at := e.Src.Attr("inside")
	switch {
	case c.own[e.Inside] != nil:
		c.report(CodePeer, at, "The inside address %s of %q is an address of host %q.", e.Inside, t.Name, c.own[e.Inside].Name)
	case vips[e.Inside] != nil:
		c.report(CodePeer, at, "The inside address %s of %q is the VIP of %q.", e.Inside, t.Name, vips[e.Inside].Name)
	case inside[e.Inside] != "" && inside[e.Inside] != e.Host:
		c.report(CodePeer, at, "The inside address %s of %q is one of host %q too.", e.Inside, t.Name, inside[e.Inside])
	default:
		inside[e.Inside] = e.Host
	}
}

// near says that two addresses share a /16, or a /48 of IPv6.
func near(a, b netip.Addr) bool {
	bits := 16
	if a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	return err == nil && p.Contains(b)
}

// A tunnelKey is a pair of outer addresses on one host.
type tunnelKey struct {
	host       string
	near, away netip.Addr
}

// lvsPairs are the outer addresses that TUN services need on hosts whose
// tunnels have two ends. (Linux takes them all in by tunl0, which has none.)
func (c *checker) lvsPairs() map[tunnelKey]*service {
	out := map[tunnelKey]*service{}
	if len(c.site.Tunnels) == 0 {
		return out
	}
	for _, s := range c.services {
		for i := range s.members {
			m := &s.members[i]
			if m.method != TUN || m.local || m.host.OS == Linux || !m.addr.IsValid() {
				continue
			}
			for _, d := range s.directors {
				k := tunnelKey{m.host.Name, m.addr, TunnelSourceTo(d, m.host, m.addr)}
				if out[k] == nil {
					out[k] = s
				}
			}
		}
	}
	return out
}
