package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet/plan"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// restrict has nothing taken away from real servers that a director may still
// need: one that was not read, one that has left the inventory, and a mark whose
// VIP is not known. It gives the outages that a director which has left the
// inventory would have: nobody drains there.
func (r *run) restrict(ctx context.Context) (gaps []*OutageError, err error) {
	taking := slices.DeleteFunc(r.changing(), func(m *member) bool {
		return m.director() || len(plan.Taken(effects(m.report))) == 0
	})
	if len(taking) > 0 {
		r.readDeparted(ctx)
	}
	entries := r.planEntries()
	for _, m := range taking {
		d := r.decide(m, entries)
		if d.Do == plan.AddOnly {
			m.partial, m.keeps = true, d.Why
			if m.report, err = m.check(ctx); err != nil {
				m.err = fmt.Errorf("check %s: %w", m.host.Name, err)
				r.dismiss(m)
				continue
			}
			m.disturbs = disturbanceOf(m.report)
			if d = r.decide(m, entries); d.Do == plan.Whole && !m.changes() {
				d = plan.Decision{Do: plan.LeaveOut, Why: m.keeps}
			}
			if d.Do == plan.Whole {
				m.report.Notes = append(m.report.Notes, note.New(note.NothingLost, m.keeps))
			}
		}
		if d.Do != plan.Whole {
			m.err = errors.New(d.Why)
			r.mark(m, Skipped)
			r.dismiss(m)
			continue
		}
		if len(d.Gap) > 0 {
			gaps = append(gaps, gapOf(m, d.Gap))
		}
	}
	r.keepVIPs(entries)
	return gaps, r.leaveOutNew(ctx)
}

// leaveOutNew is leaveOut for hosts that have failed since it was last asked.
func (r *run) leaveOutNew(ctx context.Context) error {
	if !slices.ContainsFunc(r.members, func(m *member) bool { return m.err != nil && !r.failed.has(m.host.Name) }) {
		return nil
	}
	return r.leaveOut(ctx)
}

func gapOf(m *member, gap []plan.Entry) *OutageError {
	e := &OutageError{Host: m.host.Name}
	for _, g := range gap {
		e.Services = append(e.Services, fmt.Sprintf("%s on %s, which has left the inventory and is drained by nobody", g.Service, g.Director))
	}
	slices.Sort(e.Services)
	e.Services = slices.Compact(e.Services)
	return e
}

func (r *run) decide(m *member, entries []plan.Entry) plan.Decision {
	split := m.back == "" && !m.removing && !m.partial
	return plan.RealServer(m.host.Name, effects(m.report), split, entries, r.unread)
}

// keepVIPs has directors keep the VIPs that a mark without an address may need.
func (r *run) keepVIPs(entries []plan.Entry) {
	for _, m := range r.members {
		if !m.director() || m.err != nil || m.back != "" || m.removing || !m.changes() {
			continue
		}
		loses := slices.ContainsFunc(effects(m.report), func(e step.Effect) bool { return e.Kind == step.VIP && e.Act == step.Loses })
		i := slices.IndexFunc(entries, func(e plan.Entry) bool {
			return e.Director == m.host.Name && e.Stays && e.Service.Mark != 0 && len(e.VIPs) == 0
		})
		if loses && i >= 0 {
			m.keeps = fmt.Sprintf("nothing is taken away here: %s has no address, and may need the VIP (give it one)", entries[i].Service)
			m.report.Notes = append(m.report.Notes, note.New(note.NothingLost, m.keeps))
		}
	}
}

// planEntries are all entries that are in force, as far as they were read.
func (r *run) planEntries() []plan.Entry {
	var list []plan.Entry
	for _, d := range r.directing() {
		for _, e := range d.entries {
			list = append(list, e.plan())
		}
	}
	return append(list, r.departed...)
}

func (e *entry) plan() plan.Entry {
	return plan.Entry{
		Director: e.dir.host.Name, Service: e.Service, Dest: e.Dest, VIPs: e.vips(), Connections: e.connections(), Host: e.host,
		Stays: e.want != nil && !e.replaced(),
	}
}

