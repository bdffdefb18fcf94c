package lab

import (
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A World is the links between the machines: Ethernet cards whose live
// addresses share a subnet lie on one segment. It implements sim.Wire. Where a
// host's gateway is nobody's host, a router has it.
type World struct {
	mu        sync.Mutex
	machines  []*sim.Machine
	gateways  []netip.Addr
	announced []Announcement
}

// An Announcement is what a machine told its link.
type Announcement struct {
	Host string
	Dev  string
	Addr netip.Addr
}

func newWorld(site *inventory.Site) *World {
	w := &World{}
	for _, h := range site.Hosts {
		if h.Gateway.IsValid() && !slices.Contains(w.gateways, h.Gateway) {
			w.gateways = append(w.gateways, h.Gateway)
		}
	}
	return w
}

// NewWorld joins machines that no lab was started with. The gateways are what
// routers have; one that a machine holds is that machine's.
func NewWorld(gateways []netip.Addr, machines ...*sim.Machine) *World {
	w := &World{gateways: slices.Clone(gateways)}
	for _, m := range machines {
		w.add(m)
	}
	return w
}

func (w *World) add(m *sim.Machine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.machines = append(w.machines, m)
	m.Locked(func() { m.Wire = w })
}

// Ask implements sim.Wire: the first machine that answers, by the rules of its
// system.
func (w *World) Ask(m *sim.Machine, dev, addr string) string {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return ""
	}
	if macs := w.Answers(m, dev, a); len(macs) > 0 {
		return macs[0]
	}
	return ""
}

// Answers lists the link-layer addresses of all who answer m's question, on
// its device dev, who has addr.
func (w *World) Answers(m *sim.Machine, dev string, addr netip.Addr) []string {
	nets := segment(m, dev)
	w.mu.Lock()
	machines := slices.Clone(w.machines)
	gateways := slices.Clone(w.gateways)
	w.mu.Unlock()
	var macs []string
	held := false
	for _, other := range machines {
		other.Locked(func() {
			held = held || other.Net.Holder(addr) != nil
			if other == m {
				return
			}
			for _, l := range other.Net.Links {
				if l.Kind == sim.Ether && l.Up && onSegment(l, nets) && answers(other, l, addr) {
					macs = append(macs, l.MAC)
					return
				}
			}
		})
	}
	if !held && slices.Contains(gateways, addr) && slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		macs = append(macs, sim.MAC(addr, 0))
	}
	return macs
}

// Tell implements sim.Wire.
func (w *World) Tell(m *sim.Machine, dev, addr string) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.announced = append(w.announced, Announcement{Host: m.Name, Dev: dev, Addr: a})
}

// Announced lists what was told so far.
func (w *World) Announced() []Announcement {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.announced)
}

// segment gives the subnets on m's device dev; none if it is down.
func segment(m *sim.Machine, dev string) (nets []netip.Prefix) {
	m.Locked(func() {
		l := m.Net.Link(dev)
		if l == nil || !l.Up || l.Kind != sim.Ether {
			return
		}
		for _, a := range l.Addrs {
			if !a.Down && !a.Prefix.IsSingleIP() {
				nets = append(nets, a.Prefix.Masked())
			}
		}
	})
	return nets
}

func onSegment(l *sim.Link, nets []netip.Prefix) bool {
	return slices.ContainsFunc(l.Addrs, func(a sim.Addr) bool {
		return !a.Down && slices.Contains(nets, a.Prefix.Masked())
	})
}

// answers says whether m, with its lock held, answers on its link l for addr.
//
// FreeBSD and Solaris answer for the receiving interface's addresses only
// (transcripts, datapath.md). Linux answers for any local address, unless the
// larger of arp_ignore of all and of the receiving interface says otherwise:
// 1 and 2, the receiving interface's only; 8, none (ip-sysctl.rst). Neighbour
// solicitations it answers for addresses of the receiving interface alone:
// ndisc_recv_ns looks the target up on that device (net/ipv6/ndisc.c).
func answers(m *sim.Machine, l *sim.Link, addr netip.Addr) bool {
	on := func(l *sim.Link) bool {
		return slices.ContainsFunc(l.Addrs, func(a sim.Addr) bool { return !a.Down && a.Prefix.Addr() == addr })
	}
	if m.Identity.OS != host.Linux || addr.Is6() {
		return on(l)
	}
	level := func(name string) int {
		n, _ := strconv.Atoi(m.Net.Sysctls["net.ipv4.conf."+name+".arp_ignore"])
		return n
	}
	ignore := max(level("all"), level(l.Name))
	switch {
	case ignore == 0:
		return slices.ContainsFunc(m.Net.Links, func(l *sim.Link) bool { return l.Up && on(l) })
	case ignore < 8:
		return on(l)
	}
	return false
}
