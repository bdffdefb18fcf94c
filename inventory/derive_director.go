package inventory

import (
	"cmp"
	"net/netip"
	"slices"
)

// direct is what the service asks of one director.
func (d *deriver) direct(s *service, dir *Host) {
	dr := d.draft(dir)
	dr.serves6 = dr.serves6 || s.IPv6
	if dr.director == nil {
		dr.director = &Director{Services: []DirectedService{}}
		dr.holds = map[netip.Addr]bool{}
		dr.routes = map[TunnelRoute]bool{}
	}
	device := s.device(dir, s.first())
	for _, vip := range s.VIPs() {
		if s.VIP == Foreign || dr.holds[vip] {
			continue
		}
		dr.holds[vip] = true
		own := ownDevice(dir, vip)
		v := DirectorVIP{Addr: vip, Device: s.device(dir, vip), Own: own != ""}
		if v.Own {
			v.Device = own
		}
		dr.director.VIPs = append(dr.director.VIPs, v)
	}
	dr.schedulers = append(dr.schedulers, s.scheduler())

	for i := range s.members {
		m := &s.members[i]
		if m.host == dir || !m.addr.IsValid() {
			continue
		}
		switch m.method {
		case NAT:
			if in := deviceTowards(dir, m.addr); in != "" && in == device {
				dr.oneArmed = append(dr.oneArmed, in)
			}
			if s.IPv6 {
				dr.forward6 = true
			} else {
				dr.forward4 = true
			}
		case TUN:
			if from := TunnelSourceTo(dir, m.host, m.addr); from.IsValid() && !m.local {
				dr.routes[TunnelRoute{To: m.addr, From: from}] = true
			}
		}
	}
	if s.Method == NAT {
		// A NAT service forwards, whoever serves it at the moment.
		if s.IPv6 {
			dr.forward6 = true
		} else {
			dr.forward4 = true
		}
	}
	for _, port := range s.ports() {
		dr.director.Services = append(dr.director.Services, s.directed(port))
	}
}

// directed is the IPVS service of one port.
func (s *service) directed(port int) DirectedService {
	out := DirectedService{
		Name: s.Name, IPv6: s.IPv6, Scheduler: s.scheduler(),
		SchedulerFlags:     slices.Clone(s.SchedulerFlags),
		PersistenceTimeout: s.PersistenceTimeout, PersistenceNetmask: s.PersistenceNetmask,
		OnePacket: s.OnePacket, ForeignWeights: s.Weights == Foreign, ForeignMembers: s.ForeignMembers(),
	}
	if s.FWMark != 0 {
		out.FWMark, out.MarkVIPs = s.FWMark, sortedAddrs(s.VIPs())
	} else {
		out.Addr, out.Port, out.Protocol = s.Address, port, s.protocol()
	}
	slices.Sort(out.SchedulerFlags)
	for i := range s.members {
		m := &s.members[i]
		if !m.addr.IsValid() {
			continue
		}
		real := DirectedServer{
			Host: m.host.Name, Addr: m.addr, Port: port, Method: m.method, Weight: m.weight,
			UpperThreshold: m.upper, LowerThreshold: m.lower,
		}
		if m.port != nil {
			real.Port = *m.port
		}
		out.Real = append(out.Real, real)
	}
	slices.SortFunc(out.Real, func(a, b DirectedServer) int {
		if c := a.Addr.Compare(b.Addr); c != 0 {
			return c
		}
		return cmp.Compare(a.Port, b.Port)
	})
	return out
}

func (dr *draft) finishDirector() *Director {
	out := dr.director
	if out == nil {
		return nil
	}
	slices.SortFunc(out.VIPs, func(a, b DirectorVIP) int { return a.Addr.Compare(b.Addr) })
	slices.SortStableFunc(out.Services, func(a, b DirectedService) int {
		if c := cmp.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return cmp.Compare(a.Port, b.Port)
	})
	slices.Sort(dr.schedulers)
	out.Schedulers = slices.Compact(dr.schedulers)
	slices.Sort(dr.oneArmed)
	out.OneArmed = slices.Compact(dr.oneArmed)
	for r := range dr.routes {
		out.TunnelRoutes = append(out.TunnelRoutes, r)
	}
	slices.SortFunc(out.TunnelRoutes, func(a, b TunnelRoute) int {
		if c := a.To.Compare(b.To); c != 0 {
			return c
		}
		return a.From.Compare(b.From)
	})
	return out
}
