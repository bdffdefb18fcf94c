package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet/plan"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A going are the services of a director's live table that are lvsfleet's and
// that its inventory does not name any more, with the entries that go: all of
// them where the service does.
type going map[ipvs.Key]map[ipvs.DestKey]bool

// goingOf reads them off the table's step, which says what would be made of
// the services that d does not name.
func goingOf(r agent.Report, d inventory.Desired) going {
	named := map[ipvs.Key]bool{}
	if d.Director != nil {
		for _, s := range d.Director.Services {
			named[director.ServiceKey(s)] = true
		}
	}
	g := going{}
	for _, i := range r.Items {
		if !i.Change.Affects(step.IPVSTable) {
			continue
		}
		for _, o := range i.Change.Do {
			for _, e := range o.Edits {
				k := e.Service.Key
				switch {
				case named[k]:
				case e.Verb == ipvs.DeleteService:
					g[k] = nil
				case e.Verb == ipvs.DeleteDest:
					if g[k] == nil {
						g[k] = map[ipvs.DestKey]bool{}
					}
					g[k][e.Dest.DestKey] = true
				}
			}
		}
	}
	return g
}

// has says whether the entry goes, and with it perhaps its service.
func (g going) has(l agent.Entry) bool {
	dests, ok := g[l.Service]
	return ok && (dests == nil || dests[l.Dest.DestKey])
}

// formerService is a service that the inventory does not name in its words.
func formerService(k ipvs.Key) *inventory.DirectedService {
	return &inventory.DirectedService{
		Name: k.String(), Addr: k.Addr, Port: int(k.Port), FWMark: k.Mark, IPv6: k.V6, Protocol: k.Protocol,
	}
}

// close drains the services that go, and deletes their entries, all at once:
// the real servers that served them have nobody to wait for then. That they
// serve nobody is what the inventory says, and no outage.
func (r *run) close(ctx context.Context) {
	if r.stopped(ctx) != nil {
		return
	}
	r.survey(ctx)
	groups := map[*member][]*entry{}
	for _, d := range r.directing() {
		if r.stays(d) {
			r.fail(d, Failed, errNothingComes)
			continue
		}
		for _, e := range d.entries {
			if e.going {
				groups[d] = append(groups[d], e)
			}
		}
	}
	r.remove(ctx, groups)
}

// yield has directors give up the VIPs that others are about to take: two must
// never answer for one.
func (r *run) yield(ctx context.Context) {
	if r.back != "" || r.stopped(ctx) != nil {
		return
	}
	taken := map[netip.Addr]bool{}
	for _, m := range r.members {
		if !m.director() || m.err != nil {
			continue
		}
		for _, v := range m.want.Director.VIPs {
			if m.has(v.Addr, false) {
				taken[v.Addr] = true
			}
		}
	}
	yields := map[string][]netip.Addr{}
	for _, m := range r.members {
		for a := range taken {
			if m.director() && m.has(a, true) {
				yields[m.host.Name] = append(yields[m.host.Name], a)
			}
		}
	}
	r.yielding = yields
	r.stage(ctx, inventory.Withdraw, func(m *member) bool { return len(yields[m.host.Name]) > 0 }, nil)
}

// has says whether a live step of the VIP is to be done, or taken back.
func (m *member) has(vip netip.Addr, gone bool) bool {
	return slices.ContainsFunc(m.report.Items, func(i agent.Item) bool {
		return i.Layer == agent.Live && i.Gone == gone && !i.Change.Holds() &&
			slices.ContainsFunc(i.Change.Effects, func(e step.Effect) bool { return e.Kind == step.VIP && e.Addr == vip })
	})
}

// directorsRole finds that a host which the inventory has as no director still
// has services: it leaves its clients as a director does.
func (m *member) directorsRole() {
	if m.want.Director == nil && m.back != "" && m.editsTable() {
		m.want.Director = &inventory.Director{} // it was one, or is to be one again
	}
	if m.want.Director == nil && !m.partial && m.editsTable() {
		m.want.Director, m.leaves = &inventory.Director{}, true
	}
}

// remove has all that lvsfleet made on the host go. A director leaves its
// clients first.
func (m *member) remove() {
	m.want, m.removing = m.said.Identity(), true
	if m.said.Director != nil {
		m.want.Director, m.leaves = &inventory.Director{}, true
	}
}

// watch lets a director that is not itself concerned take part in the removal
// of the hosts: their entries are drained and go. It says whether it is one.
func (m *member) watch(gone map[string]bool) bool {
	if m.said.Director == nil {
		return false
	}
	m.remove()
	m.watches = []inventory.DirectedService{}
	for _, s := range m.said.Director.Services {
		s.Real = slices.DeleteFunc(slices.Clone(s.Real), func(rs inventory.DirectedServer) bool { return gone[rs.Host] })
		m.watches = append(m.watches, s)
	}
	return true
}

