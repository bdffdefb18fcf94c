package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// A Status is how a run ended for one host.
type Status string

// The statuses.
const (
	Unchanged  Status = "unchanged"
	Changed    Status = "changed"
	Skipped    Status = "skipped"     // left out: it could not be reached, or what it needs failed
	Failed     Status = "failed"      // and rolled back
	Incomplete Status = "incomplete"  // failed, and the rollback did too, in part
	NotBegun   Status = "not changed" // the run ended before this host's turn
	// Partly is a host that was changed, but for files that somebody edited
	// meanwhile: those were left.
	Partly Status = "changed in part"
)

// A Result is what became of one host.
type Result struct {
	Host    string
	Status  Status
	Changes int // steps that did not hold and now do
	Err     error
	Report  agent.Report // as preflight found it
}

// An Outcome is a whole run.
type Outcome struct {
	Run     string
	Results []Result // by host name
	Begun   bool     // something may have been changed somewhere
	// Interrupted: the run was ended before every host had its turn.
	Interrupted bool
}

// errInterrupted is why a host did not have its turn.
var errInterrupted = errors.New("interrupted before its turn")

// ErrPreflight is a run that ended before anything was changed.
var ErrPreflight = errors.New("nothing was changed")

// ErrDeclined is a run that the person at the terminal did not agree to.
var ErrDeclined = errors.New("declined")

// Converge makes the fleet so. Approve, where it is not nil, is shown what
// preflight found and ends the run with its error; asked says that a person
// agreed to these very operations, so that others are refused. An error means that nothing
// was changed anywhere; everything else is in the Outcome. Cancelling ctx
// stops the run between transactions, never within one.
func (f *Fleet) Converge(ctx context.Context, approve func([]Finding) (asked bool, err error)) (Outcome, error) {
	members, err := f.members()
	if err != nil {
		return Outcome{}, err
	}
	r := &run{Fleet: f, members: members, status: map[string]Status{}}
	defer func() {
		for _, m := range members {
			m.close()
		}
	}()

	each(f, members, func(m *member) {
		f.look(ctx, m)
		if m.err != nil || !m.changes() {
			m.close() // one login, nothing taken
			f.observe(Event{Host: m.host.Name, Phase: PhaseDone, Error: text(m.err)})
		}
	})
	if err := r.leaveOut(ctx); err != nil {
		return r.outcome(), err
	}
	found := findings(members)
	if len(r.changing()) == 0 {
		return r.outcome(), nil
	}
	asked := false
	if approve != nil {
		if asked, err = approve(found); err != nil {
			return r.outcome(), err
		}
	}
	if err := r.begin(ctx, asked); err != nil {
		return r.outcome(), err
	}
	r.begun = true
	r.stage(ctx, inventory.Prepare, directors)
	r.stage(ctx, inventory.Change, realServers)
	r.stage(ctx, inventory.Admit, directors)
	return r.outcome(), nil
}

type run struct {
	*Fleet
	members []*member
	begun   bool

	failed hostSet // hosts that failed or were left out
	done   hostSet // hosts whose transaction changed something

	mu     sync.Mutex
	status map[string]Status // of the hosts in failed
}

func directors(m *member) bool   { return m.director() }
func realServers(m *member) bool { return !m.director() }

// changing lists the hosts that take part and have something to do.
func (r *run) changing() []*member {
	var list []*member
	for _, m := range r.members {
		if m.err == nil && m.changes() {
			list = append(list, m)
		}
	}
	return list
}

