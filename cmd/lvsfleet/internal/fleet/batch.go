package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet/plan"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// An OutageError is a change that leaves services without a real server for
// as long as it takes.
type OutageError struct {
	Host     string   // the real server; "" those that go
	Services []string // "TCP 192.0.2.1:80 on lb"
}

func (e *OutageError) Error() string {
	if e.Host == "" {
		return fmt.Sprintf("outage: no real server would be left for %s (--allow-outage agrees to it)", strings.Join(e.Services, ", "))
	}
	return fmt.Sprintf("outage: while %s changes, nobody else serves %s (--allow-outage agrees to it)", e.Host, strings.Join(e.Services, ", "))
}

func outage(host string, places []place) *OutageError {
	e := &OutageError{Host: host}
	for _, p := range places {
		e.Services = append(e.Services, p.String())
	}
	return e
}

// pick takes up to n of the pending, in order, so that every service keeps an
// entry that takes new connections. Where that cannot be, nobody is picked.
func (r *run) pick(pending []*member, n int, serving weights) (batch, rest []*member) {
	var gone []*entry
	for _, m := range pending {
		entries := append(slices.Clone(gone), r.touched(m)...)
		if len(batch) < n && len(serving.without(entries)) == 0 {
			batch, gone = append(batch, m), entries
		} else {
			rest = append(rest, m)
		}
	}
	return batch, rest
}

// foresee goes through the batches as they will be if nothing fails, and
// lists the outages.
func (r *run) foresee(pending []*member) []*OutageError {
	var list []*OutageError
	w := r.serving().clone()
	waits := map[string]bool{}
	for _, m := range pending {
		waits[m.host.Name] = true
	}
	// What the directors admit beside the batches.
	for _, d := range r.directing() {
		r.admitted(d, w, func(host string) bool { return !waits[host] })
	}
	for len(pending) > 0 {
		batch, rest := r.pick(pending, len(pending), w)
		if len(batch) == 0 {
			batch, rest = pending[:1], pending[1:]
			list = append(list, outage(batch[0].host.Name, w.without(r.touched(batch[0]))))
		}
		done := map[string]bool{}
		for _, m := range batch {
			done[m.host.Name] = true
			for _, e := range r.touched(m) {
				w.set(e.place(), e.Dest.DestKey, e.want != nil && w[e.place()][e.Dest.DestKey])
			}
		}
		for _, d := range r.directing() {
			r.admitted(d, w, func(host string) bool { return done[host] })
		}
		pending = rest
	}
	if places := w.without(r.leaving()); len(places) > 0 {
		list = append(list, outage("", places))
	}
	return list
}

// admitted adds to w the entries that the director gives a weight, of the
// hosts that are asked about.
func (r *run) admitted(d *member, w weights, of func(host string) bool) {
	if r.back != "" {
		r.comingBack(d, w, of)
		return
	}
	live := map[place]map[ipvs.DestKey]bool{}
	for _, e := range d.entries {
		if live[e.place()] == nil {
			live[e.place()] = map[ipvs.DestKey]bool{}
		}
		live[e.place()][e.Dest.DestKey] = true
	}
	if d.watches != nil {
		return
	}
	for _, s := range d.want.Director.Services {
		p := place{d, director.ServiceKey(s)}
		for _, rs := range s.Real {
			k := director.Destination(s, rs).DestKey
			if rs.Hold || rs.Weight == 0 || !of(rs.Host) || r.failed.has(rs.Host) || s.ForeignWeights && live[p][k] {
				continue
			}
			w.set(p, k, true)
		}
	}
}

// errBatchEnded is a batch for which a director could not do its part.
var errBatchEnded = errors.New("left as it is: its batch ended before its turn")

// errTooMany ends a run in which more hosts failed than may.
var errTooMany = errors.New("left as it is: the run stopped")

// stopped says why no new batch is taken.
func (r *run) stopped(ctx context.Context) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	if n := r.failures(); n > r.Site.Rollout.MaxFailures && !r.undoing {
		return fmt.Errorf("%w after %d of its hosts failed (max_failures is %d)", errTooMany, n, r.Site.Rollout.MaxFailures)
	}
	return nil
}

func (r *run) failures() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.status {
		if s == Failed || s == Incomplete {
			n++
		}
	}
	return n
}

