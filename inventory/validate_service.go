package inventory

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

func schedulers() []string {
	return []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"}
}

func (c *checker) checkServices() {
	for i, s := range c.services {
		c.name("service", s.Name, s.Src.Block)
		if i > 0 {
			before := c.services[i-1]
			c.twice("virtual_service", s.Name, before.Name, s.Src.Block, before.Src.Block)
		}
		c.serviceWords(s)
		c.serviceKey(s)
		c.serviceRoles(s)
		c.realServers(s)
		if s.Incomplete {
			continue
		}
		c.vip(s)
		c.peers(s)
		for j := range s.members {
			c.member(s, &s.members[j])
		}
		c.pool(s)
	}
}

func (s *service) at(attr string) Range { return s.Src.Attr(attr) }

// require reports an attribute that is not written; one that was and could
// not be read is passed over.
func (c *checker) require(s *service, attr string, there bool, hint string) {
	if there {
		return
	}
	if _, written := s.Src.Attrs[attr]; written && s.Incomplete {
		return
	}
	c.missing(s.Src, "The service \""+s.Name+"\"", attr, hint)
}

func (c *checker) serviceWords(s *service) {
	c.require(s, "director", s.Director != "", "the role of its director: director = \"ROLE\"")
	c.require(s, "pool", s.Pool != "", "the role of its real servers: pool = \"ROLE\"")
	c.require(s, "method", s.Method != "", "method = \"nat\", \"dr\" or \"tun\"")
	if s.Method != "" {
		c.word("method", string(s.Method), s.at("method"), string(NAT), string(DR), string(TUN))
	}
	c.word("protocol", s.protocol(), s.at("protocol"), "tcp", "udp", "sctp")
	c.word("scheduler", s.scheduler(), s.at("scheduler"), schedulers()...)
	for i, f := range s.SchedulerFlags {
		at := s.at("scheduler_flags")
		if !slices.Contains([]string{"sh-fallback", "sh-port", "mh-fallback", "mh-port"}, f) {
			c.word("A scheduler flag", f, at, "sh-fallback", "sh-port", "mh-fallback", "mh-port")
		} else if of, _, _ := strings.Cut(f, "-"); of != s.scheduler() {
			c.report(CodeFlag, at, "The flag %q belongs to the scheduler %q, and %q uses %q.", f, of, s.Name, s.scheduler())
		}
		if slices.Contains(s.SchedulerFlags[:i], f) {
			c.report(CodeTwice, at, "The flag %q is listed twice.", f)
		}
	}
	if s.VIP != "" {
		c.word("vip", s.VIP, s.at("vip"), Managed, Foreign)
	}
	if s.Weights != "" {
		c.word("weights", s.Weights, s.at("weights"), Managed, Foreign)
	}
	if s.Members != "" {
		c.word("members", s.Members, s.at("members"), Managed, Foreign)
	}
	if s.OnePacket && s.FWMark == 0 && s.protocol() != "udp" {
		c.report(CodeOnePacket, s.at("one_packet"), "%q is a %s service.", s.Name, strings.ToUpper(s.protocol()))
	}
	if s.PersistenceNetmask != 0 && s.PersistenceTimeout == 0 && !s.Incomplete {
		c.report(CodeIdleNetmask, s.at("persistence_netmask"), "%q has no persistence_timeout.", s.Name)
	}
	if s.Weight < 0 || s.Weight > 65535 {
		c.report(CodeRange, s.at("weight"), "weight is from 0 to 65535, not %d.", s.Weight)
	}
}

// serviceKey judges address, ports and mark.
func (c *checker) serviceKey(s *service) {
	if _, written := s.Src.Attrs["addresses"]; written {
		c.addresses(s)
	}
	if s.FWMark != 0 {
		for _, attr := range []string{"port", "ports", "protocol"} {
			if _, written := s.Src.Attrs[attr]; written {
				c.report(CodeExclusive, s.at(attr), "A service by fwmark takes what carries the mark: %s cannot be said too.", attr)
			}
		}
		return
	}
	_, broken := s.Src.Attrs["fwmark"]
	if broken {
		return // it was written, and reported
	}
	c.require(s, "address", s.Address.IsValid(), "the VIP: address = \"192.168.0.200\"")
	if _, many := s.Src.Attrs["ports"]; !many {
		c.require(s, "port", len(s.Ports) > 0, "port = 80, ports = [80, 443], or fwmark = 1")
	} else {
		c.require(s, "ports", len(s.Ports) > 0, "ports = [80, 443]")
	}
	at := s.at("port")
	if r, many := s.Src.Attrs["ports"]; many {
		at = r
	}
	for i, p := range s.Ports {
		switch {
		case p < 0 || p > 65535:
			c.report(CodeRange, at, "A port is from 1 to 65535, not %d.", p)
		case p == 0 && s.PersistenceTimeout == 0:
			c.report(CodeAllPorts, at, "Port 0 of %q means all ports, and that works only with persistence_timeout.", s.Name)
		}
		if slices.Contains(s.Ports[:i], p) {
			c.report(CodeServiceTwice, at, "The service %q lists port %d twice.", s.Name, p)
		}
	}
}

