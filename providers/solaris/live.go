package solaris

import (
	"context"
	"net/netip"
	"slices"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// unless is a command that is run where so does not hold yet.
func unless(so step.Cond, argv ...string) step.Op {
	return step.Op{Kind: step.Run, Argv: argv, If: []step.Cond{so.Negate()}}
}

// The conditions are egrep's as old Solaris has it: no [[:space:]], no {n}.
const blanks = "[ \t]+"

// shows is the condition that `ifconfig NAME` prints an indented line that
// begins with pattern. An interface that is not there prints nothing.
func shows(name, pattern string) step.Cond {
	return step.Cond{Argv: []string{"ifconfig", name}, Match: "^[ \t]*" + pattern}
}

// plumbed is the condition that the interface is there.
func plumbed(name string) step.Cond {
	return step.Cond{Argv: []string{"ifconfig", name}, Match: "flags="}
}

// isUp is the condition that it is up.
func isUp(name string) step.Cond {
	return step.Cond{Argv: []string{"ifconfig", name}, Match: "flags=[0-9a-f]*<([A-Z0-9-]*,)*UP[,>]"}
}

// showsEnds is the condition that the tunnel has these ends.
func showsEnds(name string, src, dst netip.Addr) step.Cond {
	return shows(name, "inet tunnel src "+step.Quote(src.String())+blanks+"tunnel dst "+step.Quote(dst.String()))
}

// showsAddress is the condition that the interface has the address, with the
// host mask.
func showsAddress(name string, addr, peer netip.Addr) step.Cond {
	pattern := "inet " + step.Quote(addr.String())
	if peer.IsValid() {
		pattern += " --> " + step.Quote(peer.String())
	}
	return shows(name, pattern+" netmask ffffffff")
}

// setAddress is the one command that gives an interface its address. It has no
// condition yet.
func setAddress(name string, addr, peer netip.Addr, mask uint32, up bool) step.Op {
	argv := []string{"ifconfig", name, addr.String()}
	if peer.IsValid() {
		argv = []string{"ifconfig", name, "inet", addr.String(), peer.String()}
	}
	argv = append(argv, "netmask", maskText(mask), "down")
	if up {
		argv[len(argv)-1] = "up"
	}
	return step.Op{Kind: step.Run, Argv: argv}
}

// giveAddress is setAddress with the host mask, and up, where it is not so.
func giveAddress(name string, addr, peer netip.Addr) step.Op {
	op := setAddress(name, addr, peer, hostMask, true)
	op.If = []step.Cond{showsAddress(name, addr, peer).Negate()}
	return op
}

// A loopbackVIP is a VIP that is live on the loopback, or on a tunnel.
type loopbackVIP struct {
	vip  netip.Addr
	name string // the logical interface to make where the VIP is nowhere
	// leaving are tunnels that go: a VIP that only they carry is nowhere.
	leaving []string
}

// ID is "vip:" and the address: it stays the same whatever number it has.
func (s *loopbackVIP) ID() string { return "vip:" + s.vip.String() }

func (s *loopbackVIP) Check(ctx context.Context, h host.Host) (step.Change, error) {
	list, err := readInterfaces(ctx, h)
	if err != nil {
		return step.Change{}, err
	}
	if at, ok := holder(staying(list, s.leaving), s.vip); ok {
		if err := silent(at); err != nil {
			return step.Change{}, err
		}
		return mend(at, step.VIP, s.vip), nil
	}
	if i := slices.IndexFunc(list, func(i Interface) bool { return i.Name == s.name && !i.IPv6 }); i >= 0 {
		return step.Change{}, step.Refuse("run lvsfleet again", "%s has come to carry %s meanwhile", s.name, list[i].address())
	}
	made := Interface{Name: s.name, Addr: s.vip, Mask: hostMask, Up: true}
	return step.Change{
		Diff: step.LiveDiff(s.name, "", made.address()),
		Want: s.name + ": " + made.address(),
		Do: []step.Op{
			unless(plumbed(s.name), "ifconfig", s.name, "plumb"),
			giveAddress(s.name, s.vip, netip.Addr{}),
		},
		// Plumbed and not yet addressed is what Do leaves half-way.
		Undo: []step.Op{{
			Kind: step.Run, Argv: []string{"ifconfig", s.name, "unplumb"},
			If: []step.Cond{shows(s.name, "inet ("+step.Quote(s.vip.String())+"|0\\.0\\.0\\.0) netmask ")},
		}},
		Effects: []step.Effect{step.Gain(step.VIP, s.vip)},
	}, nil
}

// mend is the change that brings an interface up with the host mask; the zero
// Change where it is so. It alters what the kind and the address say.
func mend(at Interface, k step.EffectKind, addr netip.Addr) step.Change {
	if at.full() {
		return step.Change{}
	}
	want := at
	want.Mask, want.Bits, want.Up = hostMask, 32, true
	do := giveAddress(at.Name, at.Addr, at.Peer)
	undo := setAddress(at.Name, at.Addr, at.Peer, at.Mask, at.Up)
	undo.If = []step.Cond{showsAddress(at.Name, at.Addr, at.Peer)}
	if at.Mask == hostMask { // it is only down
		do.If = []step.Cond{isUp(at.Name).Negate()}
		undo.If = append(undo.If, isUp(at.Name))
	}
	return step.Change{
		Diff: step.LiveDiff(at.Name, at.address(), want.address()),
		Was:  at.Name + ": " + at.address(), Want: want.Name + ": " + want.address(),
		Do:   []step.Op{do},
		Undo: []step.Op{undo},

		Effects: []step.Effect{step.Alter(k, addr)},
	}
}

// holder finds the interface that has addr: one that is as it must be, if
// there are several (a tunnel may share its address with another interface:
// ip_addr_availability_check, ip_if.c, marks it unnumbered).
func holder(list []Interface, addr netip.Addr) (Interface, bool) {
	found, ok := Interface{}, false
	for _, i := range list {
		if i.Addr == addr && (!ok || i.full() && !found.full()) {
			found, ok = i, true
		}
	}
	return found, ok
}

// silent refuses an interface on which a VIP would be answered for in ARP, or
// that belongs to a zone.
func silent(at Interface) error {
	if at.Zone != "" {
		return step.Refuse("lvsfleet manages the global zone alone; take the address out of the zone's configuration",
			"the VIP %s belongs to the zone %s (%s)", at.Addr, at.Zone, at.Name)
	}
	if !isLoopback(at.Name) && !at.Tunnel {
		return step.Refuse("take it away: ifconfig "+at.Name+" unplumb, or removeif, and its line in /etc/hostname.*",
			"the VIP %s is on %s, where it answers ARP", at.Addr, at.Name)
	}
	return nil
}

// A tunnel is a live IP-in-IP tunnel.
type tunnel struct {
	local, remote netip.Addr
	carry, peer   netip.Addr // the inside addresses, where it has to be made
	mine          []netip.Addr
	name          string // the interface to make where there is none with these ends
	reclaim       bool   // name is there, with other ends, and its ends are to be corrected
	stale         bool   // the tunnel carries what is not wanted any more, by our own doing
}

// ID is "tunnel:" and the outer addresses.
func (s *tunnel) ID() string { return "tunnel:" + s.local.String() + "-" + s.remote.String() }

func (s *tunnel) Check(ctx context.Context, h host.Host) (step.Change, error) {
	list, err := readInterfaces(ctx, h)
	if err != nil {
		return step.Change{}, err
	}
	if at, ok := tunnelWith(list, s.local, s.remote); ok {
		switch {
		case !at.Addr.IsValid():
			return s.address(at), nil
		case slices.Contains(s.mine, at.Addr):
			return s.mend(at), nil
		case s.stale:
			return s.address(at), nil
		case !at.Up:
			return s.raise(at), nil
		}
		return step.Change{}, nil
	}
	if i := slices.IndexFunc(list, func(i Interface) bool { return i.Name == s.name && !i.IPv6 }); i >= 0 {
		if !s.reclaim {
			return step.Change{}, step.Refuse("run lvsfleet again", "%s has appeared meanwhile", s.name)
		}
		return s.turn(list[i]), nil
	}
	return s.create(), nil
}

// tunnelWith finds the tunnel between two outer addresses.
func tunnelWith(list []Interface, local, remote netip.Addr) (Interface, bool) {
	for _, i := range list {
		if i.Tunnel && !i.IPv6 && i.Src == local && i.Dst == remote {
			return i, true
		}
	}
	return Interface{}, false
}

// effects are those of a tunnel that gets the address now, "" of none before:
// beside its own those of the VIP that it carries.
func (s *tunnel) effects(act step.Act, was, now netip.Addr) []step.Effect {
	list := []step.Effect{{Kind: step.Tunnel, Act: act, Addr: s.remote}}
	ours := slices.Contains(s.mine, now)
	switch {
	case was == now && ours:
		return append(list, step.Alter(step.VIP, now))
	case was.IsValid() && was != now && s.stale:
		list = append(list, step.Lose(step.VIP, was))
	}
	if ours {
		list = append(list, step.Gain(step.VIP, now))
	}
	return list
}

// mend is mend of the tunnel, which carries a VIP of this host.
func (s *tunnel) mend(at Interface) step.Change {
	c := mend(at, step.Tunnel, s.remote)
	if !c.Holds() {
		c.Effects = s.effects(step.Alters, at.Addr, at.Addr)
	}
	return c
}

func (s *tunnel) setEnds(name string, src, dst netip.Addr) step.Op {
	return unless(showsEnds(name, orUnset(src), orUnset(dst)),
		"ifconfig", name, "inet", "tsrc", orUnset(src).String(), "tdst", orUnset(dst).String())
}

func (s *tunnel) create() step.Change {
	made := Interface{Name: s.name, Addr: s.carry, Peer: s.peer, Mask: hostMask, Up: true}
	unset := "0\\.0\\.0\\.0"
	return step.Change{
		Diff: step.LiveDiff(s.name, "", endsText(s.local, s.remote)+"\n"+made.address()),
		Want: s.name + ": " + endsText(s.local, s.remote) + ", " + made.address(),
		Do: []step.Op{
			unless(plumbed(s.name), "ifconfig", s.name, "plumb"),
			s.setEnds(s.name, s.local, s.remote),
			giveAddress(s.name, s.carry, s.peer),
		},
		// Each half-way state of Do counts as its own, nothing else does. An
		// unset destination ends the tunnel's line after the source.
		Undo: []step.Op{{
			Kind: step.Run, Argv: []string{"ifconfig", s.name, "unplumb"},
			If: []step.Cond{
				shows(s.name, "inet tunnel src ("+step.Quote(s.local.String())+blanks+"tunnel dst "+step.Quote(s.remote.String())+"|"+unset+")[ \t]*$"),
				shows(s.name, "inet ("+step.Quote(s.carry.String())+"|"+unset+") "),
			},
		}},
		Effects: s.effects(step.Gains, netip.Addr{}, s.carry),
	}
}

// address is the change that gives a tunnel that has its ends an address, or
// another one.
func (s *tunnel) address(at Interface) step.Change {
	want := at
	want.Addr, want.Peer, want.Mask, want.Up = s.carry, s.peer, hostMask, true
	undo := setAddress(at.Name, netip.IPv4Unspecified(), netip.IPv4Unspecified(), 0, at.Up)
	if at.Addr.IsValid() {
		undo = setAddress(at.Name, at.Addr, at.Peer, at.Mask, at.Up)
	}
	undo.If = []step.Cond{showsAddress(at.Name, s.carry, s.peer)}
	return step.Change{
		Diff: step.LiveDiff(at.Name, at.ends()+"\n"+at.address(), at.ends()+"\n"+want.address()),
		Was:  at.Name + ": " + at.address(), Want: want.Name + ": " + want.address(),
		Do:   []step.Op{giveAddress(at.Name, s.carry, s.peer)},
		Undo: []step.Op{undo},

		Effects: s.effects(step.Alters, at.Addr, s.carry),
	}
}

// raise brings a tunnel up that somebody else addressed.
func (s *tunnel) raise(at Interface) step.Change {
	want := at
	want.Up = true
	return step.Change{
		Diff: step.LiveDiff(at.Name, at.address(), want.address()),
		Was:  at.Name + ": " + at.address(), Want: want.Name + ": " + want.address(),
		Do: []step.Op{unless(isUp(at.Name), "ifconfig", at.Name, "up")},
		Undo: []step.Op{{
			Kind: step.Run, Argv: []string{"ifconfig", at.Name, "down"},
			If: []step.Cond{
				isUp(at.Name),
				shows(at.Name, "inet "+step.Quote(at.Addr.String())+" "),
			},
		}},
		Effects: []step.Effect{step.Gain(step.Tunnel, s.remote)},
	}
}

// turn corrects the ends of a tunnel, and its address where that is off too.
func (s *tunnel) turn(at Interface) step.Change {
	want := at
	want.Src, want.Dst = s.local, s.remote
	back := s.setEnds(at.Name, at.Src, at.Dst)
	back.If = []step.Cond{showsEnds(at.Name, s.local, s.remote)}
	c := step.Change{
		Do:   []step.Op{s.setEnds(at.Name, s.local, s.remote)},
		Undo: []step.Op{back},
	}
	if !at.full() {
		m := mend(at, step.Tunnel, s.remote)
		c.Do, c.Undo = append(c.Do, m.Do...), append(m.Undo, c.Undo...)
		want.Mask, want.Up = hostMask, true
	}
	c.Diff = step.LiveDiff(at.Name, at.ends()+"\n"+at.address(), want.ends()+"\n"+want.address())
	c.Was = at.Name + ": " + at.ends() + ", " + at.address()
	c.Want = want.Name + ": " + want.ends() + ", " + want.address()
	c.Effects = s.effects(step.Alters, at.Addr, at.Addr)
	return c
}

// A defaultRoute is the one live IPv4 default route.
type defaultRoute struct{ gateway netip.Addr }

// ID is "route:default".
func (s *defaultRoute) ID() string { return "route:default" }

// Check compares all default routes: Solaris keeps several, and adding one
// replaces none. The new one comes before the old ones go.
func (s *defaultRoute) Check(ctx context.Context, h host.Host) (step.Change, error) {
	now, err := readDefaults(ctx, h)
	if err != nil {
		return step.Change{}, err
	}
	if slices.Equal(now, []netip.Addr{s.gateway}) {
		return step.Change{}, nil
	}
	there := func(gw netip.Addr, not bool) step.Cond {
		return step.Cond{Argv: []string{"netstat", "-rn"}, Match: "^default" + blanks + step.Quote(gw.String()) + "[ \t]", Not: not}
	}
	route := func(verb string, gw netip.Addr, conds ...step.Cond) step.Op {
		return step.Op{Kind: step.Run, Argv: []string{"route", verb, "default", gw.String()}, If: conds}
	}
	var c step.Change
	var before string
	var drop []step.Op
	for _, gw := range now {
		before += "default via " + gw.String() + "\n"
		if gw == s.gateway {
			continue
		}
		drop = append(drop, route("delete", gw, there(gw, false)))
		c.Undo = append(c.Undo, route("add", gw, there(s.gateway, false), there(gw, true)))
	}
	if !slices.Contains(now, s.gateway) {
		c.Do = append(c.Do, route("add", s.gateway, there(s.gateway, true)))
		c.Undo = append(c.Undo, route("delete", s.gateway, there(s.gateway, false)))
	}
	c.Do = append(c.Do, drop...)
	c.Diff = step.LiveDiff("default route", before, "default via "+s.gateway.String())
	c.Was, c.Want = before, "default via "+s.gateway.String()+"\n"
	c.Effects = step.Rerouted(now, s.gateway)
	return c, nil
}
