package fleet

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// admit brings the directors to what the inventory says of those real servers
// that are as it says.
func (r *run) admit(ctx context.Context) {
	r.stage(ctx, inventory.Admit, (*member).director, nil)
}

// retire takes away what the directors give up: the entries that the inventory
// does not name, once nobody needs them to be served, and then services,
// addresses, forwarding and all else that lvsfleet once made.
func (r *run) retire(ctx context.Context) {
	if r.stopped(ctx) == nil {
		if r.back != "" && !r.allBack() {
			return
		}
		r.giveUp(ctx)
	}
	// Where the run was interrupted, the stage marks whose turn does not come.
	if why := r.stopped(ctx); why == nil || errors.Is(why, errInterrupted) {
		r.stage(ctx, inventory.Retire, func(m *member) bool {
			return m.director() && (m.want.Retires() || m.report.Removes || m.back != "" && m.changes() || len(r.unparted(m)) > 0)
		}, nil)
	}
}

// giveUp drains and deletes the entries that go, but for those without which a
// service would be served by nobody.
func (r *run) giveUp(ctx context.Context) {
	r.survey(ctx)
	places := map[place]bool{}
	if !r.AllowOutage {
		for _, p := range r.serving().without(r.leaving()) {
			places[p] = true
		}
	}
	groups := map[*member][]*entry{}
	for _, e := range r.leaving() {
		if !places[e.place()] {
			groups[e.dir] = append(groups[e.dir], e)
		}
	}
	r.remove(ctx, groups)
	lonely := map[*member][]place{} // those that were to take over failed
	for p := range places {
		lonely[p.dir] = append(lonely[p.dir], p)
	}
	for _, d := range sortedMembers(lonely) {
		slices.SortFunc(lonely[d], byPlace)
		r.fail(d, Failed, outage("", lonely[d]))
	}
	if r.back != "" && r.stopped(ctx) == nil {
		r.handBack(ctx)
	}
}

// leaving are the live entries that the inventory does not name, but for those
// of hosts that failed. With a limit, they are those of its hosts alone.
func (r *run) leaving() []*entry {
	var list []*entry
	for _, d := range r.directing() {
		whole := len(r.Limit) == 0 || slices.Contains(r.Limit, d.host.Name)
		for _, e := range d.entries {
			if e.want == nil && !e.going && e.service.ForeignMembers {
				continue // the checker's to take out
			}
			if e.want == nil && (e.going || !r.failed.has(e.host)) && (whole || slices.Contains(r.Limit, e.host)) {
				list = append(list, e)
			}
		}
	}
	return list
}

// directed is what the director m must be in the stage. Real servers that
// failed, were left out, or are still to change are left as they are found;
// so are entries that the inventory does not name, which are drained first.
func (r *run) directed(ctx context.Context, m *member, s inventory.Stage) (inventory.Desired, error) {
	d := m.want.For(s)
	if d.Director.Services == nil {
		return d, nil
	}
	if m.reads {
		if err := r.readEntries(ctx, m); err != nil {
			return d, err
		}
	}
	d = r.holding(m, d)
	if !m.reads {
		return d, nil
	}
	at := map[ipvs.Key]*inventory.DirectedService{}
	for i := range d.Director.Services {
		at[director.ServiceKey(d.Director.Services[i])] = &d.Director.Services[i]
	}
	there := map[entryKey]bool{}
	for _, e := range m.entries {
		there[entryKey{e.Service, e.Dest.DestKey}] = true
		if e.want == nil && !e.going {
			hold := e.server()
			hold.Hold, hold.Method = true, inventory.NAT // its port is its own
			at[e.Service].Real = append(at[e.Service].Real, hold)
		}
	}
	r.decideNames(ctx, m, at)
	if s == inventory.Retire {
		d = r.keepForwarding(m, d)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.join(m, at)
	for _, e := range r.dropped {
		if e.dir != m || !r.failed.has(e.host) || there[entryKey{e.Service, e.Dest.DestKey}] {
			continue
		}
		// It was deleted for a change that then failed.
		svc := at[e.Service]
		if svc == nil {
			continue // with a service that goes anyway
		}
		svc.Real = slices.DeleteFunc(svc.Real, func(rs inventory.DirectedServer) bool {
			return director.Destination(*svc, rs).DestKey == e.Dest.DestKey
		})
		svc.Real = append(svc.Real, e.server())
	}
	return d, nil
}

// holding gives d with the entries held of real servers that failed, or are still
// to change. One that has added what a service that comes needs serves it
// already.
func (r *run) holding(m *member, d inventory.Desired) inventory.Desired {
	there := map[ipvs.Key]bool{}
	for _, e := range m.entries {
		there[e.Service] = true
	}
	held := d.Holding(func(host string) bool { return r.failed.has(host) || r.waiting.has(host) })
	for i, s := range held.Director.Services {
		if k := director.ServiceKey(s); there[k] && !r.came.has(m.host.Name+" "+k.String()) {
			continue
		}
		for j := range s.Real {
			if h := s.Real[j].Host; r.expanded.has(h) && !r.failed.has(h) {
				s.Real[j].Hold = d.Director.Services[i].Real[j].Hold
				r.came.add(m.host.Name + " " + director.ServiceKey(s).String())
			}
		}
	}
	return held
}

// join marks the entries that this run adds to services whose members are
// foreign: all of a service that it makes, and what it took out itself.
func (r *run) join(m *member, at map[ipvs.Key]*inventory.DirectedService) {
	made := madeBy(m.report)
	dropped := map[entryKey]bool{}
	for _, e := range r.dropped {
		if e.dir == m {
			dropped[entryKey{e.Service, e.Dest.DestKey}] = true
		}
	}
	for k, s := range at {
		if !s.ForeignMembers {
			continue
		}
		for i := range s.Real {
			s.Real[i].Join = made[k] || dropped[entryKey{k, director.Destination(*s, s.Real[i]).DestKey}]
		}
	}
}

// madeBy lists the services that the run adds to the director's table.
func madeBy(r agent.Report) map[ipvs.Key]bool {
	made := map[ipvs.Key]bool{}
	for _, i := range r.Items {
		if i.Step != director.TableStep || i.Layer != agent.Live {
			continue
		}
		for _, o := range i.Change.Do {
			for _, e := range o.Edits {
				if e.Verb == ipvs.AddService {
					made[e.Service.Key] = true
				}
			}
		}
	}
	return made
}

// server is the live entry in the inventory's words.
func (e *entry) server() inventory.DirectedServer {
	method := inventory.Method(e.Dest.Method.String())
	if e.Dest.Method == ipvs.Local {
		method = inventory.NAT // the one method that keeps the port
	}
	return inventory.DirectedServer{
		Host: e.host, Addr: e.Dest.Addr, Port: int(e.Dest.Port), Method: method,
		Weight: e.Dest.Weight, UpperThreshold: e.Dest.Upper, LowerThreshold: e.Dest.Lower,
	}
}

func byName(a, b *member) int { return cmp.Compare(a.host.Name, b.host.Name) }

func byPlace(a, b place) int { return cmp.Compare(a.String(), b.String()) }

func sortedMembers[T any](groups map[*member]T) []*member {
	return slices.SortedFunc(maps.Keys(groups), byName)
}