// addresses judges the VIPs of a mark that stands for several.
func (c *checker) addresses(s *service) {
	at := s.at("addresses")
	if _, both := s.Src.Attrs["address"]; both {
		c.report(CodeExclusive, at, "address and addresses exclude each other: list all VIPs in addresses.")
	}
	if s.FWMark == 0 && !s.Incomplete {
		c.report(CodeExclusive, at, "addresses goes with fwmark: one service of IPVS has several VIPs only by a mark. Write one virtual_service for each VIP, or add fwmark.")
	}
	for i, a := range s.Addresses {
		switch {
		case slices.Contains(s.Addresses[:i], a):
			c.report(CodeTwice, at, "%q lists the VIP %s twice.", s.Name, a)
		case a.Is6() != s.Addresses[0].Is6():
			c.report(CodeFamily, at, "The VIPs %s and %s of %q are of different families. A mark is a service of each family: write one for IPv4 and one for IPv6.", s.Addresses[0], a, s.Name)
			return
		}
	}
}

func (c *checker) serviceRoles(s *service) {
	c.serviceRole(s, "director", s.Director)
	c.serviceRole(s, "pool", s.Pool)
	for _, d := range s.directors {
		if d.OS == FreeBSD || d.OS == Solaris { // what is neither is reported where it stands
			c.report(CodeDirectorOS, s.at("director"), "Host %q, a director of %q, runs %s.", d.Name, s.Name, d.OS)
		}
	}
	if s.Interface != "" {
		for _, d := range s.directors {
			c.device(Linux, s.Interface, s.at("interface"))
			var known []string
			for _, i := range d.Interfaces {
				known = append(known, i.Device)
			}
			if !slices.Contains(known, s.Interface) && !d.Incomplete {
				c.report(CodeInterface, s.at("interface"), "The director %q has no interface block %q.%s", d.Name, s.Interface, DidYouMean(s.Interface, known))
			}
		}
	}
}

func (c *checker) serviceRole(s *service, attr, role string) {
	c.knownRole(role, s.at(attr), "The service \""+s.Name+"\"")
	if c.knownRoles[role] && len(c.byRole[role]) == 0 {
		c.report(CodeEmptyRole, s.at(attr), "No host has the role %q, the %s of %q.", role, attr, s.Name)
	}
}

// realServers judges the blocks that say what differs from the pool.
func (c *checker) realServers(s *service) {
	for i, r := range s.RealServers {
		at := r.Src.Block
		if c.host(r.Host) == nil {
			c.report(CodeUnknownHost, at, "The real server %q of %q is no host of the site.%s", r.Host, s.Name, c.suggest(r.Host, c.hostNames))
		}
		c.severalPorts(s, i)
		if r.Method != "" {
			c.word("method", string(r.Method), r.Src.Attr("method"), string(NAT), string(DR), string(TUN))
		}
		if r.Weight != nil && (*r.Weight < 0 || *r.Weight > 65535) {
			c.report(CodeRange, r.Src.Attr("weight"), "weight is from 0 to 65535, not %d.", *r.Weight)
		}
		if r.Port != nil && (*r.Port < 0 || *r.Port > 65535) {
			c.report(CodeRange, r.Src.Attr("port"), "A port is from 1 to 65535, not %d.", *r.Port)
		}
		if r.UpperThreshold != 0 && r.LowerThreshold > r.UpperThreshold {
			c.report(CodeThresholds, r.Src.Attr("lower_threshold"), "The lower threshold of %q is %d, the upper %d.", r.Host, r.LowerThreshold, r.UpperThreshold)
		}
	}
}

