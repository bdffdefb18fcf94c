package verify

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A Place is one real server in one service, of one port, of one director, or
// the service itself there: Host is "" then.
type Place struct {
	Service  string
	Director string
	Host     string
	Addr     netip.Addr // the VIP, of several the first; zero where a mark has none
	Port     int
	Protocol string
	FWMark   uint32
	Method   inventory.Method // "" of the service itself
	Checks   []*Check         // several places may share one
}

// Places derives what there is to look at from a site, in the order of its
// directors, services and real servers. It takes a site that Validate finds no
// error in.
func Places(site *inventory.Site) []Place {
	want := site.Desired()
	d := deriver{site: site, want: want, seen: map[string]*Check{}, services: map[string]*inventory.VirtualService{}}
	for _, s := range site.Services {
		d.services[s.Name] = s
	}
	for _, h := range site.Hosts {
		if w := want[h.Name]; w.Director != nil {
			for i := range w.Director.Services {
				d.service(h, &w.Director.Services[i])
			}
		}
	}
	return d.places
}

type deriver struct {
	site     *inventory.Site
	want     map[string]inventory.Desired
	services map[string]*inventory.VirtualService
	seen     map[string]*Check
	places   []Place
}

// once gives c, or the same check that another place has already.
func (d *deriver) once(c Check) *Check {
	key := fmt.Sprintf("%s %+v", c.Host, c)
	if d.seen[key] == nil {
		d.seen[key] = &c
	}
	return d.seen[key]
}

func (d *deriver) service(dir *inventory.Host, s *inventory.DirectedService) {
	svc := d.services[s.Name]
	if svc == nil {
		return
	}
	place := Place{
		Service: s.Name, Director: dir.Name, Addr: s.Addr, Port: s.Port, Protocol: s.Protocol, FWMark: s.FWMark,
	}
	vips := []netip.Addr{s.Addr}
	if s.FWMark != 0 {
		vips = s.MarkVIPs
	}
	if len(vips) > 0 {
		place.Addr = vips[0]
	}
	whole := place
	nat := false
	for _, r := range s.Real {
		nat = nat || r.Method == inventory.NAT && r.Host != dir.Name
	}
	for _, vip := range vips {
		whole.Checks = append(whole.Checks, d.once(d.alone(dir, svc, vip)))
	}
	if nat {
		whole.Checks = append(whole.Checks, d.once(Check{Kind: Forward, Host: dir.Name, IPv6: s.IPv6}))
	}
	if len(whole.Checks) > 0 {
		d.places = append(d.places, whole)
	}
	for _, r := range s.Real {
		p := place
		p.Host, p.Method = r.Host, r.Method
		p.Checks = d.real(dir, svc, s, r, place.Addr)
		d.places = append(d.places, p)
	}
}

// alone asks the segment of the VIP on the director.
func (d *deriver) alone(dir *inventory.Host, svc *inventory.VirtualService, vip netip.Addr) Check {
	c := Check{Kind: Alone, Host: dir.Name, Addr: vip, Dev: svc.Interface}
	for _, v := range d.want[dir.Name].Director.VIPs {
		if v.Addr == vip {
			c.Dev, c.Required = v.Device, true
		}
	}
	if c.Dev == "" {
		c.Dev, _ = towards(dir, vip)
	}
	if c.Dev == "" {
		c.Why = fmt.Sprintf("no interface of the director lies on the segment of %s", vip)
	}
	return c
}