// leaveOut ends the run where a host could not be looked at, or takes it out
// of the run with all that would be disturbed without it.
func (r *run) leaveOut(ctx context.Context) error {
	var errs []error
	for _, m := range r.members {
		if m.err != nil {
			errs = append(errs, m.err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	if !r.SkipUnreachable || ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrPreflight, errors.Join(errs...))
	}
	for _, m := range r.members {
		if m.err != nil {
			r.skip(m)
		}
	}
	return nil
}

// skip marks m as left out; where it is a director, its real servers are left
// as they are too: it could not follow what changes on them.
func (r *run) skip(m *member) {
	r.mark(m, Skipped)
	if !m.director() {
		return
	}
	named := map[string]bool{}
	for _, s := range m.want.Director.Services {
		for _, d := range s.Real {
			named[d.Host] = true
		}
	}
	for _, o := range r.members {
		if o.err == nil && !o.director() && named[o.host.Name] && o.changes() {
			o.err = fmt.Errorf("left as it is: its director %s takes no part in this run", m.host.Name)
			o.close()
			r.mark(o, Skipped)
		}
	}
}

// begin takes the lease and stages the files on every host that will change:
// on the first by name alone, so that of two runs one finds out at once, then
// on the rest side by side.
func (r *run) begin(ctx context.Context, approved bool) error {
	hosts := r.changing()
	one := func(m *member) {
		tx := agent.Transaction{Run: r.Run, Who: r.Who, Desired: m.want}
		if approved {
			tx.Approved = agent.Fingerprint(m.report)
		}
		var err error
		if m.begun, err = m.session.Begin(ctx, tx, r.progress(m.host.Name, inventory.Whole)); err != nil {
			m.err = fmt.Errorf("begin on %s: %w", m.host.Name, err)
			m.close()
		}
	}
	one(hosts[0])
	if hosts[0].err == nil || r.SkipUnreachable {
		each(r.Fleet, hosts[1:], one)
	}
	return r.leaveOut(ctx)
}

// stage runs one stage on the hosts that belong to it.
func (r *run) stage(ctx context.Context, s inventory.Stage, belongs func(*member) bool) {
	var hosts []*member
	for _, m := range r.changing() {
		if belongs(m) {
			hosts = append(hosts, m)
		}
	}
	each(r.Fleet, hosts, func(m *member) {
		if ctx.Err() != nil {
			r.interrupt(m)
			return
		}
		if err := r.needs(m, s); err != nil {
			r.fail(m, Skipped, err)
			return
		}
		// A transaction that has begun is finished, whatever becomes of the
		// terminal: half of one is what nobody wants.
		changed, err := r.transact(context.WithoutCancel(ctx), m, s)
		var left *agent.LeftError
		switch {
		case errors.As(err, &left):
			m.err = err
			r.mu.Lock()
			r.status[m.host.Name] = Partly
			r.mu.Unlock()
			r.observe(Event{Host: m.host.Name, Stage: s, Phase: PhaseDone, Error: err.Error()})
		case err == nil && changed:
			r.done.add(m.host.Name)
			r.observe(Event{Host: m.host.Name, Stage: s, Phase: PhaseDone})
		case err != nil:
			r.fail(m, Failed, err)
		}
	})
}

// mark takes m out of what comes next.
func (r *run) mark(m *member, s Status) {
	r.failed.add(m.host.Name)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status[m.host.Name] = s
}

func (r *run) fail(m *member, status Status, err error) {
	var undo *agent.UndoError
	if errors.As(err, &undo) {
		status = Incomplete
	}
	m.err = err
	m.close()
	r.mark(m, status)
	r.observe(Event{Host: m.host.Name, Phase: PhaseDone, Error: err.Error()})
}

// interrupt marks m as not having had its turn; a director may have been
// prepared before.
func (r *run) interrupt(m *member) {
	status := NotBegun
	if r.done.has(m.host.Name) {
		status = Partly
	}
	r.fail(m, status, errInterrupted)
}

// needs says why m must not change now: a NAT real server is never pointed at
// a director that could not be made to forward.
func (r *run) needs(m *member, s inventory.Stage) error {
	if s != inventory.Change || len(m.want.NATOf) == 0 {
		return nil
	}
	for _, o := range r.members {
		if !o.director() || !r.failed.has(o.host.Name) {
			continue
		}
		for _, gw := range m.want.NATOf {
			if holds(o.want, gw) {
				return fmt.Errorf("left as it is: its director %s failed before", o.host.Name)
			}
		}
	}
	return nil
}

func holds(d inventory.Desired, addr netip.Addr) bool {
	for _, i := range d.Interfaces {
		for _, p := range i.Addresses {
			if p.Addr() == addr {
				return true
			}
		}
	}
	return false
}

// transact runs one host's transaction: begin, apply, and commit over a fresh
// login. It says whether there was anything to do.
func (r *run) transact(ctx context.Context, m *member, s inventory.Stage) (bool, error) {
	name := m.host.Name
	progress := r.progress(name, s)
	tx := agent.Transaction{Run: r.Run, Who: r.Who, Desired: m.want.For(s).Holding(r.failed.has)}
	report := m.begun // a real server has begun on all of it
	if m.director() {
		var err error
		if report, err = m.session.Begin(ctx, tx, progress); err != nil {
			return false, fmt.Errorf("begin on %s: %w", name, err)
		}
	}
	if !agent.Differs(report) {
		return false, nil // there is no transaction, and none to commit
	}
	if err := m.session.Apply(ctx, progress); err != nil {
		return false, fmt.Errorf("change %s: %w", name, err)
	}
	if err := r.commit(ctx, m, report, progress); err != nil {
		return false, err
	}
	return true, nil
}

// commitTimeout bounds the fresh login and the renames behind it.
const commitTimeout = 2 * time.Minute

// commit logs in anew, which proves that the host can still be reached, and
// puts the staged files in place; if it cannot, everything is undone over the
// line that still stands.
func (r *run) commit(ctx context.Context, m *member, report agent.Report, progress func(agent.Event)) error {
	name := m.host.Name
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	fresh, err := r.proveReachable(ctx, m, report)
	if err != nil {
		err = fmt.Errorf("log in to %s anew: %w", name, err)
		if undo := m.session.Finish(ctx, r.Run, false, progress); undo != nil {
			return fmt.Errorf("%w; undo: %w", err, undo)
		}
		return err
	}
	if fresh != m.session {
		defer fresh.Close()
	}
	if err := fresh.Finish(ctx, r.Run, true, progress); err != nil {
		return fmt.Errorf("commit on %s: %w", name, err)
	}
	return nil
}

// proveReachable gives the session over which m may be committed.
func (r *run) proveReachable(ctx context.Context, m *member, report agent.Report) (agent.Session, error) {
	if !agent.NeedsFreshLogin(report) {
		return m.session, nil
	}
	if m.host.Connection != "local" {
		return r.Dial(ctx, m.host)
	}
	// There is no line to lose, but an operator's line may run through this
	// host: those that it reached before must be reached again.
	alone := true
	for _, o := range r.members {
		if o == m || !o.reached || o.host.Connection == "local" {
			continue
		}
		alone = false
		s, err := r.Dial(ctx, o.host)
		if err != nil {
			return nil, fmt.Errorf("%s, which was reached before, is not any more: %w", o.host.Name, err)
		}
		_ = s.Close() // that it opened is all that was asked
	}
	if alone && r.Reach != nil {
		if err := r.Reach(ctx, m.want); err != nil {
			return nil, err
		}
	}
	return m.session, nil
}

// outcome sums the run up.
func (r *run) outcome() Outcome {
	o := Outcome{Run: r.Run, Begun: r.begun}
	for _, m := range r.members {
		o.Interrupted = o.Interrupted || errors.Is(m.err, errInterrupted)
	}
	for _, m := range r.members {
		res := Result{Host: m.host.Name, Err: m.err, Report: m.report}
		switch status, ok := r.status[m.host.Name]; {
		case ok:
			res.Status = status
		case m.err != nil:
			res.Status = Failed
		case !m.changes():
			res.Status = Unchanged
		case r.begun && (r.done.has(m.host.Name) || !agent.Differs(m.begun)):
			// Settling what an interrupted run had left can be all that was
			// to be done.
			res.Status = Changed
			if m.begun.Settled != "" {
				res.Report.Notes = append(slices.Clip(res.Report.Notes), m.begun.Settled)
			}
			for _, i := range m.report.Items {
				if !i.Change.Holds() {
					res.Changes++
				}
			}
		case r.begun:
			// What preflight found missing was held back with the real
			// servers that it was for.
			res.Status = Skipped
		default:
			res.Status = NotBegun
		}
		o.Results = append(o.Results, res)
	}
	return o
}