// readDeparted reads the tables of the directors that have left the inventory.
// One that does not answer counts as naming everybody.
func (r *run) readDeparted(ctx context.Context) {
	var mu sync.Mutex
	each(r.Fleet, r.Departed, func(h *inventory.Host) {
		if h.OS != inventory.Linux || r.byName[h.Name] != nil {
			return // no other system has IPVS
		}
		live, err := r.tableOf(ctx, h)
		mu.Lock()
		defer mu.Unlock()
		if err != nil && len(h.Roles) > 0 {
			r.unread = append(r.unread, plan.Unread{
				Name: h.Name,
				Why:  "has left the inventory and cannot be read (lvsfleet remove --forget " + h.Name + " says that it is dead)",
			})
		}
		for _, l := range live {
			e := &entry{Entry: l, service: formerService(l.Service)}
			r.departed = append(r.departed, plan.Entry{
				Director: h.Name, Service: l.Service, Dest: l.Dest, VIPs: e.vips(), Connections: e.connections(),
				Host: r.owners[l.Dest.Addr], Departed: true,
			})
		}
	})
	slices.SortFunc(r.unread, func(a, b plan.Unread) int { return strings.Compare(a.Name, b.Name) })
}

// tableOf logs in to a host for its table alone.
func (r *run) tableOf(ctx context.Context, h *inventory.Host) ([]agent.Entry, error) {
	r.observe(Event{Host: h.Name, Phase: PhaseConnect})
	s, err := r.dial(ctx, h)
	r.observe(Event{Host: h.Name, Phase: PhaseDone})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Table(ctx)
}

// An entryOn is an entry's place on a director.
type entryOn struct {
	director string
	entryKey
}

// inForce is how an entry was found before anything was changed.
type inForce struct {
	method ipvs.Method
	weight int
}

// A verdict is what was decided of an entry that a director is to have.
type verdict struct{ hold bool }

// noteInForce remembers the tables as they were before anything was changed.
func (r *run) noteInForce() {
	for _, d := range r.directing() {
		for _, e := range d.entries {
			r.found[entryOn{d.host.Name, entryKey{e.Service, e.Dest.DestKey}}] = inForce{e.Dest.Method, e.Dest.Weight}
		}
	}
}

// decideNames holds the entries that the director m may not have yet: their real
// servers were neither in force there before, nor proved in this run.
func (r *run) decideNames(ctx context.Context, m *member, at map[ipvs.Key]*inventory.DirectedService) {
	if r.proofs == nil {
		return
	}
	for k, s := range at {
		for i := range s.Real {
			rs := &s.Real[i]
			on := entryOn{m.host.Name, entryKey{k, director.Destination(*s, *rs).DestKey}}
			known, ok := r.verdictOf(on)
			// What failed in this run, or waits, is held anyhow. With a limit,
			// entries of hosts outside of it come held where the director is not
			// named itself.
			if rs.Hold {
				continue
			}
			if !ok {
				known = r.nameOrHold(ctx, m, s, rs, on)
				r.mu.Lock()
				r.named[on] = known
				r.mu.Unlock()
			}
			rs.Hold = known.hold
		}
	}
}

func (r *run) verdictOf(on entryOn) (verdict, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.named[on]
	return v, ok
}

