// Package plan decides what a fleet's run may do. It is pure: what was observed
// goes in as values, and decisions come out. It knows no session, no clock and
// no context, so each rule has its own table of tests, and a run can be shown
// before it happens.
package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// An Entry is one real server of one service in a director's table, read in
// this run: it is in force, whatever its weight is.
type Entry struct {
	Director string
	Service  ipvs.Key
	Dest     ipvs.Destination
	// VIPs are those that the service's clients ask for. None is known of a
	// mark without an address, nor of one that the inventory has no more.
	VIPs []netip.Addr
	// Connections are those that a drain waits for.
	Connections int
	Host        string // whose address it is; "" nobody's that is known
	// Stays: the entry is wanted after the run as it is now, by its method.
	Stays bool
	// Departed: the director has left the inventory. Nobody drains there.
	Departed bool
}

// A Disturbance is what the runtime operations of a real server may break for
// the connections that it serves.
type Disturbance struct {
	vips           map[netip.Addr]bool
	anyVIP         bool
	tunnel         bool
	route4, route6 bool
}

// DisturbanceOf reads it off the effects.
func DisturbanceOf(effects []step.Effect) Disturbance {
	d := Disturbance{vips: map[netip.Addr]bool{}}
	for _, e := range effects {
		switch e.Kind {
		case step.VIP:
			d.anyVIP = true
			d.vips[e.Addr] = true
		case step.Tunnel:
			d.tunnel = true
		case step.DefaultRoute:
			d.route4 = d.route4 || !e.Addr.Is6()
			d.route6 = d.route6 || e.Addr.Is6()
		case step.ARPSuppression, step.Forwarding, step.IPVSTable, step.Support:
		}
	}
	return d
}

// Any says whether there is a disturbance at all.
func (d Disturbance) Any() bool { return d.anyVIP || d.tunnel || d.route4 || d.route6 }

// Hits says whether the clients of the entry may notice, if it has any. An
// entry whose VIP is not known is hit by every VIP's effect.
func (d Disturbance) Hits(service ipvs.Key, vips []netip.Addr, dest ipvs.Destination) bool {
	v6 := service.IPv6()
	switch {
	case d.route4 && (!v6 || dest.Addr.Is4()), d.route6 && (v6 || dest.Addr.Is6()):
		return true
	case dest.Method == ipvs.NAT:
		return false
	case d.anyVIP && (len(vips) == 0 || slices.ContainsFunc(vips, func(a netip.Addr) bool { return d.vips[a] })):
		return true
	}
	return dest.Method == ipvs.TUN && d.tunnel
}

// Serves says whether somebody is served by an entry: it takes new connections
// or still has some. "Weight 0 now, removed later" is how people drain.
func Serves(weight, connections int) bool { return weight > 0 || connections > 0 }

// Taken are the effects that take away what a client may need: a VIP, a tunnel,
// ARP suppression or a default route that goes, or is another one afterwards.
func Taken(effects []step.Effect) []step.Effect {
	return slices.DeleteFunc(slices.Clone(effects), func(e step.Effect) bool {
		switch e.Kind {
		case step.VIP, step.Tunnel, step.DefaultRoute:
			return e.Act == step.Gains
		case step.ARPSuppression:
			return e.Act != step.Loses
		case step.Forwarding, step.IPVSTable, step.Support:
		}
		return true
	})
}

// An Unread is a director that was not read in this run: it may have any entry
// in force.
type Unread struct {
	Name string
	Why  string // "takes no part in this run", "has left the inventory and does not answer"
}

// A Doing is what a real server may do in a run.
type Doing int

// Whole: all of it. AddOnly: what it adds, and nothing is taken away. LeaveOut:
// nothing.
const (
	Whole Doing = iota
	AddOnly
	LeaveOut
)

// A Decision is what a real server may do, and why not more.
type Decision struct {
	Do  Doing
	Why string // "" of Whole
	// Gap are the entries on directors that have left the inventory which the
	// change would cut off: nobody drains them there. They are an outage.
	Gap []Entry
}

// RealServer decides what the real server may do whose runtime operations have
// the effects. A real server loses a VIP, its tunnel, ARP suppression or its
// default route only when no director names it for that any more: one that was
// not read counts as naming it, and a mark without an address as needing every
// VIP. split says that what it adds can be done by itself.
func RealServer(host string, effects []step.Effect, split bool, entries []Entry, unread []Unread) Decision {
	taken := Taken(effects)
	if len(taken) == 0 {
		return Decision{}
	}
	less := func(why string) Decision {
		if split {
			return Decision{Do: AddOnly, Why: why}
		}
		return Decision{Do: LeaveOut, Why: why}
	}
	if len(unread) > 0 {
		u := unread[0]
		return less(fmt.Sprintf("nothing is taken away here: the director %s %s, and may still send it clients", u.Name, u.Why))
	}
	d := DisturbanceOf(taken)
	var dec Decision
	for _, e := range entries {
		if e.Host != host && (e.Host != "" || !e.Departed) {
			continue
		}
		switch {
		case e.Departed && Serves(e.Dest.Weight, e.Connections) && d.Hits(e.Service, e.VIPs, e.Dest):
			dec.Gap = append(dec.Gap, e)
		case e.Stays && e.Service.Mark != 0 && len(e.VIPs) == 0 && e.Dest.Method != ipvs.NAT && loses(effects):
			return less(fmt.Sprintf("nothing is taken away here: %s on %s has no address, and may need the VIP (give it one)", e.Service, e.Director))
		}
	}
	return dec
}

// loses says whether a VIP goes, or what suppresses its ARP.
func loses(effects []step.Effect) bool {
	return slices.ContainsFunc(effects, func(e step.Effect) bool {
		return (e.Kind == step.VIP || e.Kind == step.ARPSuppression) && e.Act == step.Loses
	})
}

// A Naming is what becomes of an entry that a director is to have.
type Naming int

// Name: the director gets it. Prove: it gets it once the real server is proved.
// Hold: it is left as it was found.
const (
	Name Naming = iota
	Prove
	Hold
)

// A Candidate is an entry that a director is to have, and what is known of it.
type Candidate struct {
	// InForce: the same entry, with the same method and a weight above 0, was
	// read from this director's table before anything was changed.
	InForce bool
	Weight  int  // that it is to have
	Proved  bool // its real server was changed in this run, and proved
	// Changed: its real server was changed in this run. It is committed only
	// after what can be proved of it was.
	Changed bool
	// Excuse is why no proof can be given; "" one can.
	Excuse string
	// Outside: its real server takes no part in this run, which has a limit.
	Outside bool
}

// Naming decides about the entry: a director newly names a real server only if
// that was proved in this run, changed or not, or the proof cannot be given. A
// real server outside of the run's limit has no excuse: it is held.
func (c Candidate) Naming() Naming {
	switch {
	case c.InForce, c.Proved, c.Changed, c.Weight == 0 && !c.Outside:
		return Name
	case c.Excuse == "":
		return Prove
	case c.Outside:
		return Hold
	}
	return Name
}

// ForwardingNeeded lists the entries for which the director has to go on
// forwarding packets of the family: by NAT, answers come back through it.
func ForwardingNeeded(entries []Entry, v6 bool) []Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool {
		return e.Dest.Method != ipvs.NAT || e.Dest.Addr.Is6() != v6
	})
}