// severalPorts judges the i-th block of a service beside those before it of the
// same host: a host is in a service by NAT once for each port, else once.
func (c *checker) severalPorts(s *service, i int) {
	r := &s.RealServers[i]
	for j := i - 1; j >= 0 && s.RealServers[j].Host == r.Host; j-- {
		o := &s.RealServers[j]
		method := func(r *RealServer) Method { return cmp.Or(r.Method, s.Method) }
		switch {
		case r.sameEntry(o):
			c.report(CodeTwice, r.Src.Block, "The service %q has a real_server %q already, at line %d.", s.Name, r.Host, o.Src.Block.StartLine)
			return
		case method(r) != NAT || method(o) != NAT:
			c.report(CodeTwice, r.Src.Block, "The service %q has a real_server %q already, at line %d. Only by NAT can one host be in a service several times, each time with another port: DR and TUN do not rewrite the port.", s.Name, r.Host, o.Src.Block.StartLine)
			return
		}
	}
}

// vip judges the addresses by themselves.
func (c *checker) vip(s *service) {
	for _, vip := range s.VIPs() {
		if h := c.own[vip]; h != nil && !slices.Contains(s.directors, h) {
			c.report(CodeVIPIsRIP, s.vipAt(), "The VIP %s of %q is host %q's own address.", vip, s.Name, h.Name)
		}
	}
}

// vipAt is where the service says its VIPs.
func (s *service) vipAt() Range {
	if len(s.Addresses) > 0 {
		return s.at("addresses")
	}
	return s.at("address")
}

// peers judges the far inside address that the tunnels name.
func (c *checker) peers(s *service) {
	if !slices.ContainsFunc(s.members, func(m member) bool { return m.method == TUN }) {
		return
	}
	peer, at := s.peer(), s.at("tunnel_peer")
	if peer.Is6() != s.IPv6 {
		c.report(CodeFamily, at, "The tunnel_peer %s and the VIP of %q are of different families.", peer, s.Name)
		return
	}
	switch h := c.own[peer]; {
	case h != nil:
		c.report(CodePeer, at, "The tunnel_peer %s of %q is an address of host %q.", peer, s.Name, h.Name)
	case slices.Contains(s.VIPs(), peer):
		c.report(CodePeer, at, "The tunnel_peer of %q is its VIP.", s.Name)
	}
}

// pool judges the members together.
func (c *checker) pool(s *service) {
	if len(s.members) == 0 {
		return
	}
	c.twoBox(s)
	if s.Weights != Foreign && !slices.ContainsFunc(s.members, func(m member) bool { return m.weight > 0 }) {
		c.report(CodeWeightZero, s.at("weight"), "Every real server of %q has weight 0.", s.Name)
	}
	// What leaves a segment by different routers.
	first := map[netip.Prefix]*Host{}
	for i := range s.members {
		m := &s.members[i]
		if m.local || m.method == NAT || m.host.Incomplete || !m.host.Gateway.IsValid() || !m.subnet.IsValid() {
			continue
		}
		net := m.subnet.Masked()
		switch f := first[net]; {
		case f == nil:
			first[net] = m.host
		case f.Gateway != m.host.Gateway && f.Gateway.Is6() == m.host.Gateway.Is6():
			c.reportOnce(CodeGatewaysDiffer, m.host, m.host.Src.Attr("gateway"), "On %s, %q goes out by %s and %q by %s.", net, f.Name, f.Gateway, m.host.Name, m.host.Gateway)
		}
	}
	c.clientsInside(s)
}

// twoBox refuses directors that forward to each other. A director that is its
// own real server serves what it forwards to itself locally; what it forwards to
// another one is looked up in that one's table again.
func (c *checker) twoBox(s *service) {
	if len(s.directors) < 2 {
		return
	}
	for i := range s.members {
		m := &s.members[i]
		if !m.local || m.method == NAT || m.host.Incomplete {
			continue
		}
		at := s.at("pool")
		if m.rs != nil {
			at = m.rs.Src.Block
		}
		var others []string
		for _, d := range s.directors {
			if d != m.host {
				others = append(others, d.Name)
			}
		}
		c.report(CodeTwoBox, at, "Host %q is a director of %q and, by %s, a real server that %s would forward to.", m.host.Name, s.Name, m.method, list(others))
		return
	}
}

// clientsInside warns of clients that a NAT answer would not reach by way of
// the director.
func (c *checker) clientsInside(s *service) {
	seen := map[string]bool{}
	for i := range s.members {
		m := &s.members[i]
		if m.method != NAT || m.local || !m.subnet.IsValid() {
			continue
		}
		for _, n := range s.ClientNetworks {
			key := fmt.Sprint(n, m.subnet.Masked())
			if n.Overlaps(m.subnet) && !seen[key] {
				seen[key] = true
				c.report(CodeClientsInside, s.at("client_networks"), "Clients in %s share %s with the real server %q: its answers to them do not pass the director.", n, m.subnet.Masked(), m.host.Name)
			}
		}
	}
}
