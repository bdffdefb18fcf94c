package inventory

import (
	"fmt"
	"net/netip"
	"slices"
)

// acrossServices judges what services do to each other.
func (c *checker) acrossServices() {
	c.keys()
	c.holders()
	c.vipByMethods()
	c.tunnelSources()
	c.natDirectors()
	c.forwardingOff()
}

// keys wants each VIP, port and protocol, and each mark, once on a director.
func (c *checker) keys() {
	type key struct {
		director *Host
		what     string
	}
	first := map[key]*service{}
	for _, s := range c.services {
		if s.Incomplete {
			continue
		}
		hint := ""
		if s.FWMark != 0 {
			hint = " A mark is one service: list all its VIPs in addresses = [...]."
		}
		said := map[*service]bool{}
		for _, port := range s.ports() {
			what := ""
			switch {
			case s.FWMark != 0 && s.IPv6:
				what = fmt.Sprintf("mark %d, IPv6", s.FWMark)
			case s.FWMark != 0:
				what = fmt.Sprintf("mark %d", s.FWMark)
			case s.Address.IsValid():
				what = s.protocol() + " " + netip.AddrPortFrom(s.Address, uint16(port)).String()
			default:
				continue
			}
			for _, d := range s.directors {
				k := key{d, what}
				f := first[k]
				if f == nil {
					first[k] = s
				} else if f != s && !said[f] {
					said[f] = true
					c.report(CodeServiceTwice, s.Src.Block, "%q and %q (%s:%d) are both %s on the director %q.%s", s.Name, f.Name, f.Src.Block.File, f.Src.Block.StartLine, what, d.Name, hint)
				}
			}
		}
	}
}

// holders wants each managed VIP on one director.
func (c *checker) holders() {
	held := map[netip.Addr]*Host{}
	by := map[netip.Addr]*service{}
	for _, s := range c.services {
		if s.Incomplete || len(s.VIPs()) == 0 || s.VIP == Foreign {
			continue
		}
		if len(s.directors) > 1 {
			var names []string
			for _, d := range s.directors {
				names = append(names, d.Name)
			}
			c.report(CodeHolders, s.Src.Attr("vip"), "%s would all hold %s, the VIP of %q.", list(names), s.first(), s.Name)
			continue
		}
		for _, d := range s.directors {
			for _, vip := range s.VIPs() {
				switch h := held[vip]; {
				case h == nil:
					held[vip], by[vip] = d, s
				case h != d:
					c.report(CodeHolders, s.vipAt(), "%s, the VIP of %q on the director %q, is also held by the director %q for %q.", vip, s.Name, d.Name, h.Name, by[vip].Name)
				}
			}
		}
	}
}

// vipByMethods wants one VIP on one real server by one method.
func (c *checker) vipByMethods() {
	type place struct {
		host *Host
		vip  netip.Addr
	}
	type use struct {
		s *service
		m *member
	}
	first := map[place]use{}
	peers := map[place]use{}
	for _, s := range c.services {
		if s.Incomplete {
			continue
		}
		for i := range s.members {
			m := &s.members[i]
			if m.local || m.method == "" {
				continue
			}
			for _, vip := range s.VIPs() {
				p := place{m.host, vip}
				f, there := first[p]
				if !there {
					first[p] = use{s, m}
				} else if f.m.method != m.method {
					at := s.Src.Attr("method")
					if m.rs != nil && m.rs.Method != "" {
						at = m.rs.Src.Attr("method")
					}
					c.report(CodeMethods, at, "The real server %q has the VIP %s by %s for %q and by %s for %q.", m.host.Name, vip, f.m.method, f.s.Name, m.method, s.Name)
				}
				if m.method != TUN {
					continue
				}
				if f, there := peers[p]; !there {
					peers[p] = use{s, m}
				} else if f.s.peer() != s.peer() {
					c.reportOnce(CodePeersDiffer, nil, s.Src.Attr("tunnel_peer"), "%q says %s and %q says %s for the VIP %s.", f.s.Name, f.s.peer(), s.Name, s.peer(), vip)
				}
			}
		}
	}
}

// tunnelSources wants one director at the far end of an ip.tun.
func (c *checker) tunnelSources() {
	type source struct {
		from     netip.Addr
		director *Host
		s        *service
	}
	first := map[*Host]source{}
	said := map[*Host]bool{}
	for _, s := range c.services {
		if s.Incomplete {
			continue
		}
		for i := range s.members {
			m := &s.members[i]
			if m.local || m.method != TUN || m.host.OS != Solaris || !m.addr.IsValid() {
				continue
			}
			for _, d := range s.directors {
				if d.Incomplete {
					continue
				}
				from := TunnelSourceTo(d, m.host, m.addr)
				f, there := first[m.host]
				switch {
				case !there:
					first[m.host] = source{from, d, s}
				case f.from != from && !said[m.host]:
					said[m.host] = true
					if shared := common(f.s.VIPs(), s.VIPs()); shared.IsValid() {
						c.report(CodeTwoSources, s.Src.Attr("director"), "The VIP %s reaches host %q by tunnel from %s (%q) and from %s (%q), and an ip.tun takes one outer source.", shared, m.host.Name, f.from, f.director.Name, from, d.Name)
					}
					c.report(CodeSolarisTUN, s.Src.Attr("director"), "The Solaris host %q would need a tunnel from %s (%q, for %q) and one from %s (%q, for %q).", m.host.Name, f.from, f.director.Name, f.s.Name, from, d.Name, s.Name)
				}
			}
		}
	}
}

// natDirectors wants a NAT real server, with its one default route, to have
// one director in all of its services.
func (c *checker) natDirectors() {
	type way struct {
		host *Host
		v6   bool
	}
	type via struct {
		gateway netip.Addr
		s       *service
	}
	first := map[way]via{}
	for _, s := range c.services {
		if s.Incomplete || len(s.directors) != 1 {
			continue
		}
		for i := range s.members {
			m := &s.members[i]
			if m.local || m.method != NAT || m.host.Incomplete || s.directors[0].Incomplete {
				continue
			}
			g := gatewayTo(s.directors[0], m)
			if !g.IsValid() {
				continue // reported
			}
			w := way{m.host, s.IPv6}
			switch f, there := first[w]; {
			case !there:
				first[w] = via{g, s}
			case f.s.directors[0] != s.directors[0] && f.gateway != g:
				c.report(CodeGateway, s.Src.Attr("director"), "The real server %q has one default route: %q wants it to be %s, %q %s.", m.host.Name, f.s.Name, f.gateway, s.Name, g)
			}
		}
	}
}

// forwardingOff warns of a NAT director that is told not to forward.
func (c *checker) forwardingOff() {
	said := map[*Host]bool{}
	for _, s := range c.services {
		for _, d := range s.directors {
			if s.Method == NAT && d.IPForward != nil && !*d.IPForward && !said[d] {
				said[d] = true
				c.report(CodeNoForwarding, d.Src.Attr("ip_forward"), "The director %q has the NAT service %q and ip_forward = false.", d.Name, s.Name)
			}
		}
	}
}

// common is the first address that both lists have; zero: none.
func common(a, b []netip.Addr) netip.Addr {
	for _, x := range a {
		if slices.Contains(b, x) {
			return x
		}
	}
	return netip.Addr{}
}