// batches takes the real servers that serve somebody through their change, a
// few at a time.
func (r *run) batches(ctx context.Context, pending []*member) {
	total := len(pending)
	for n := 0; len(pending) > 0; {
		if why := r.stopped(ctx); why != nil {
			for _, m := range pending {
				if errors.Is(why, errInterrupted) {
					r.interrupt(m)
				} else {
					r.fail(m, Skipped, why)
				}
			}
			return
		}
		r.survey(ctx)
		pending = r.guided(pending)
		if len(pending) == 0 {
			return
		}
		serving := r.serving()
		batch, rest := r.pick(pending, plan.Size(r.Site.Rollout.Batch, n, total), serving)
		if len(batch) == 0 {
			batch, rest = pending[:1], pending[1:]
			if !r.AllowOutage {
				// It was not so when the run began.
				r.fail(batch[0], Failed, outage(batch[0].host.Name, serving.without(r.touched(batch[0]))))
				pending = rest
				continue
			}
		}
		r.batch(ctx, batch)
		pending = rest
		n++
	}
}

// survey reads the tables of all directors anew; one that cannot be read takes
// no part any more.
func (r *run) survey(ctx context.Context) {
	each(r.Fleet, r.directing(), func(m *member) {
		if !m.reads {
			return
		}
		if err := r.readEntries(context.WithoutCancel(ctx), m); err != nil {
			r.fail(m, Failed, err)
		}
	})
}

// guided leaves out the real servers that a director names which takes no part
// any more: it could not follow what changes on them.
func (r *run) guided(pending []*member) []*member {
	var rest []*member
	for _, m := range pending {
		if d := r.lostDirector(m); d != "" {
			r.fail(m, Skipped, fmt.Errorf("left as it is: its director %s failed before", d))
			continue
		}
		rest = append(rest, m)
	}
	return rest
}

// lostDirector names a director of m that failed or was left out; "" none. Its
// table, as it was read last, says whom it sends clients to, not the inventory
// alone: a real server that is about to leave it is one of them still.
func (r *run) lostDirector(m *member) string {
	for _, d := range r.members {
		if !d.director() || !r.failed.has(d.host.Name) {
			continue
		}
		if d.names(map[string]bool{m.host.Name: true}) ||
			slices.ContainsFunc(d.entries, func(e *entry) bool { return e.host == m.host.Name && m.disturbs.hits(e) }) {
			return d.host.Name
		}
	}
	return ""
}

// batch withdraws the real servers, changes them, and admits them again.
func (r *run) batch(ctx context.Context, batch []*member) {
	replaced := r.entriesOf(batch, (*entry).replaced)
	// They would not fit what the batch becomes: they are gone for good before
	// a real server changes, so that nothing that happens later brings them
	// back.
	if !r.remove(ctx, replaced) {
		for _, m := range batch {
			if ctx.Err() != nil {
				r.interrupt(m)
			} else {
				r.fail(m, Skipped, errBatchEnded)
			}
		}
		batch = nil
	}
	batch = r.guided(batch)
	lent := r.lend(ctx, r.entriesOf(batch, func(e *entry) bool { return !e.replaced() && e.serves() }))
	r.lendTo(batch, lent)
	defer r.lendTo(batch, nil)
	r.drain(ctx, lent)
	batch = r.guided(batch)
	if ctx.Err() != nil {
		for _, m := range batch {
			r.interrupt(m)
		}
		batch = nil
	}
	chosen := map[string]bool{}
	for _, m := range batch {
		chosen[m.host.Name] = true
	}
	r.stage(ctx, inventory.Change, func(m *member) bool { return chosen[m.host.Name] }, func(ctx context.Context) error {
		return r.holds(ctx, lent)
	})
	r.settle(ctx, lent)
	for _, m := range batch {
		r.waiting.remove(m.host.Name)
	}
	if len(replaced) > 0 {
		ctx = context.WithoutCancel(ctx) // what was taken is given back, or replaced
	}
	r.admit(ctx)
}

// entriesOf groups those of the entries that the batch touches, by director.
func (r *run) entriesOf(batch []*member, which func(*entry) bool) map[*member][]*entry {
	groups := map[*member][]*entry{}
	for _, m := range batch {
		for _, e := range r.touched(m) {
			if which(e) {
				groups[e.dir] = append(groups[e.dir], e)
			}
		}
	}
	return groups
}
