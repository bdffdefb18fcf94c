package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Rollback takes the run back on the hosts that it changed, with the care of
// Converge: what leads clients somewhere else goes in the same stages, which
// widen first and narrow last, so the last that the run did is the first to be
// taken back. Directors that are not among the hosts lend weights.
func (f *Fleet) Rollback(ctx context.Context, run string, hosts []string, approve func([]Finding) (asked bool, err error)) (Outcome, error) {
	members, err := f.changedBy(run, hosts)
	if err != nil {
		return Outcome{}, err
	}
	r := newRun(f, members, run)
	f.running.Store(r)
	defer f.running.Store(nil)
	defer r.end()
	err = r.carryOut(ctx, approve)
	return r.outcome(), err
}

// changedBy makes members of the hosts, and of every director.
func (f *Fleet) changedBy(run string, hosts []string) ([]*member, error) {
	want := f.Site.Desired()
	for _, name := range hosts {
		if _, ok := want[name]; !ok {
			return nil, fmt.Errorf("run %s changed %q: %w; put its block back", run, name, ErrUnknownHost)
		}
	}
	var members []*member
	for _, h := range f.Site.Hosts {
		if slices.Contains(hosts, h.Name) || want[h.Name].Director != nil {
			members = append(members, &member{host: h, said: want[h.Name], want: want[h.Name], back: run})
		}
	}
	slices.SortFunc(members, byName)
	return members, nil
}

// A target is what becomes of a director's table when a run is taken back on
// it. nil: nothing.
type target struct {
	// entries are those that are concerned; nil: it goes.
	entries map[entryKey]*ipvs.Destination
	gone    map[ipvs.Key]bool // services that go
}

// targetOf reads it off the report.
func (r *run) targetOf(m *member) *target {
	if r.back == "" {
		return nil
	}
	t := &target{map[entryKey]*ipvs.Destination{}, map[ipvs.Key]bool{}}
	for _, i := range m.report.Items {
		if i.Layer != agent.Live {
			continue
		}
		for _, op := range i.Change.Do {
			if op.Kind == step.IPVS {
				t.add(op.Edits)
			}
		}
	}
	return t
}

func (t *target) add(edits []ipvs.Edit) {
	for _, e := range edits {
		k := entryKey{e.Service.Key, e.Dest.DestKey}
		switch e.Verb {
		case ipvs.AddDest, ipvs.EditDest:
			dest := e.Dest
			t.entries[k] = &dest
		case ipvs.DeleteDest:
			t.entries[k] = nil
		case ipvs.DeleteService:
			t.gone[e.Service.Key] = true
		case ipvs.AddService, ipvs.EditService:
		}
	}
}

// goes says whether the service goes as a whole: that is no outage.
func (t *target) goes(k ipvs.Key) bool { return t != nil && t.gone[k] }

func (t *target) sorted() []entryKey {
	return slices.SortedFunc(maps.Keys(t.entries), func(a, b entryKey) int {
		if c := a.service.Compare(b.service); c != 0 {
			return c
		}
		return a.dest.Compare(b.dest)
	})
}

func (k entryKey) withdrawal() inventory.Withdrawal {
	return (&entry{Entry: agent.Entry{Service: k.service, Dest: ipvs.Destination{DestKey: k.dest}}}).withdrawal(false)
}

// reverts is what the director m takes back in the stage: first what it had
// given up, then its table, bit by bit, as the real servers are ready for it,
// and at last all that is left. Entries that go are drained first, as in every
// run, and so are no matter here.
func (r *run) reverts(ctx context.Context, m *member, s inventory.Stage) (*agent.Reverts, error) {
	switch s {
	case inventory.Prepare:
		return &agent.Reverts{Part: agent.Machine, Stages: []inventory.Stage{inventory.Retire}}, nil
	case inventory.Retire:
		if r.handing {
			return &agent.Reverts{Part: agent.Machine, Stages: []inventory.Stage{inventory.Admit}}, nil
		}
		stages := []inventory.Stage{inventory.Whole, inventory.Prepare, inventory.Withdraw, inventory.Change}
		if !r.handed[m.host.Name] {
			stages = append(stages, inventory.Admit)
		}
		return &agent.Reverts{Stages: stages}, nil
	case inventory.Whole, inventory.Withdraw, inventory.Change, inventory.Admit:
	}
	if m.reads {
		if err := r.readEntries(ctx, m); err != nil {
			return nil, err
		}
	}
	b := &agent.Reverts{Part: agent.Table}
	keep := map[entryKey]bool{}
	r.mu.Lock()
	for _, e := range r.dropped {
		if e.dir == m && r.failed.has(e.host) {
			keep[entryKey{e.Service, e.Dest.DestKey}] = true // its real server is what it was
		}
	}
	r.mu.Unlock()
	for _, k := range m.target.sorted() {
		host := r.owners[k.dest.Addr]
		switch {
		case keep[k]:
			b.Keep = append(b.Keep, k.withdrawal())
		case m.target.entries[k] == nil || r.failed.has(host) || r.waiting.has(host):
			b.Hold = append(b.Hold, k.withdrawal())
		}
	}
	return b, nil
}

// readAll reads all that the director m serves now, and what is to become of
// it: the inventory of today says nothing of that.
func (r *run) readAll(ctx context.Context, m *member) error {
	live, err := m.table(ctx)
	if err != nil {
		return fmt.Errorf("read the IPVS table of %s: %w", m.host.Name, err)
	}
	named := map[ipvs.Key]*inventory.DirectedService{}
	for i := range m.want.Director.Services {
		s := &m.want.Director.Services[i]
		named[director.ServiceKey(*s)] = s
	}
	m.entries = nil
	for _, l := range live {
		s := named[l.Service]
		if s == nil {
			s = formerService(l.Service)
			named[l.Service] = s
		}
		e := &entry{Entry: l, dir: m, service: s, host: r.owners[l.Dest.Addr]}
		to, concerned := m.target.entries[entryKey{l.Service, l.Dest.DestKey}]
		switch {
		case m.target.goes(l.Service), concerned && to == nil:
		case concerned:
			want := (&entry{Entry: agent.Entry{Dest: *to}, host: e.host}).server()
			e.want = &want
		default:
			want := e.server()
			e.want = &want
		}
		m.entries = append(m.entries, e)
	}
	return nil
}

