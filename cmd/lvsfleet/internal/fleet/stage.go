package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// stage runs one stage on the hosts that belong to it. A gate, where there is
// one, must let each pass before its commit.
func (r *run) stage(ctx context.Context, s inventory.Stage, belongs func(*member) bool, gate func(context.Context) error) {
	var hosts []*member
	for _, m := range r.members {
		if m.takesPart() && belongs(m) {
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
		r.enter(m, s)
		// A transaction that has begun is finished, whatever becomes of the
		// terminal: half of one is what nobody wants.
		changed, err := r.transact(ctx, m, s, gate)
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

// enter notes the stage that m is in.
func (r *run) enter(m *member, s inventory.Stage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at[m.host.Name] = s
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
		r.broken.add(m.host.Name)
	}
	m.mu.Lock()
	m.err = err
	m.close()
	m.mu.Unlock()
	r.mark(m, status)
	r.mu.Lock()
	at := r.at[m.host.Name]
	r.mu.Unlock()
	r.observe(Event{Host: m.host.Name, Stage: at, Phase: PhaseDone, Error: err.Error()})
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
// login. It says whether there was anything to do. The end of ctx only ends
// the waiting for a host that was lost.
func (r *run) transact(waiting context.Context, m *member, s inventory.Stage, gate func(context.Context) error) (bool, error) {
	ctx := context.WithoutCancel(waiting)
	name := m.host.Name
	progress := r.progress(name, s)
	begun := m.begun // a real server has begun on all of it
	if r.expanded.has(name) {
		var err error
		if begun, err = m.session.Begin(ctx, r.transaction(m, s), progress); err != nil {
			return false, fmt.Errorf("begin on %s: %w", name, err)
		}
	}
	if m.director() {
		tx, err := r.directorsTurn(ctx, m, s)
		if err != nil {
			return false, err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if begun, err = m.session.Begin(ctx, tx, progress); err != nil {
			return false, fmt.Errorf("begin on %s: %w", name, err)
		}
	}
	if !begun.Differs {
		return false, nil // there is no transaction, and none to commit
	}
	if err := m.session.Apply(ctx, progress); err != nil {
		var undo *agent.UndoError
		if errors.As(err, &undo) && r.undone(waiting, m, s, err) {
			err = undo.Cause
		}
		return false, fmt.Errorf("change %s: %w", name, err)
	}
	if !m.director() && r.back == "" {
		gate = both(func(ctx context.Context) error { return r.proofs.prove(ctx, m) }, gate)
	}
	if err := r.commit(waiting, m, s, begun, gate); err != nil {
		return false, err
	}
	return true, nil
}

// transaction is one of m's in this run. Of a run that is taken back it is, so
// far, all of it.
func (r *run) transaction(m *member, s inventory.Stage) agent.Transaction {
	return agent.Transaction{Run: r.Run, Who: r.Who, Stage: s, Undoes: r.back, Request: m.request(), ConfirmTimeout: r.confirm(m)}
}

// directorsTurn is what the director m does in the stage.
func (r *run) directorsTurn(ctx context.Context, m *member, s inventory.Stage) (agent.Transaction, error) {
	tx := r.transaction(m, s)
	switch {
	case r.back != "":
		back, err := r.reverts(ctx, m, s)
		if err != nil {
			return tx, err
		}
		tx.Request = agent.ToRevert(m.want, r.back, *back)
	case s == inventory.Withdraw:
		tx.Request = agent.ToReleaseVIPs(m.want, r.yielding[m.host.Name])
	default:
		d, err := r.directed(ctx, m, s)
		if err != nil {
			return tx, err
		}
		tx.Request = m.asks(d, m.partial || m.keeps != "" || s == inventory.Prepare || s == inventory.Admit)
	}
	return tx, nil
}

// both gates must let a host pass, a first; b may be none.
func both(a, b func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := a(ctx); err != nil || b == nil {
			return err
		}
		return b(ctx)
	}
}

// commitTimeout bounds the fresh login and the renames behind it.
const commitTimeout = 2 * time.Minute

// commit logs in anew, which proves that the host can still be reached, and
// puts the staged files in place; if it cannot, everything is undone over the
// line that still stands, or else by the host itself, which is waited for
// until waiting ends.
func (r *run) commit(waiting context.Context, m *member, s inventory.Stage, begun agent.Begun, gate func(context.Context) error) error {
	name, progress := m.host.Name, r.progress(m.host.Name, s)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(waiting), commitTimeout)
	defer cancel()
	fresh, err := r.proveReachable(ctx, m, begun)
	if err != nil {
		err = fmt.Errorf("log in to %s anew: %w", name, err)
	} else if gate != nil {
		if err = gate(ctx); err != nil && fresh != m.session {
			_ = fresh.Close()
		}
	}
	if err != nil {
		switch undo := m.session.Finish(ctx, r.Run, false, progress); {
		case undo == nil:
			return err
		case r.undone(waiting, m, s, undo):
			return fmt.Errorf("%w; it has undone all of it by itself", err)
		default:
			return fmt.Errorf("%w; undo: %w", err, unsettled(undo))
		}
	}
	if fresh != m.session {
		defer fresh.Close()
	}
	err = fresh.Finish(ctx, r.Run, true, progress)
	if err = r.commitLost(waiting, m, s, err); err != nil {
		return fmt.Errorf("commit on %s: %w", name, err)
	}
	return nil
}

// proveReachable gives the session over which m may be committed.
func (r *run) proveReachable(ctx context.Context, m *member, begun agent.Begun) (agent.Session, error) {
	if !begun.FreshLogin {
		return m.session, nil
	}
	if m.host.Connection != "local" {
		return r.dial(ctx, m.host)
	}
	// There is no line to lose, but an operator's line may run through this
	// host: those that it reached before must be reached again.
	alone := true
	for _, o := range r.members {
		if o == m || !o.reached || o.host.Connection == "local" {
			continue
		}
		alone = false
		s, err := r.dial(ctx, o.host)
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