func (d *deriver) real(dir *inventory.Host, svc *inventory.VirtualService, s *inventory.DirectedService, r inventory.DirectedServer, vip netip.Addr) []*Check {
	path := Check{
		Kind: Path, Host: dir.Name, Addr: vip, Port: s.Port, Protocol: s.Protocol, IPv6: s.IPv6,
		Real: ipvs.DestKey{Addr: r.Addr, Port: uint16(r.Port)}, Method: ipvs.ParseMethod(string(r.Method)), Scheduler: s.Scheduler,
	}
	if p := svc.Probe; p != nil && s.Protocol != "tcp" {
		path.Send, path.Expect = p.Send, p.Expect
	}
	rs := d.site.Host(r.Host)
	local := r.Host == dir.Name || rs == nil
	path.Dev, _ = towards(dir, r.Addr)
	path.Source = source(dir, rs, r, vip)
	path.SourceDev = holder(dir, path.Source)
	switch {
	case !svc.Proof:
		path.Why = "proof = false: the service wants none"
	case local:
		path.Why = "the director is a real server of its own: nothing leaves it"
	case s.FWMark != 0:
		path.Why = "a service of a firewall mark names no port to connect to"
	case s.Port == 0:
		path.Why = "a service of every port names none to connect to"
	case s.Protocol != "tcp" && svc.Probe == nil:
		path.Why = "a " + s.Protocol + " service is proven by its probe { send, expect } block, and has none"
	case !path.Source.IsValid():
		path.Why = "the director has no address of its own besides the VIP"
	}

	var list []*Check
	if s.Port != 0 {
		at := Check{Kind: Listener, Host: r.Host, Addr: vip, Port: s.Port, Protocol: s.Protocol, Required: svc.RequireListener}
		if r.Method == inventory.NAT {
			at.Addr, at.Port = r.Addr, r.Port
		}
		list = append(list, d.once(at))
	}
	if !local {
		port := r.Port
		if port == 0 {
			port = 22 // any answer will do
		}
		list = append(list, d.once(Check{Kind: Reach, Host: dir.Name, Addr: r.Addr, Port: port, Dev: path.Dev}))
		if r.Method == inventory.NAT {
			if gws := d.natGateways(r.Host, s.IPv6); len(gws) > 0 {
				list = append(list, d.once(Check{Kind: Gateway, Host: r.Host, Gateways: gws, IPv6: s.IPv6}))
			}
		}
	}
	return append(list, d.once(path))
}

func (d *deriver) natGateways(host string, v6 bool) []netip.Addr {
	var list []netip.Addr
	for _, a := range d.want[host].NATOf {
		if a.Is6() == v6 {
			list = append(list, a)
		}
	}
	return list
}

// source is the director's address that a proof comes from: with TUN what the
// wrapped packets come from too, else its address in the real server's subnet,
// else any of its own; never the VIP.
func source(dir, rs *inventory.Host, r inventory.DirectedServer, vip netip.Addr) netip.Addr {
	fits := func(a netip.Addr) bool {
		return a.IsValid() && a != vip && a.Is6() == r.Addr.Is6() && holder(dir, a) != ""
	}
	if rs != nil && r.Method == inventory.TUN {
		if a := inventory.TunnelSourceTo(dir, rs, r.Addr); fits(a) {
			return a
		}
	}
	_, near := towards(dir, r.Addr)
	for _, a := range near {
		if fits(a) {
			return a
		}
	}
	for _, i := range dir.Interfaces {
		for _, p := range i.Addresses {
			if fits(p.Addr()) {
				return p.Addr()
			}
		}
	}
	return netip.Addr{}
}

// towards is the device in whose subnet a lies, with the host's addresses
// there.
func towards(h *inventory.Host, a netip.Addr) (dev string, own []netip.Addr) {
	for _, i := range h.Interfaces {
		for _, p := range i.Addresses {
			if a.IsValid() && p.Contains(a) && (dev == "" || dev == i.Device) {
				dev = i.Device
				own = append(own, p.Addr())
			}
		}
	}
	return dev, own
}

// holder is the device that holds a as the host's own.
func holder(h *inventory.Host, a netip.Addr) string {
	i := slices.IndexFunc(h.Interfaces, func(i inventory.Interface) bool {
		return slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr() == a })
	})
	if i < 0 {
		return ""
	}
	return h.Interfaces[i].Device
}
