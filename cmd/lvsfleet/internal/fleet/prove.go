package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// A prover looks at the places in the cluster of the real servers that a run
// changes, before each commits. Its directors are asked for many at a time.
type prover struct {
	*run
	places map[string][]verify.Place // by real server, with those of its services

	mu    sync.Mutex
	known map[*verify.Check]bool // broken before anything was changed
	lines map[string]*proofLine  // to the hosts that are asked, by name
	// paths are those of the whole site, whatever the limit is; made when first
	// asked for.
	paths map[entryOn]*verify.Check
	// proved are the real servers that were proved without a change.
	proved map[string]func() error
}

// A proofLine takes turns at a host.
type proofLine struct {
	mu      sync.Mutex
	waiting []*proofRequest
	busy    bool
}

type proofRequest struct {
	checks  []*verify.Check
	results map[*verify.Check]verify.Result
	err     error
	done    chan struct{}
}

func (r *run) newProver() *prover {
	p := &prover{run: r, places: map[string][]verify.Place{}, known: map[*verify.Check]bool{}, lines: map[string]*proofLine{}, proved: map[string]func() error{}}
	type service struct {
		director, name string
		port           int
	}
	if r.Removing {
		return p
	}
	whole := map[service]verify.Place{}
	for _, pl := range r.Fleet.places() {
		k := service{pl.Director, pl.Service, pl.Port}
		if pl.Host == "" {
			whole[k] = pl
			continue
		}
		if pl.Host == pl.Director || r.byName[pl.Director] == nil {
			continue
		}
		p.places[pl.Host] = append(p.places[pl.Host], pl)
		if w, ok := whole[k]; ok {
			w.Host = pl.Host
			p.places[pl.Host] = append(p.places[pl.Host], w)
		}
	}
	return p
}

// touched says whether m's place may change by what is done on it now.
func (p *prover) touched(m *member) bool {
	if m.director() || len(p.places[m.host.Name]) == 0 {
		return false
	}
	for _, i := range m.report.Items {
		if i.Layer == agent.Live && !i.Change.Holds() {
			return true
		}
	}
	return false
}

// inForce says whether clients were sent to the place when the run began.
func (p *prover) inForce(pl verify.Place, host string) bool {
	d := p.byName[pl.Director]
	return d != nil && slices.ContainsFunc(d.entries, func(e *entry) bool {
		if e.host != host || e.Dest.Weight == 0 {
			return false
		}
		if pl.FWMark != 0 {
			return e.Service.Mark == pl.FWMark
		}
		return e.Service.Addr == pl.Addr && int(e.Service.Port) == pl.Port && e.Service.Protocol == pl.Protocol
	})
}

