package inventory

import (
	"net/netip"
	"slices"
)

// A service is a VirtualService with its names resolved.
type service struct {
	*VirtualService
	directors []*Host
	members   []member // the pool in the order of the hosts, then those outside it
}

// A member is one real server of one service.
type member struct {
	host   *Host
	rs     *RealServer // nil: nothing differs from the pool
	addr   netip.Addr  // the RIP; zero where the host has none
	device string      // carries the RIP; "" unknown
	subnet netip.Prefix
	method Method
	port   *int // nil: the service's
	weight int
	upper  uint32
	lower  uint32
	local  bool // the host is a director of this service
}

func (x *index) resolve(v *VirtualService) *service {
	s := &service{VirtualService: v, directors: x.byRole[v.Director]}
	own := make(map[string][]*RealServer, len(v.RealServers))
	for i := range v.RealServers {
		r := &v.RealServers[i]
		if !slices.ContainsFunc(own[r.Host], r.sameEntry) {
			own[r.Host] = append(own[r.Host], r)
		}
	}
	pool := x.byRole[v.Pool]
	s.members = make([]member, 0, len(pool)+len(own))
	add := func(h *Host) {
		for _, r := range own[h.Name] {
			s.members = append(s.members, s.member(h, r))
		}
		delete(own, h.Name)
	}
	for _, h := range pool {
		if len(own[h.Name]) == 0 {
			s.members = append(s.members, s.member(h, nil))
		}
		add(h)
	}
	for i := range v.RealServers {
		if h := x.host(v.RealServers[i].Host); h != nil {
			add(h)
		}
	}
	return s
}

// sameEntry says that the two blocks are about one entry of the table.
func (r *RealServer) sameEntry(o *RealServer) bool {
	return r.Host == o.Host && r.Address == o.Address && (r.Port == nil) == (o.Port == nil) && (r.Port == nil || *r.Port == *o.Port)
}

func (s *service) member(h *Host, r *RealServer) member {
	m := member{host: h, rs: r, method: s.Method, weight: s.Weight, local: slices.Contains(s.directors, h)}
	if r != nil {
		m.addr, m.port, m.upper, m.lower = r.Address, r.Port, r.UpperThreshold, r.LowerThreshold
		if r.Method != "" {
			m.method = r.Method
		}
		if r.Weight != nil {
			m.weight = *r.Weight
		}
	}
	if !m.addr.IsValid() {
		m.addr = h.RIP(s.IPv6)
	}
	m.device, m.subnet = locate(h, m.addr)
	return m
}

// first is the VIP that stands for the service where one has to; zero: none.
func (s *service) first() netip.Addr {
	if vips := s.VIPs(); len(vips) > 0 {
		return vips[0]
	}
	return netip.Addr{}
}

// ports are those of the IPVS services: one each; 0 stands for the one service
// of a mark.
func (s *service) ports() []int {
	if s.FWMark != 0 {
		return []int{0}
	}
	return s.Ports
}

func (s *service) scheduler() string {
	if s.Scheduler == "" {
		return "wlc"
	}
	return s.Scheduler
}

func (s *service) protocol() string {
	if s.Protocol == "" {
		return "tcp"
	}
	return s.Protocol
}

// DummyPeer is the far inside address of a tunnel that must name one and never
// uses it: the IPv4 dummy address 192.0.0.8 (RFC 7600), in IPv6 100::1 of the
// discard-only prefix (RFC 6666).
func DummyPeer(v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0: 1, 15: 1})
	}
	return netip.AddrFrom4([4]byte{192, 0, 0, 8})
}

func (s *service) peer() netip.Addr {
	if s.TunnelPeer.IsValid() {
		return s.TunnelPeer
	}
	return DummyPeer(s.IPv6)
}

// RIP is the address by which the host serves a family: the interface address
// that equals where SSH goes, else its first of the family; zero if none.
func (h *Host) RIP(v6 bool) netip.Addr {
	ssh, _ := netip.ParseAddr(h.Address)
	var first netip.Addr
	for _, i := range h.Interfaces {
		for _, p := range i.Addresses {
			a := p.Addr()
			if a.Is6() != v6 {
				continue
			}
			if a == ssh {
				return a
			}
			if !first.IsValid() {
				first = a
			}
		}
	}
	return first
}