// comingBack adds to w the entries that the director gives a weight again, of
// the hosts that are asked about.
func (r *run) comingBack(d *member, w weights, of func(host string) bool) {
	for k, to := range d.target.entries {
		host := r.owners[k.dest.Addr]
		if to != nil && to.Weight > 0 && of(host) && !r.failed.has(host) {
			w.set(place{d, k.service}, k.dest, true)
		}
	}
}

// leavingServices are the entries of services that go, by director.
func (r *run) leavingServices() map[*member][]*entry {
	groups := map[*member][]*entry{}
	for _, d := range r.directing() {
		for _, e := range d.entries {
			if d.target.goes(e.Service) {
				groups[d] = append(groups[d], e)
			}
		}
	}
	return groups
}

// endServices drains and deletes the services that go: whom they leave waits
// for nobody. It gives the real servers that still serve somebody.
func (r *run) endServices(ctx context.Context, pending []*member) []*member {
	if groups := r.leavingServices(); len(groups) > 0 && r.remove(ctx, groups) {
		r.survey(ctx)
	}
	return slices.DeleteFunc(pending, func(m *member) bool {
		if len(r.touched(m)) > 0 || r.lostDirector(m) != "" {
			return false
		}
		r.waiting.remove(m.host.Name)
		return true
	})
}

// lastToLeave puts the real servers last that leave a service: others come back
// to it first.
func (r *run) lastToLeave(pending []*member) {
	leaves := func(m *member) int {
		if slices.ContainsFunc(r.touched(m), func(e *entry) bool { return e.want == nil }) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(pending, func(a, b *member) int { return leaves(a) - leaves(b) })
}

// handBack has directors give up, of what the run had them admit, the VIPs that
// others are about to take again: two must never answer for one.
func (r *run) handBack(ctx context.Context) {
	moving := func(m *member, act step.Act) []netip.Addr {
		var list []netip.Addr
		for _, i := range m.report.Items {
			for _, e := range i.Change.Effects {
				if m.director() && m.err == nil && i.Layer == agent.Live && !i.Change.Holds() && e.Kind == step.VIP && e.Act == act {
					list = append(list, e.Addr)
				}
			}
		}
		return list
	}
	taken := map[netip.Addr]bool{}
	for _, m := range r.members {
		for _, a := range moving(m, step.Gains) {
			taken[a] = true
		}
	}
	r.handed = map[string]bool{}
	for _, m := range r.members {
		r.handed[m.host.Name] = slices.ContainsFunc(moving(m, step.Loses), func(a netip.Addr) bool { return taken[a] })
	}
	r.handing = true
	r.stage(ctx, inventory.Retire, func(m *member) bool { return r.handed[m.host.Name] }, nil)
	r.handing = false
}

// errLeft is why a director is not taken back whole.
var errLeft = errors.New("what is left here waits for real servers that could not be taken back")

// allBack says whether every real server is as before, so that nothing needs
// what the directors have for it any more.
func (r *run) allBack() bool {
	all := true
	for _, m := range r.members {
		all = all && (m.director() || m.err == nil && (!m.changes() || r.done.has(m.host.Name) || !m.begun.Differs))
	}
	if all {
		return true
	}
	for _, m := range r.members {
		if m.director() && m.err == nil && m.changes() {
			status := Skipped
			if r.done.has(m.host.Name) {
				status = Partly
			}
			r.fail(m, status, errLeft)
		}
	}
	return false
}

// undoFleet takes back what this run has committed, as a host of it failed,
// over the sessions that it has: their hosts stay its own meanwhile. Nothing
// interrupts it: the whole fleet changes, or none of it.
func (r *run) undoFleet(ctx context.Context) Outcome {
	out := r.outcome()
	ctx = context.WithoutCancel(ctx)
	committed := map[string]bool{}
	for _, res := range out.Results {
		committed[res.Host] = res.Committed
	}
	var members []*member
	for _, m := range r.members {
		if !committed[m.host.Name] && (!m.director() || m.err != nil) {
			continue
		}
		members = append(members, &member{
			host: m.host, said: m.said, want: m.said, back: r.Run, session: m.session, reached: m.reached,
		})
		m.session = nil
	}
	u := newRun(r.Fleet, members, r.Run)
	u.undoing = true
	r.running.Store(u)
	defer u.end()
	err := u.carryOut(ctx, nil)
	at := map[string]int{}
	for i, res := range out.Results {
		at[res.Host] = i
	}
	for _, got := range u.outcome().Results {
		res := &out.Results[at[got.Host]]
		good := err == nil && (got.Status == Changed || got.Status == Unchanged)
		switch {
		case good:
			res.Committed = false
			if res.Status == Changed {
				res.Status = Undone
			}
		case !committed[got.Host] && got.Status != Failed && got.Status != Incomplete:
		default:
			why := got.Err
			if why == nil {
				why = errors.Join(errNotBack, err)
			}
			res.Status, res.Err = Incomplete, errors.Join(res.Err, fmt.Errorf("take it back: %w", why))
		}
		res.Cut += got.Cut
	}
	return out
}

// errNotBack is a host that was not taken back for no reason of its own.
var errNotBack = errors.New("it was not its turn")
