package lab

import (
	"net/netip"
	"slices"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// Carry implements sim.Carrier: a connection to the machine that has the
// address, by IPVS' method where one has touched it, and the answer back.
func (w *World) Carry(m *sim.Machine, p sim.Packet) verify.Answer {
	silent := verify.Answer{Kind: verify.Silent}
	to := p.To.Addr()
	if p.Method != 0 {
		to = p.Via.Addr
	}
	near := w.near(m, to)
	far := w.holder(to)
	if far == nil || far == m {
		if near {
			return verify.Answer{Kind: verify.Unreachable, Text: "no route to host"} // nobody answers ARP
		}
		return silent
	}
	if near && !w.near(far, sourceTo(m, to)) {
		return verify.Answer{Kind: verify.Unreachable, Text: "no route to host"}
	}
	if !near && (p.Method == ipvs.DR || !w.routed(m, to)) {
		return silent
	}
	back := p.From
	if !back.IsValid() {
		back = sourceTo(m, to)
	}
	if !w.near(far, back) && !w.routed(far, back) {
		return silent
	}
	outer := sourceTo(m, to)
	answer := silent
	far.Locked(func() {
		port := int(p.To.Port())
		switch p.Method {
		case ipvs.NAT:
			if p.Via.Port != 0 {
				port = int(p.Via.Port)
			}
		case ipvs.DR:
			if !takes(far, p.To.Addr(), cardTo(far, to)) {
				return
			}
		case ipvs.TUN:
			tunnel := decapsulates(far, outer, to)
			if tunnel == nil || !takes(far, p.To.Addr(), tunnel) {
				return
			}
		}
		answer = far.Answer(p.Protocol, port, p.Expect)
	})
	return answer
}

// live says whether l takes part in anything, and a is an address of it.
func live(l *sim.Link, a sim.Addr) bool { return l.Up && !a.Down && a.Prefix.IsValid() }

// holder is the machine that has addr on a card that is up; nil none.
func (w *World) holder(addr netip.Addr) (found *sim.Machine) {
	w.mu.Lock()
	machines := slices.Clone(w.machines)
	w.mu.Unlock()
	for _, m := range machines {
		m.Locked(func() {
			for _, l := range m.Net.Links {
				for _, a := range l.Addrs {
					if found == nil && l.Kind == sim.Ether && live(l, a) && a.Prefix.Addr() == addr {
						found = m
					}
				}
			}
		})
	}
	return found
}

// near says whether one of m's own subnets holds addr.
func (w *World) near(m *sim.Machine, addr netip.Addr) bool {
	return slices.ContainsFunc(subnets(m), func(p netip.Prefix) bool { return p.Contains(addr) })
}

func subnets(m *sim.Machine) (nets []netip.Prefix) {
	m.Locked(func() {
		for _, l := range m.Net.Links {
			for _, a := range l.Addrs {
				if l.Kind == sim.Ether && live(l, a) && !a.Prefix.IsSingleIP() {
					nets = append(nets, a.Prefix)
				}
			}
		}
	})
	return nets
}

// routed says whether m has a way to addr through a gateway: a router, which
// joins everything, or a machine that forwards.
func (w *World) routed(m *sim.Machine, addr netip.Addr) bool {
	gw := gatewayOf(m, addr)
	if !gw.IsValid() || !w.near(m, gw) {
		return false
	}
	by := w.holder(gw)
	if by == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.Contains(w.gateways, gw)
	}
	forwards := false
	by.Locked(func() { forwards = forwarding(by, addr.Is6()) })
	return forwards && w.near(by, addr)
}

// gatewayOf is the next hop of m's most specific route to addr.
func gatewayOf(m *sim.Machine, addr netip.Addr) (gw netip.Addr) {
	m.Locked(func() {
		bits, metric := -1, 0
		for _, r := range m.Net.Routes {
			if r.Dst.Contains(addr) && (r.Dst.Bits() > bits || r.Dst.Bits() == bits && r.Metric < metric) {
				gw, bits, metric = r.Gateway, r.Dst.Bits(), r.Metric
			}
		}
	})
	return gw
}

