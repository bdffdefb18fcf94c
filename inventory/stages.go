package inventory

import (
	"encoding/json"
	"net/netip"
	"slices"
)

// A Stage is a part of a fleet's run.
type Stage string

// The stages, in their order. Whole is all of them at once, for a diff.
const (
	Whole    Stage = ""
	Prepare  Stage = "prepare"  // directors: forwarding, routes, modules; it only adds
	Withdraw Stage = "withdraw" // directors: what is about to be disturbed takes no new connections
	Change   Stage = "change"   // real servers
	Admit    Stage = "admit"    // directors: VIP, services, real servers
	Retire   Stage = "retire"   // directors: what they give up
)

// For gives the part of d that belongs to the stage, for a director. In
// Prepare it has no VIPs and no services yet. An end to forwarding is Retire's
// alone, the last stage: others may still be reached through it. Prepare and
// Admit only add: what lvsfleet takes away again, it does in Retire.
func (d Desired) For(s Stage) Desired {
	if d.Director == nil {
		return d
	}
	if s == Prepare {
		dir := *d.Director
		dir.VIPs, dir.Services = nil, nil
		d.Director = &dir
	}
	if s == Prepare || s == Admit {
		if d.Retires() {
			d.IPForward4, d.IPForward6 = on(d.IPForward4), on(d.IPForward6)
		}
	}
	return d
}

// on keeps v where it is true; false becomes unmanaged.
func on(v *bool) *bool {
	if v != nil && !*v {
		return nil
	}
	return v
}

// Retires says whether a director has something to give up at the end.
func (d Desired) Retires() bool {
	off := func(v *bool) bool { return v != nil && !*v }
	return d.Director != nil && (off(d.IPForward4) || off(d.IPForward6))
}

// Holding gives d with every real server for which hold is true held, as it is
// found in the table, beside those that are held already.
func (d Desired) Holding(hold func(host string) bool) Desired {
	if d.Director == nil {
		return d
	}
	dir := *d.Director
	dir.Services = make([]DirectedService, len(d.Director.Services))
	for i, s := range d.Director.Services {
		s.Real = append([]DirectedServer(nil), s.Real...)
		for j := range s.Real {
			s.Real[j].Hold = s.Real[j].Hold || hold(s.Real[j].Host)
		}
		dir.Services[i] = s
	}
	d.Director = &dir
	return d
}

// Only gives the part of a director's d that is about the named real servers:
// the services that name one of them, with every other real server held. ok
// is false where d has no such part.
func (d Desired) Only(hosts map[string]bool) (part Desired, ok bool) {
	if d.Director == nil {
		return Desired{}, false
	}
	held := d.Holding(func(host string) bool { return !hosts[host] })
	dir := *held.Director
	dir.Services = nil
	addrs := map[netip.Addr]bool{}
	for _, s := range held.Director.Services {
		for _, r := range s.Real {
			if !r.Hold {
				dir.Services = append(dir.Services, s)
				addrs[s.Addr] = true
				break
			}
		}
	}
	if len(dir.Services) == 0 {
		return Desired{}, false
	}
	dir.Part = true
	dir.VIPs = nil
	for _, v := range held.Director.VIPs {
		if addrs[v.Addr] {
			dir.VIPs = append(dir.VIPs, v)
		}
	}
	d.Director = &dir
	d.Gateways, d.VIPs, d.Decaps, d.Tunnels = nil, nil, nil, nil
	return d, true
}

// Identity gives of d what says which host it is: enough for what is asked of it
// whatever it must be.
func (d Desired) Identity() Desired {
	return Desired{Host: d.Host, OS: d.OS, Release: d.Release, Address: d.Address, Network: d.Network}
}

// Parts names all that d asks for of a host beside its services,
// a text each, in no meaningful order: one that an earlier Desired had, and
// this one has not, is a thing that is not wanted any more.
func (d Desired) Parts() []string {
	var list []string
	add := func(kind string, v any) {
		// Encoding plain data does not fail.
		text, _ := json.Marshal(v)
		list = append(list, kind+" "+string(text))
	}
	for _, i := range d.Interfaces {
		add("interface", i)
	}
	for _, gw := range d.Gateways {
		add("gateway", gw)
	}
	if d.IPForward4 != nil {
		add("ip_forward4", *d.IPForward4)
	}
	if d.IPForward6 != nil {
		add("ip_forward6", *d.IPForward6)
	}
	for _, v := range d.VIPs {
		add("vip", v)
	}
	for _, c := range d.Decaps {
		for _, v := range c.VIPs {
			add("decap", Decap{c.Local, c.Remote, []netip.Addr{v}})
		}
	}
	for _, t := range d.Tunnels {
		add("tunnel", t)
	}
	if dir := d.Director; dir != nil {
		for _, v := range dir.VIPs {
			add("director vip", v)
		}
		for _, s := range dir.Schedulers {
			add("scheduler", s)
		}
		for _, dev := range dir.OneArmed {
			add("one-armed", dev)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