// foretell finds out what becomes of the directors that only watch, before
// anything does.
func (r *run) foretell(ctx context.Context) error {
	parting := map[*member][]*entry{}
	for _, e := range r.leaving() {
		if e.dir.watches != nil {
			parting[e.dir] = append(parting[e.dir], e)
		}
	}
	each(r.Fleet, sortedMembers(parting), func(m *member) {
		report, err := m.session.Check(ctx, agent.ToWithdraw(m.want, withdrawals(parting[m], true)))
		if err != nil {
			m.err = fmt.Errorf("check %s: %w", m.host.Name, err)
			r.dismiss(m)
			return
		}
		m.parting, m.parts = parting[m], report.Items
	})
	return r.leaveOut(ctx)
}

// unparted lists the entries that the director m, which only watches, should
// have given up and has not.
func (r *run) unparted(m *member) []*entry {
	if len(m.parting) == 0 {
		return nil // most often: a table may be large
	}
	there := map[entryKey]bool{}
	for _, e := range m.entries {
		there[entryKey{e.Service, e.Dest.DestKey}] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.dropped {
		if e.dir == m {
			delete(there, entryKey{e.Service, e.Dest.DestKey})
		}
	}
	return slices.DeleteFunc(slices.Clone(m.parting), func(e *entry) bool { return !there[entryKey{e.Service, e.Dest.DestKey}] })
}

// outsiders looks, in a run with a limit, at the directors that have no part in
// it, or only a part of their services, for a real server that takes something
// away. One that clients would still be sent to is not changed without them.
func (r *run) outsiders(ctx context.Context) error {
	leaving := map[string]*member{}
	for _, m := range r.changing() {
		if !m.director() && len(plan.Taken(effects(m.report))) > 0 {
			leaving[m.host.Name] = m
		}
	}
	if len(r.Limit) == 0 || r.Removing || len(leaving) == 0 {
		return nil
	}
	var mu sync.Mutex
	want := r.Site.Desired()
	each(r.Fleet, r.Site.Hosts, func(h *inventory.Host) {
		d := r.byName[h.Name]
		if want[h.Name].Director == nil || d != nil && (!d.partial || d.err != nil) {
			return
		}
		live, named, err := r.outsider(ctx, h, d)
		mu.Lock()
		defer mu.Unlock()
		for _, m := range leaving {
			if err != nil {
				m.err = errors.Join(m.err, fmt.Errorf("%s may lose what its clients need: %w", m.host.Name, err))
			}
		}
		for _, l := range live {
			e := &entry{Entry: l, service: formerService(l.Service)}
			m := leaving[r.owners[l.Dest.Addr]]
			if m != nil && e.serves() && !named[l.Service] && m.disturbs.hits(e) {
				m.err = errors.Join(m.err, fmt.Errorf("%s on %s still sends clients to %s, which loses what they need: leave --limit out, or name %s too",
					l.Service, h.Name, m.host.Name, h.Name))
			}
		}
	})
	return r.leaveOut(ctx)
}

// outsider reads the table of a director. Of one that has a part in the run
// (else d is nil) the services of that part are named.
func (r *run) outsider(ctx context.Context, h *inventory.Host, d *member) (live []agent.Entry, named map[ipvs.Key]bool, err error) {
	named = map[ipvs.Key]bool{}
	if d == nil || d.session == nil {
		s, err := r.dial(ctx, h)
		if err != nil {
			return nil, nil, err
		}
		defer s.Close()
		d = &member{host: h, session: s}
	} else {
		for _, s := range d.services() {
			named[director.ServiceKey(s)] = true
		}
	}
	if live, err = d.table(ctx); err != nil {
		err = fmt.Errorf("read the IPVS table of %s: %w", h.Name, err)
	}
	return live, named, err
}

// clean takes away what lvsfleet keeps for itself on the hosts that it has
// left.
func (r *run) clean(ctx context.Context) {
	if !r.Removing {
		return
	}
	var hosts []*member
	for _, m := range r.members {
		if m.err == nil && m.watches == nil && m.reached {
			hosts = append(hosts, m)
		}
	}
	each(r.Fleet, hosts, func(m *member) {
		if ctx.Err() != nil {
			r.kept.add(m.host.Name)
			return
		}
		r.observe(Event{Host: m.host.Name, Phase: PhaseClean})
		err := r.cleanOne(context.WithoutCancel(ctx), m)
		if err != nil {
			m.err = fmt.Errorf("take lvsfleet's own files away on %s: %w", m.host.Name, err)
			r.mu.Lock()
			r.status[m.host.Name] = Partly
			r.mu.Unlock()
		}
		r.observe(Event{Host: m.host.Name, Phase: PhaseDone, Error: text(m.err)})
	})
}

func (r *run) cleanOne(ctx context.Context, m *member) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if m.session == nil {
		s, err := r.dial(ctx, m.host)
		if err != nil {
			return err
		}
		m.session = s
	}
	defer m.close()
	return m.session.Clean(ctx, r.KeepHistory)
}
