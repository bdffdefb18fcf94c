// Package director plans what only a director has: the live IPVS table, and
// what brings it back at the next boot (the rules file, the service that loads
// it, and an end to saving the live table over that file). The machine's side
// of a director (VIP, forwarding, modules, routes) is providers/linux'.
package director

import (
	"slices"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Plan says what must hold on a director for it to be what d describes, given
// what Gather found. A host that is no director has an empty plan. Where
// d.Director.Services is nil (the stage Prepare) neither table nor rules file
// is looked at: the plan then holds only what keeps the host from saving its
// live table over the rules at shutdown.
func Plan(d inventory.Desired, f Facts) (step.Plan, error) {
	var p step.Plan
	if d.Director == nil {
		return p, nil
	}
	boot := d.Network != "none" || f.Own
	if boot {
		f.stopSaving(&p)
	}
	if d.Director.Services == nil {
		return p, nil
	}
	want := Wants(d.Director.Services)
	p.Live = append(p.Live, table{slices.Concat(want, leaving(f.Taken, want, true)), d.Director.Part})
	if !boot {
		why := ""
		if f.Note != nil {
			why = ": " + f.Note.String()
		}
		p.Notes = append(p.Notes, note.New(note.RulesNone, why))
		p.Transient = append(p.Transient, "the rules of IPVS")
		return p, nil
	}
	if f.Note != nil {
		p.Notes = append(p.Notes, *f.Note)
	}
	p.Boot = append(p.Boot, rules{path: f.Rules, want: slices.Concat(want, leaving(f.Taken, want, false)), early: f.Own, part: d.Director.Part})
	if f.Own {
		f.load(&p)
	} else {
		f.enable(&p)
	}
	return p, nil
}

// Wants gives the services in the kernel's terms.
func Wants(services []inventory.DirectedService) []ipvs.Want {
	out := make([]ipvs.Want, 0, len(services))
	for _, s := range services {
		out = append(out, want(s))
	}
	return out
}

func want(s inventory.DirectedService) ipvs.Want {
	w := ipvs.Want{
		AnyWeight: s.ForeignWeights, AnyMembers: s.ForeignMembers,
		Service: ipvs.Service{Key: ServiceKey(s), Scheduler: s.Scheduler},
	}
	for _, name := range s.SchedulerFlags {
		if f, ok := ipvs.SchedulerFlag(s.Scheduler, name); ok {
			w.Flags |= f
		}
	}
	if s.OnePacket {
		w.Flags |= ipvs.OnePacket
	}
	if s.PersistenceTimeout > 0 {
		w.Flags |= ipvs.Persistent
		w.Timeout = uint32(s.PersistenceTimeout)
		w.Netmask = s.PersistenceNetmask
	}
	w.Service = w.Normal()
	for _, r := range s.Real {
		d := Destination(s, r)
		if r.Hold {
			w.Hold = append(w.Hold, d.DestKey)
			continue
		}
		w.Dests = append(w.Dests, d)
		if r.Join {
			w.Join = append(w.Join, d.DestKey)
		}
	}
	return w
}

// ServiceKey names the service in the kernel's terms.
func ServiceKey(s inventory.DirectedService) ipvs.Key {
	if s.FWMark != 0 {
		return ipvs.Key{Mark: s.FWMark, V6: s.IPv6}
	}
	return ipvs.Key{Protocol: s.Protocol, Addr: s.Addr, Port: uint16(s.Port)}
}

// Destination is the real server r of s in the kernel's terms.
func Destination(s inventory.DirectedService, r inventory.DirectedServer) ipvs.Destination {
	d := ipvs.Destination{
		DestKey: ipvs.DestKey{Addr: r.Addr, Port: uint16(r.Port)},
		Method:  ipvs.ParseMethod(string(r.Method)), Weight: r.Weight,
		Upper: r.UpperThreshold, Lower: r.LowerThreshold,
	}
	if s.FWMark == 0 && d.Method != ipvs.NAT {
		d.Port = uint16(s.Port) // the packet is not rewritten, nor is its port
	}
	return d
}
