package inventory

import "slices"

// member judges one real server of one service.
func (c *checker) member(s *service, m *member) {
	if m.host.Incomplete {
		return
	}
	at := s.Src.Block
	attr := func(name string) Range {
		if m.rs != nil {
			if r, ok := m.rs.Src.Attrs[name]; ok {
				return r
			}
		}
		if r, ok := s.Src.Attrs[name]; ok {
			return r
		}
		return at
	}
	if !m.addr.IsValid() {
		family := "IPv4"
		if s.IPv6 {
			family = "IPv6"
		}
		if m.host.RIP(!s.IPv6).IsValid() {
			c.reportOnce(CodeFamily, m.host, m.host.Src.Block, "The service %q is %s, and host %q has no %s address.", s.Name, family, m.host.Name, family)
		} else {
			c.reportOnce(CodeNoRIP, m.host, m.host.Src.Block, "The real server %q of %q has no %s address.", m.host.Name, s.Name, family)
		}
		return
	}
	if m.addr.Is6() != s.IPv6 {
		c.report(CodeFamily, attr("address"), "The VIP of %q and the address %s of its real server %q are of different families.", s.Name, m.addr, m.host.Name)
		return
	}
	if m.device == "" {
		c.report(CodeNoRIP, attr("address"), "%s, the address of the real server %q, is in none of the networks of that host: %s.", m.addr, m.host.Name, networks(m.host))
		return
	}
	if slices.Contains(s.VIPs(), m.addr) && !m.local {
		if c.own[m.addr] == m.host {
			return // reported of the VIP
		}
		c.report(CodeVIPIsRIP, attr("address"), "The real server %q of %q is to be reached at the VIP itself.", m.host.Name, s.Name)
		return
	}
	c.memberPort(s, m, attr("port"))
	if m.local {
		return
	}
	if s.IPv6 && (m.host.OS == Solaris || m.host.OS == Linux && m.method == TUN) {
		c.report(CodeIPv6, attr("method"), "The service %q is IPv6, and its real server %q is a %s host with the method %s.", s.Name, m.host.Name, m.host.OS, m.method)
	}
	switch m.method {
	case DR:
		c.segment(s, m, attr("method"))
	case NAT:
		c.natGateway(s, m)
	}
	if m.host.IPForward != nil && *m.host.IPForward && !c.isDirector(m.host) {
		c.reportOnce(CodeNeedlessRoute, m.host, m.host.Src.Attr("ip_forward"), "Host %q is a real server only; %s needs no ip_forward there.", m.host.Name, m.method)
	}
}

func (c *checker) memberPort(s *service, m *member, at Range) {
	if m.port == nil || s.FWMark != 0 && m.method == NAT {
		return
	}
	for _, p := range s.ports() {
		switch {
		case m.method != NAT && *m.port != p:
			c.report(CodePort, at, "%q is served at port %d, and its real server %q has port %d by the method %s.", s.Name, p, m.host.Name, *m.port, m.method)
			return
		case *m.port == 0 && p != 0:
			c.report(CodeRange, at, "Port 0 of the real server %q: a service of one port has real servers of one port.", m.host.Name)
			return
		}
	}
}

// segment wants a DR real server where the director reaches it directly.
func (c *checker) segment(s *service, m *member, at Range) {
	for _, d := range s.directors {
		if d.Incomplete || deviceTowards(d, m.addr) != "" {
			continue
		}
		c.report(CodeSegment, at, "The real server %q (%s) is in none of the networks of the director %q: %s.", m.host.Name, m.addr, d.Name, networks(d))
	}
}

// natGateway wants the real server's answers to come back.
func (c *checker) natGateway(s *service, m *member) {
	at := m.host.Src.Attr("gateway")
	given := m.host.Gateway
	sameFamily := given.IsValid() && given.Is6() == s.IPv6
	several := len(s.directors) > 1
	for _, d := range s.directors {
		if d.Incomplete {
			return
		}
		in := addressesIn(d, m.subnet)
		if len(in) == 0 {
			c.reportOnce(CodeGateway, m.host, at, "The director %q of %q has no address in %s, the network of the real server %q, so it cannot be its gateway.", d.Name, s.Name, m.subnet.Masked(), m.host.Name)
			return
		}
		if several {
			continue
		}
		if sameFamily && !slices.Contains(in, given) {
			c.reportOnce(CodeGateway, m.host, at, "The gateway of host %q is %s. The director of %q is %s there.", m.host.Name, given, s.Name, gatewayTo(d, m))
		}
	}
	if !several {
		return
	}
	switch {
	case !sameFamily:
		c.reportOnce(CodeGateway, m.host, at, "%q has several directors, and its real server %q does not say which is its gateway.", s.Name, m.host.Name)
	case !m.subnet.Contains(given):
		c.reportOnce(CodeGateway, m.host, at, "The gateway %s of host %q is not in its network %s, where the directors of %q are.", given, m.host.Name, m.subnet.Masked(), s.Name)
	case c.own[given] != nil && !slices.Contains(s.directors, c.own[given]):
		c.reportOnce(CodeGateway, m.host, at, "The gateway %s of host %q is host %q, which is no director of %q.", given, m.host.Name, c.own[given].Name, s.Name)
	}
}

// isDirector says that the host directs some service.
func (c *checker) isDirector(h *Host) bool {
	return slices.ContainsFunc(h.Roles, func(r string) bool { return c.directing[r] })
}