// before notes what is broken already in the places that clients are sent to all
// the same: it is told, and not held against a change that mends something else. A real
// server that is new must be whole.
func (p *prover) before(ctx context.Context) {
	var hosts []*member
	for _, m := range p.changing() {
		if p.touched(m) {
			hosts = append(hosts, m)
		}
	}
	each(p.Fleet, hosts, func(m *member) {
		excused := map[*verify.Check]bool{}
		for _, pl := range p.places[m.host.Name] {
			in := p.inForce(pl, m.host.Name)
			for _, c := range pl.Checks {
				// Who answers for a VIP before a new real server has it is not it.
				excused[c] = excused[c] || in || c.Kind == verify.Alone
			}
		}
		found, err := p.look(ctx, m, func(c *verify.Check) bool { return excused[c] })
		if err != nil {
			return // whatever it was, it is found again
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for c, r := range found {
			if r.Status == verify.Broken {
				p.known[c] = true
			}
		}
	})
}

// prove verifies the place of m, which has changed and is not committed. An
// error is a place that is broken, or could not be looked at at all.
func (p *prover) prove(ctx context.Context, m *member) error {
	if !p.touched(m) {
		return nil
	}
	return p.verify(ctx, m)
}

// verify is prove, whatever was changed.
func (p *prover) verify(ctx context.Context, m *member) error {
	p.observe(Event{Host: m.host.Name, Phase: PhaseProve})
	found, err := p.look(ctx, m, func(*verify.Check) bool { return true })
	if err != nil {
		return err
	}
	var errs []error
	told := map[string]bool{}
	tell := func(c note.Code, args ...any) {
		n := note.New(c, args...)
		if text := n.String(); !told[text] {
			told[text] = true
			m.report.Notes = append(m.report.Notes, n)
		}
	}
	proven := p.pathsProven(m, found)
	for _, pl := range p.places[m.host.Name] {
		for _, c := range pl.Checks {
			r := found[c]
			switch {
			case r.Status == verify.Broken && p.known[c]:
				tell(note.ProofBefore, c.Kind, r.Detail)
			case r.Status == verify.Broken && p.blames(m, c, r, found):
				if !told[r.Detail] { // a check that several places share
					told[r.Detail] = true
					errs = append(errs, fmt.Errorf("%s: %s", c.Kind, r.Detail))
				}
			case r.Status == verify.Broken, r.Status == verify.Warned:
				tell(note.ProofBroken, c.Kind, r.Detail)
			case r.Status == verify.Unproven && !proven && c.Kind == verify.Path && c.Why == "":
				tell(note.NotProvable, r.Detail)
			}
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("its place in the cluster: %w", errors.Join(errs...))
	}
	return nil
}

// pathsProven says whether every path to m was answered.
func (p *prover) pathsProven(m *member, found map[*verify.Check]verify.Result) bool {
	for _, pl := range p.places[m.host.Name] {
		for _, c := range pl.Checks {
			if c.Kind == verify.Path && found[c].Status != verify.Proven {
				return false
			}
		}
	}
	return true
}

// blames says whether m is to blame. Who answers for a VIP may be known by its
// Ethernet address to be another one.
func (p *prover) blames(m *member, c *verify.Check, r verify.Result, found map[*verify.Check]verify.Result) bool {
	if c.Kind != verify.Alone {
		return true
	}
	for _, pl := range p.places[m.host.Name] {
		for _, o := range pl.Checks {
			if o.Kind == verify.Reach && o.Host == c.Host && found[o].MAC != "" && o.Dev == c.Dev {
				return strings.EqualFold(found[o].MAC, r.MAC)
			}
		}
	}
	return true
}

// look does the wanted checks of m's places, on every host that they are of.
func (p *prover) look(ctx context.Context, m *member, wanted func(*verify.Check) bool) (map[*verify.Check]verify.Result, error) {
	hosts := newEvidence().hosts(p.places[m.host.Name])
	for i := range hosts {
		hosts[i].checks = slices.DeleteFunc(hosts[i].checks, func(c *verify.Check) bool { return !wanted(c) })
	}
	hosts = slices.DeleteFunc(hosts, func(h hostChecks) bool { return len(h.checks) == 0 })
	found := map[*verify.Check]verify.Result{}
	requests := make([]*proofRequest, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		requests[i] = &proofRequest{checks: h.checks, done: make(chan struct{})}
		wg.Go(func() { p.ask(ctx, h.host, requests[i]) })
	}
	wg.Wait()
	var errs []error
	for _, q := range requests {
		if q.err != nil {
			errs = append(errs, q.err)
		}
		for c, r := range q.results {
			found[c] = r
		}
	}
	return found, errors.Join(errs...)
}

// ask waits for its turn at a host; whoever comes to one that is busy is taken
// in the next turn, all who wait together.
func (p *prover) ask(ctx context.Context, name string, q *proofRequest) {
	p.mu.Lock()
	l := p.lines[name]
	if l == nil {
		l = &proofLine{}
		p.lines[name] = l
	}
	p.mu.Unlock()
	l.mu.Lock()
	l.waiting = append(l.waiting, q)
	if l.busy {
		l.mu.Unlock()
		<-q.done
		return
	}
	l.busy = true
	for len(l.waiting) > 0 {
		turn := l.waiting
		l.waiting = nil
		l.mu.Unlock()
		// Who happens to ask first does so for the others too.
		p.turn(context.WithoutCancel(ctx), name, turn)
		l.mu.Lock()
	}
	l.busy = false
	l.mu.Unlock()
}

// turn asks a host for all of the requests at once.
func (p *prover) turn(ctx context.Context, name string, turn []*proofRequest) {
	w := hostChecks{host: name}
	seen := map[*verify.Check]bool{}
	for _, q := range turn {
		for _, c := range q.checks {
			if !seen[c] {
				seen[c] = true
				w.checks = append(w.checks, c)
			}
		}
	}
	results, err := p.over(ctx, w)
	found := map[*verify.Check]verify.Result{}
	if err == nil {
		for i, c := range w.checks {
			found[c] = results[i]
		}
	}
	for _, q := range turn {
		q.results, q.err = found, err
		close(q.done)
	}
}

// over asks over the session that the run has with the host, or a new one
// where it has none any more.
func (p *prover) over(ctx context.Context, w hostChecks) ([]verify.Result, error) {
	m := p.byName[w.host]
	if m == nil {
		return nil, fmt.Errorf("verify %s: it takes no part in this run", w.host)
	}
	if m.director() {
		m.mu.Lock()
		defer m.mu.Unlock()
	}
	if m.session != nil {
		return p.Fleet.ask(ctx, m.session, w)
	}
	if m.err != nil {
		return nil, fmt.Errorf("verify %s: %w", w.host, m.err)
	}
	session, err := p.dial(ctx, m.host)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", w.host, err)
	}
	results, err := p.Fleet.ask(ctx, session, w)
	return results, errors.Join(err, session.Close())
}