// nameOrHold decides about one entry, and proves its real server where it must.
func (r *run) nameOrHold(ctx context.Context, m *member, s *inventory.DirectedService, rs *inventory.DirectedServer, on entryOn) verdict {
	was, found := r.found[on]
	want := ipvs.ParseMethod(string(rs.Method))
	of := r.byName[rs.Host]
	c := plan.Candidate{
		InForce: rs.Host == m.host.Name || found && was.weight > 0 && was.method == want,
		Weight:  rs.Weight,
		Changed: of != nil && r.done.has(rs.Host),
		Outside: of == nil,
	}
	if c.InForce || c.Changed {
		return verdict{}
	}
	path := r.proofs.path(on)
	if path == nil {
		c.Excuse = "nothing of it can be looked at"
	} else {
		c.Excuse = path.Why
	}
	switch c.Naming() {
	case plan.Name:
		return verdict{}
	case plan.Hold:
		r.noteHeld(m, s, rs, c.Excuse)
		return verdict{hold: true}
	case plan.Prove:
	}
	if c.Outside {
		found, err := r.proofs.outside(ctx, path)
		if err == nil && found.Status == verify.Proven {
			return verdict{}
		}
		r.noteHeld(m, s, rs, errors.Join(err, errors.New(found.Detail)).Error())
		return verdict{hold: true}
	}
	if err := r.proofs.unchanged(ctx, of); err != nil {
		r.mu.Lock()
		r.unproved[rs.Host] = err
		r.mu.Unlock()
		r.noteHeld(m, s, rs, "its proof failed")
		return verdict{hold: true}
	}
	return verdict{}
}

// noteHeld tells of an entry that is left as it was found.
func (r *run) noteHeld(m *member, s *inventory.DirectedService, rs *inventory.DirectedServer, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.holds = true
	m.report.Notes = append(slices.Clip(m.report.Notes), note.New(note.HeldEntry, rs.Host, s.Name, strings.Join(strings.Fields(why), " ")))
}

// path is the check of the director's path to the real server in the service;
// nil where there is none.
func (p *prover) path(on entryOn) *verify.Check {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paths == nil {
		p.paths = map[entryOn]*verify.Check{}
		for _, pl := range verify.Places(p.Site) {
			k := ipvs.Key{Addr: pl.Addr, Port: uint16(pl.Port), Protocol: pl.Protocol}
			for _, c := range pl.Checks {
				if pl.FWMark != 0 {
					k = ipvs.Key{Mark: pl.FWMark, V6: c.IPv6}
				}
				if c.Kind == verify.Path {
					p.paths[entryOn{pl.Director, entryKey{k, c.Real}}] = c
				}
			}
		}
	}
	return p.paths[on]
}

// outside does one check of a director about a real server that takes no part
// in the run.
func (p *prover) outside(ctx context.Context, c *verify.Check) (verify.Result, error) {
	q := &proofRequest{checks: []*verify.Check{c}, done: make(chan struct{})}
	p.ask(ctx, c.Host, q)
	return q.results[c], q.err
}

// unchanged proves a real server that takes part in the run and is not changed
// by it, once.
func (p *prover) unchanged(ctx context.Context, m *member) error {
	p.mu.Lock()
	once := p.proved[m.host.Name]
	if once == nil {
		once = sync.OnceValue(func() error { return p.verify(ctx, m) })
		p.proved[m.host.Name] = once
	}
	p.mu.Unlock()
	return once()
}

// keepForwarding leaves d's end of forwarding out where the director m still has
// an entry by NAT in force: its answers come back through it. Nothing else is
// taken away there either: redirects that are not sent belong to it.
func (r *run) keepForwarding(m *member, d inventory.Desired) inventory.Desired {
	if !d.Retires() {
		return d
	}
	var entries []plan.Entry
	for _, e := range m.entries {
		entries = append(entries, e.plan())
	}
	for _, f := range []struct {
		v6 bool
		on **bool
	}{{false, &d.IPForward4}, {true, &d.IPForward6}} {
		needed := plan.ForwardingNeeded(entries, f.v6)
		if *f.on == nil || **f.on || len(needed) == 0 {
			continue
		}
		*f.on = nil
		r.mu.Lock()
		m.keeps = fmt.Sprintf("it goes on forwarding, and nothing is taken away here: %s is still served by NAT (%s)", nameOf(needed[0]), needed[0].Service)
		m.report.Notes = append(slices.Clip(m.report.Notes), note.New(note.NothingLost, m.keeps))
		r.mu.Unlock()
	}
	return d
}

func nameOf(e plan.Entry) string {
	if e.Host != "" {
		return e.Host
	}
	return netip.AddrPortFrom(e.Dest.Addr, e.Dest.Port).String()
}