// locate finds the interface that carries a, else the one whose subnet has
// room for it.
func locate(h *Host, a netip.Addr) (string, netip.Prefix) {
	for _, i := range h.Interfaces {
		for _, p := range i.Addresses {
			if p.Addr() == a {
				return i.Device, p
			}
		}
	}
	for _, i := range h.Interfaces {
		for _, p := range i.Addresses {
			if p.Contains(a) {
				return i.Device, p
			}
		}
	}
	return "", netip.Prefix{}
}

// ownDevice is the interface that holds a as the host's own address.
func ownDevice(h *Host, a netip.Addr) string {
	for _, i := range h.Interfaces {
		for _, p := range i.Addresses {
			if p.Addr() == a {
				return i.Device
			}
		}
	}
	return ""
}

// deviceTowards is the interface in whose subnet a lies.
func deviceTowards(h *Host, a netip.Addr) string {
	for _, i := range h.Interfaces {
		if onDevice(h, i.Device, a) {
			return i.Device
		}
	}
	return ""
}

func onDevice(h *Host, device string, a netip.Addr) bool {
	for _, i := range h.Interfaces {
		if i.Device != device {
			continue
		}
		for _, p := range i.Addresses {
			if p.Contains(a) {
				return true
			}
		}
	}
	return false
}

// addressesIn are the host's own addresses within the subnet.
func addressesIn(h *Host, subnet netip.Prefix) []netip.Addr {
	var in []netip.Addr
	for _, i := range h.Interfaces {
		for _, p := range i.Addresses {
			if subnet.IsValid() && subnet.Contains(p.Addr()) {
				in = append(in, p.Addr())
			}
		}
	}
	return in
}

// preferred picks where SSH goes, else the first.
func preferred(h *Host, from []netip.Addr) netip.Addr {
	if ssh, err := netip.ParseAddr(h.Address); err == nil && slices.Contains(from, ssh) {
		return ssh
	}
	if len(from) > 0 {
		return from[0]
	}
	return netip.Addr{}
}

// gatewayTo is the director's address in the subnet of a NAT real server: the
// real server's default route.
func gatewayTo(dir *Host, m *member) netip.Addr {
	return preferred(dir, addressesIn(dir, m.subnet))
}

// device is the director's interface that carries the VIP: the one that is
// named, else the one whose subnet holds it, else the one towards the
// director's gateway, else the one that holds its address, else its first.
func (s *service) device(dir *Host, vip netip.Addr) string {
	if s.Interface != "" {
		return s.Interface
	}
	if d := deviceTowards(dir, vip); vip.IsValid() && d != "" {
		return d
	}
	if d := deviceTowards(dir, dir.Gateway); dir.Gateway.IsValid() && d != "" {
		return d
	}
	if a, err := netip.ParseAddr(dir.Address); err == nil {
		if d := ownDevice(dir, a); d != "" {
			return d
		}
	}
	if len(dir.Interfaces) > 0 {
		return dir.Interfaces[0].Device
	}
	return ""
}

// TunnelSourceTo is the outer source of what the director wraps for the real
// server rs at rip: its tunnel_source, else its address in the real server's
// subnet, else in the subnet of its own gateway, else its address. Zero where
// it has none of rip's family.
func TunnelSourceTo(dir, rs *Host, rip netip.Addr) netip.Addr {
	if t := dir.TunnelSource; t.IsValid() && t.Is6() == rip.Is6() {
		return t
	}
	_, subnet := locate(rs, rip)
	if in := addressesIn(dir, subnet); len(in) > 0 {
		return preferred(dir, in)
	}
	if dir.Gateway.IsValid() && dir.Gateway.Is6() == rip.Is6() {
		if _, subnet := locate(dir, dir.Gateway); subnet.IsValid() {
			return preferred(dir, addressesIn(dir, subnet))
		}
	}
	if a, err := netip.ParseAddr(dir.Address); err == nil && a.Is6() == rip.Is6() {
		return a
	}
	return dir.RIP(rip.Is6())
}

// outside is the outer address of a plain tunnel's end: as it is given, else
// the host's address, else its first IPv4 one.
func outside(h *Host, e TunnelEnd) netip.Addr {
	if e.Outside.IsValid() {
		return e.Outside
	}
	if a, err := netip.ParseAddr(h.Address); err == nil {
		return a
	}
	return h.RIP(false)
}
