package fleet

import (
	"context"
	"errors"
	"fmt"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// foreseeExpansion finds the real servers that change in two transactions, one
// that adds and one that takes away: those of which a director has a service
// that goes and another one that comes. The new one serves before the old one is
// drained. It is asked beforehand whether what is added disturbs nobody.
func (r *run) foreseeExpansion(ctx context.Context, pending []*member) error {
	if r.back != "" || r.Removing {
		return nil
	}
	each(r.Fleet, pending, func(m *member) {
		if m.partial || m.removing || len(r.replacing(m)) == 0 {
			return
		}
		adds, err := m.session.Check(ctx, agent.ToAdd(m.want))
		if err != nil {
			m.err = fmt.Errorf("check %s: %w", m.host.Name, err)
			r.dismiss(m)
			return
		}
		m.expands = agent.Differs(adds) && !r.hitsAny(m, disturbanceOf(adds))
	})
	return r.leaveOutNew(ctx)
}

// hitsAny says whether the disturbance hits an entry of m that serves somebody.
func (r *run) hitsAny(m *member, d disturbance) bool {
	for _, dir := range r.directing() {
		for _, e := range dir.entries {
			if e.host == m.host.Name && e.serves() && d.hits(e) {
				return true
			}
		}
	}
	return false
}

// replacing lists the directors on which a service of m goes while another one
// comes to it.
func (r *run) replacing(m *member) []*member {
	var list []*member
	for _, d := range r.directing() {
		if d.watches == nil && d.servesBy(m.host.Name) && d.gains(m.host.Name) {
			list = append(list, d)
		}
	}
	return list
}

// servesBy says whether the director has an entry of the host in a service that
// goes.
func (m *member) servesBy(host string) bool {
	for _, e := range m.entries {
		if e.going && e.host == host && e.serves() {
			return true
		}
	}
	return false
}

// gains says whether the director is to have a service with the host of which it
// has no entry yet.
func (m *member) gains(host string) bool {
	there := map[ipvs.Key]bool{}
	for _, e := range m.entries {
		there[e.Service] = true
	}
	for _, s := range m.services() {
		if there[director.ServiceKey(s)] {
			continue
		}
		for _, rs := range s.Real {
			if rs.Host == host && !rs.Hold && rs.Weight > 0 {
				return true
			}
		}
	}
	return false
}

// expand adds, on the real servers, what the services that come need.
func (r *run) expand(ctx context.Context, pending []*member) {
	if r.stopped(ctx) != nil {
		return
	}
	each(r.Fleet, pending, func(m *member) {
		if !m.expands || m.err != nil || ctx.Err() != nil {
			return
		}
		r.enter(m, inventory.Change)
		if err := r.expandOne(ctx, m); err != nil {
			r.fail(m, Failed, err)
			return
		}
		r.done.add(m.host.Name)
		r.expanded.add(m.host.Name)
		r.observe(Event{Host: m.host.Name, Stage: inventory.Change, Phase: PhaseDone})
	})
}

func (r *run) expandOne(waiting context.Context, m *member) error {
	ctx := context.WithoutCancel(waiting)
	tx := r.transaction(m, inventory.Change)
	tx.Request = agent.ToAdd(m.want)
	progress := r.progress(m.host.Name, inventory.Change)
	begun, err := m.session.Begin(ctx, tx, progress)
	if err != nil {
		return fmt.Errorf("begin on %s: %w", m.host.Name, err)
	}
	if err := m.session.Apply(ctx, progress); err != nil {
		var undo *agent.UndoError
		if errors.As(err, &undo) && r.undone(waiting, m, inventory.Change, err) {
			err = undo.Cause
		}
		return fmt.Errorf("change %s: %w", m.host.Name, err)
	}
	gate := func(ctx context.Context) error { return r.proofs.prove(ctx, m) }
	if err := r.commit(waiting, m, inventory.Change, begun, gate); err != nil {
		return err
	}
	// What is left is what goes.
	left, err := m.session.Check(ctx, m.request())
	if err != nil {
		return fmt.Errorf("check %s: %w", m.host.Name, err)
	}
	m.disturbs = disturbanceOf(left)
	return nil
}

// errNothingComes is a director of which no service goes, as none of the real
// servers of those that come is ready for clients.
var errNothingComes = errors.New("no service goes here: of those that come, no real server is ready")

// stays says whether the director keeps the services that go, as nothing has
// come that they could go for, and leaves it out of the run then.
func (r *run) stays(d *member) bool {
	planned, ready := false, false
	for _, m := range r.members {
		if !m.expands || !d.servesBy(m.host.Name) {
			continue
		}
		planned = true
		ready = ready || r.expanded.has(m.host.Name)
	}
	return planned && !ready
}
