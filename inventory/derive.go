package inventory

import (
	"net/netip"
	"slices"
)

// Desired derives what each host must be, by host name. Every host of the site
// is in it. It takes a site that Validate finds no error in; of another one it
// leaves out what does not resolve. The time is linear in the size of the site
// and of the result, and the result is the same for the same site: every list
// is sorted.
func (s *Site) Desired() map[string]Desired {
	x := newIndex(s)
	d := deriver{index: x, hosts: make(map[*Host]*draft, len(s.Hosts))}
	for _, svc := range x.services {
		d.service(svc)
	}
	for _, t := range s.Tunnels {
		d.tunnel(t)
	}
	all := make(map[string]Desired, len(s.Hosts))
	for _, h := range s.Hosts {
		all[h.Name] = d.finish(h)
	}
	return all
}

// A deriver collects, service by service, what falls to each host.
type deriver struct {
	*index
	hosts map[*Host]*draft
}

// A draft is what was collected for one host.
type draft struct {
	vips     map[netip.Addr]*VIP
	decaps   map[[2]netip.Addr]*Decap
	tunnels  []PlainEnd
	natOf    []netip.Addr
	gateways []netip.Addr // that NAT demands
	forward4 bool         // a director with an IPv4 NAT service
	forward6 bool
	serves6  bool // director or real server of an IPv6 service

	director   *Director
	holds      map[netip.Addr]bool // VIPs that are in director.VIPs
	routes     map[TunnelRoute]bool
	schedulers []string
	oneArmed   []string
}

func (d *deriver) draft(h *Host) *draft {
	dr, ok := d.hosts[h]
	if !ok {
		dr = &draft{}
		d.hosts[h] = dr
	}
	return dr
}

func (d *deriver) service(s *service) {
	for _, dir := range s.directors {
		d.direct(s, dir)
	}
	for i := range s.members {
		if m := &s.members[i]; !m.local && m.addr.IsValid() {
			d.serve(s, m)
		}
	}
}

// serve is what the service asks of one real server.
func (d *deriver) serve(s *service, m *member) {
	dr := d.draft(m.host)
	dr.serves6 = dr.serves6 || s.IPv6
	if m.method == NAT {
		for _, dir := range s.directors {
			if a := gatewayTo(dir, m); a.IsValid() {
				dr.natOf = append(dr.natOf, a)
				dr.gateways = append(dr.gateways, a)
			}
		}
		if g := m.host.Gateway; len(s.directors) > 1 && g.IsValid() && g.Is6() == s.IPv6 {
			// The address that moves between them: whoever holds it directs.
			dr.natOf = append(dr.natOf, g)
		}
		return
	}
	for _, vip := range s.VIPs() {
		if dr.vips == nil {
			dr.vips = map[netip.Addr]*VIP{}
		}
		if dr.vips[vip] == nil {
			v := &VIP{
				Addr: vip, Method: m.method, Device: m.device,
				OnLAN: m.method == DR || onDevice(m.host, m.device, vip),
			}
			if m.method == TUN {
				v.Peer = s.peer()
			}
			dr.vips[vip] = v
		}
	}
	if m.method != TUN {
		return
	}
	if dr.decaps == nil {
		dr.decaps = map[[2]netip.Addr]*Decap{}
	}
	for _, dir := range s.directors {
		from := TunnelSourceTo(dir, m.host, m.addr)
		if !from.IsValid() {
			continue
		}
		ends := [2]netip.Addr{m.addr, from}
		dc := dr.decaps[ends]
		if dc == nil {
			dc = &Decap{Local: m.addr, Remote: from}
			dr.decaps[ends] = dc
		}
		dc.VIPs = append(dc.VIPs, s.VIPs()...)
	}
}

func (d *deriver) tunnel(t *Tunnel) {
	for i, e := range t.Ends {
		far := t.Ends[1-i]
		h, other := d.host(e.Host), d.host(far.Host)
		if h == nil || other == nil {
			continue
		}
		dr := d.draft(h)
		dr.tunnels = append(dr.tunnels, PlainEnd{
			Name: t.Name, Peer: far.Host, Inside: e.Inside, FarInside: far.Inside,
			Local: outside(h, e), Remote: outside(other, far), Interface: e.Interface,
		})
	}
}

// finish turns what was collected for h into the sorted whole.
func (d *deriver) finish(h *Host) Desired {
	out := Desired{
		Host: h.Name, OS: h.OS, Release: h.Release, Address: h.Address, Network: h.Network,
	}
	for _, i := range h.Interfaces {
		i.Src = Source{}
		out.Interfaces = append(out.Interfaces, i)
	}
	dr := d.hosts[h]
	if dr == nil {
		dr = &draft{}
	}
	out.Gateways = gateways(h, dr)
	out.IPForward4, out.IPForward6 = forwarding(h, dr)
	for _, v := range dr.vips {
		out.VIPs = append(out.VIPs, *v)
	}
	slices.SortFunc(out.VIPs, func(a, b VIP) int { return a.Addr.Compare(b.Addr) })
	for _, dc := range dr.decaps {
		dc.VIPs = sortedAddrs(dc.VIPs)
		out.Decaps = append(out.Decaps, *dc)
	}
	slices.SortFunc(out.Decaps, func(a, b Decap) int {
		if c := a.Local.Compare(b.Local); c != 0 {
			return c
		}
		return a.Remote.Compare(b.Remote)
	})
	out.Tunnels = dr.tunnels // Site.Tunnels is sorted
	out.NATOf = sortedAddrs(dr.natOf)
	out.Director = dr.finishDirector()
	return out
}

// gateways are the default routes of h: what it says itself, and what NAT
// demands in a family of which it says nothing. Where several directors would
// do, none is chosen. A director that shares a role whose gateway it is has
// none by that role.
func gateways(h *Host, dr *draft) []netip.Addr {
	var out []netip.Addr
	if h.Gateway.IsValid() && ownDevice(h, h.Gateway) == "" {
		out = append(out, h.Gateway)
	}
	need := sortedAddrs(dr.gateways)
	for _, v6 := range []bool{false, true} {
		if h.Gateway.IsValid() && h.Gateway.Is6() == v6 {
			continue
		}
		var of []netip.Addr
		for _, a := range need {
			if a.Is6() == v6 {
				of = append(of, a)
			}
		}
		if len(of) == 1 {
			out = append(out, of[0])
		}
	}
	return sortedAddrs(out)
}

// forwarding decides ip_forward by family. A value that the inventory sets
// holds for IPv4; for IPv6 only on a host that has a part in an IPv6 service,
// since forwarding ends there the acceptance of router advertisements
// (Documentation/networking/ip-sysctl.rst, accept_ra) on hosts that LVS has no
// business with.
func forwarding(h *Host, dr *draft) (v4, v6 *bool) {
	if h.IPForward != nil {
		on := *h.IPForward
		v4 = &on
		if dr.serves6 {
			on := *h.IPForward
			v6 = &on
		}
		return v4, v6
	}
	if dr.forward4 {
		on := true
		v4 = &on
	}
	if dr.forward6 {
		on := true
		v6 = &on
	}
	return v4, v6
}

// sortedAddrs sorts and drops what is there twice; of nothing it makes nil.
func sortedAddrs(in []netip.Addr) []netip.Addr {
	if len(in) == 0 {
		return nil
	}
	out := slices.Clone(in)
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}