// forwarding says whether m, with its lock held, passes packets on.
func forwarding(m *sim.Machine, six bool) bool {
	keys := map[string][2]string{
		host.Linux:   {"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"},
		host.FreeBSD: {"net.inet.ip.forwarding", "net.inet6.ip6.forwarding"},
		host.Solaris: {"ip:ip_forwarding", "ip:ip6_forwarding"},
	}
	key := keys[m.Identity.OS][0]
	if six {
		key = keys[m.Identity.OS][1]
	}
	return m.Net.Sysctls[key] == "1"
}

// sourceTo is the address of m that a packet to addr, or its wrapping, has as
// its source: of the route, else of the card that it leaves by.
func sourceTo(m *sim.Machine, addr netip.Addr) (src netip.Addr) {
	next := addr
	pick := func() {
		for _, l := range m.Net.Links {
			for _, a := range l.Addrs {
				if !src.IsValid() && l.Kind == sim.Ether && live(l, a) && !a.Prefix.IsSingleIP() && a.Prefix.Contains(next) {
					src = a.Prefix.Addr()
				}
			}
		}
	}
	m.Locked(pick)
	if src.IsValid() {
		return src
	}
	if next = gatewayOf(m, addr); next.IsValid() {
		m.Locked(func() {
			for _, r := range m.Net.Routes {
				if r.Gateway == next && r.Dst.Contains(addr) && r.Src.IsValid() {
					src = r.Src
				}
			}
			if !src.IsValid() {
				pick()
			}
		})
	}
	return src
}

// cardTo is the card of m that has addr. The lock is held.
func cardTo(m *sim.Machine, addr netip.Addr) *sim.Link { return m.Net.Holder(addr) }

// takes says whether m, with its lock held, takes a packet for vip that came
// in by the link in. Every system has the weak host model, but where somebody
// has made it strong: FreeBSD's check_interface, which counts only while it
// does not forward (transcripts, datapath.md), and its successor, Solaris'
// ip_strict_dst_multihoming and hostmodel.
func takes(m *sim.Machine, vip netip.Addr, in *sim.Link) bool {
	var on []*sim.Link
	for _, l := range m.Net.Links {
		for _, a := range l.Addrs {
			if live(l, a) && a.Prefix.Addr() == vip {
				on = append(on, l)
			}
		}
	}
	strong := false
	s := m.Net.Sysctls
	switch m.Identity.OS {
	case host.FreeBSD:
		strong = s["net.inet.ip.check_interface"] == "1" && s["net.inet.ip.forwarding"] != "1" ||
			s["net.inet.ip.rfc1122_strong_es"] == "1"
	case host.Solaris:
		strong = s["ip:ip_strict_dst_multihoming"] == "1" || s["ip:hostmodel"] == "strong"
	}
	if strong {
		return slices.Contains(on, in)
	}
	return len(on) > 0
}

// decapsulates is the tunnel of m, with its lock held, that unwraps packets
// from outer source to outer destination; nil none does.
//
// FreeBSD's gif and Solaris' ip.tun take exactly their ends, gif with
// ignore_source any source (transcripts, datapath.md; tun.c of ON). Linux
// looks for the most specific of its tunnels, of which tunl0 has no ends
// (ip_tunnel_lookup in ip_tunnel.c); what comes out is then held against the
// way back to its sender, which is never the tunnel (rp_filter, ip-sysctl.rst:
// the larger of all and the device's, before 2.6.31 both).
func decapsulates(m *sim.Machine, src, dst netip.Addr) *sim.Link {
	linux := m.Identity.OS == host.Linux
	var best *sim.Link
	rank := -1
	for _, l := range m.Net.Links {
		if l.Kind != sim.IPTunnel || !l.Up {
			continue
		}
		local := l.Local == dst
		remote := l.Remote == src || l.Flags["ignore_source"]
		n := 0
		if linux {
			unset := func(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() }
			if local {
				n++
			}
			if remote {
				n += 2
			}
			local, remote = local || unset(l.Local), remote || unset(l.Remote)
		}
		if local && remote && n > rank {
			best, rank = l, n
		}
	}
	if best == nil || !linux {
		return best
	}
	all, own := m.Net.Sysctls["net.ipv4.conf.all.rp_filter"], m.Net.Sysctls["net.ipv4.conf."+best.Name+".rp_filter"]
	strict := max(all, own) == "1"
	if host.Older(m.Identity.Release, 2, 6, 31) {
		strict = all != "0" && own != "0"
	}
	if strict {
		return nil
	}
	return best
}
