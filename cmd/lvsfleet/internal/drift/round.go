package drift

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lvsfleet/lvsfleet/agent"
)

// errLate is a round whose time is over.
var errLate = errors.New("the time of the round is over")

// storeLimit bounds what a round waits for its store.
const storeLimit = 10 * time.Second

// Round looks at every host, repairs where that is asked for, and then keeps
// and tells what it found. A round that ctx ends leaves hosts that it did not
// come to as they were.
func (w *Watcher) Round(ctx context.Context) {
	w.roundM.Lock()
	defer w.roundM.Unlock()
	began := w.clock.Now()
	w.mu.Lock()
	w.running = true
	s := w.settings
	hosts := make([]*watched, 0, len(w.hosts))
	for _, h := range w.hosts {
		hosts = append(hosts, h)
	}
	loaded := w.loaded
	w.changed()
	w.mu.Unlock()
	slices.SortFunc(hosts, func(a, b *watched) int { return cmp.Compare(a.host.Name, b.host.Name) })
	if !loaded {
		w.keep(ctx, w.load)
	}

	timed, cancel := ctx, context.CancelFunc(func() {})
	if s.Timeout > 0 {
		timed, cancel = context.WithTimeoutCause(ctx, s.Timeout, errLate)
	}
	passed := w.survey(timed, s, hosts)
	cancel()
	if passed > 0 && ctx.Err() == nil {
		w.problem("timeout", fmt.Sprintf("the time of a round, %s, was over before %d of %d hosts were looked at", s.Timeout, passed, len(hosts)))
	} else {
		w.problem("timeout", "")
	}
	if s.Repair && w.o.Converge != nil && ctx.Err() == nil {
		w.repair(ctx, s, hosts)
	}

	w.keep(ctx, w.save)
	now := w.clock.Now()
	w.mu.Lock()
	w.running = false
	well := passed == 0
	for _, h := range hosts {
		well = well && h.state.State != Unreachable && h.state.State != Failed
	}
	if ctx.Err() == nil {
		w.time = now
		w.round++
		if well {
			w.success = now
		}
	}
	n := w.notice
	w.notice = Notice{}
	n.Site, n.Time = s.Site.Name, now
	for _, h := range hosts {
		for _, r := range h.open {
			n.Open = append(n.Open, r.Drift)
		}
	}
	n.Held = w.held()
	w.changed()
	w.mu.Unlock()
	w.flush()
	if w.o.Rounds != nil && ctx.Err() == nil {
		w.o.Rounds(now.Sub(began))
	}
	if w.o.Tell != nil {
		w.o.Tell(n)
	}
}

// keep does something with the store, within bounds; what it cannot do is
// reported.
func (w *Watcher) keep(ctx context.Context, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeLimit)
	defer cancel()
	if err := do(ctx); err != nil {
		w.problem("history", "the history is not kept: "+err.Error())
		return
	}
	w.problem("history", "")
}

// survey looks at the hosts, and gives how many it did not come to.
func (w *Watcher) survey(ctx context.Context, s Settings, hosts []*watched) int {
	var g errgroup.Group
	g.SetLimit(max(1, s.Parallel))
	var mu sync.Mutex
	passed := 0
	for _, h := range hosts {
		g.Go(func() error {
			if over := ctx.Err() != nil; over {
				mu.Lock()
				passed++
				mu.Unlock()
			} else {
				w.lookAt(ctx, h)
			}
			return nil
		})
	}
	_ = g.Wait() // none of them fails
	return passed
}

// lookAt looks at one host and takes note of what it found.
func (w *Watcher) lookAt(ctx context.Context, h *watched) {
	at := w.clock.Now()
	seen, reached, err := h.line.look(ctx, w.o.Dial, h.host, h.want)
	if err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), errLate) {
		return // it was to end
	}
	f := finding{at: at, took: w.clock.Now().Sub(at), seen: seen, reached: reached, err: err}
	w.mu.Lock()
	w.take(h, f)
	w.mu.Unlock()
	w.flush()
}

// flush tells the events that were found.
func (w *Watcher) flush() {
	w.mu.Lock()
	events := w.events
	w.events = nil
	w.mu.Unlock()
	for _, e := range events {
		w.observe(e)
	}
}

// A finding is what came of a look.
type finding struct {
	at      time.Time
	took    time.Duration
	seen    agent.Sighting
	reached bool
	err     error
}

// take makes the host's state of what was found. The lock is held.
func (w *Watcher) take(h *watched, f finding) {
	before := h.state.State
	h.state.Looked, h.state.Took = f.at, f.took
	if f.err != nil {
		h.state.Error = f.err.Error()
		w.become(h, f.at, map[bool]State{true: Failed, false: Unreachable}[f.reached])
		w.hold(h, f.at, sight{key: key{class: ClassUnreachable}, diff: h.state.Error})
		w.changed()
		return
	}
	h.state.Seen, h.state.Error = f.at, ""
	h.services = servicesOf(h, f.seen.Table, w.owners())
	w.drop(h, f.at, func(k key) bool { return k.class == ClassUnreachable })
	if f.seen.Report == nil && before != Unreachable && before != Failed {
		// As it was: what is there is still there.
		if h.state.State != Busy {
			for _, r := range h.open {
				r.Last, r.dirty = f.at, true
			}
		}
		if len(h.services) > 0 {
			w.changed()
		}
		return
	}
	if f.seen.Report != nil {
		h.report(*f.seen.Report)
	}
	if h.busy {
		// In the midst of a change anything may be found.
		w.become(h, f.at, Busy)
		w.changed()
		return
	}
	appeared := w.appeared(h)
	there := map[key]bool{}
	for _, s := range slices.Concat(h.differs, appeared) {
		there[s.key] = true
		w.hold(h, f.at, s)
	}
	w.drop(h, f.at, func(k key) bool { return !there[k] })
	state := Clean
	if len(h.state.Transient) > 0 {
		state = Transient
	}
	if len(h.open) > 0 {
		state = Drifted
	}
	w.become(h, f.at, state)
	w.changed()
}

// report keeps of a report what is asked for again.
func (h *watched) report(r agent.Report) {
	h.differs, h.noted = differences(r), noted(r)
	h.busy, h.news = r.UnderWay != "", len(news(r)) > 0
	h.state.Release = release(r)
	h.state.Notes, h.state.Transient = notes(r), slices.Clone(r.Transient)
}

// become sets the host's state. The lock is held.
func (w *Watcher) become(h *watched, at time.Time, s State) {
	if h.state.State != s {
		h.state.State, h.state.Since = s, at
	}
}

// hold takes note of a difference that is there. The lock is held.
func (w *Watcher) hold(h *watched, at time.Time, s sight) {
	for _, r := range h.open {
		if keyOf(r.Drift) == s.key {
			r.Last, r.Diff, r.dirty = at, s.diff, true
			return
		}
	}
	d := Drift{
		Host: h.host.Name, Step: s.step, Class: s.class, Diff: s.diff, Code: s.note.Code, About: s.note.Subject, First: at, Last: at,
	}
	h.open = append(h.open, &record{Drift: d, dirty: true})
	w.notice.Firing = append(w.notice.Firing, d)
	w.events = append(w.events, Event{Time: at, Drift: &d})
}

// drop takes note that differences are gone. The lock is held.
func (w *Watcher) drop(h *watched, at time.Time, gone func(key) bool) {
	h.open = slices.DeleteFunc(h.open, func(r *record) bool {
		if !gone(keyOf(r.Drift)) {
			return false
		}
		w.end(r, at, w.howItEnded(h, r))
		return true
	})
}

// howItEnded says how a drift that is not there any more went away.
func (w *Watcher) howItEnded(h *watched, r *record) End {
	switch {
	case r.Class == ClassUnreachable:
		return EndElse
	case !h.repaired.Before(r.Last) && !h.repaired.IsZero():
		return EndRepaired
	case w.o.Changed != nil && w.o.Changed(h.host.Name, r.Last):
		delete(w.memo.Tries, h.host.Name) // somebody has seen to it
		return EndConverge
	}
	return EndElse
}

// appeared gives the foreign settings that were not there when the host was
// looked at for the first time. The lock is held.
func (w *Watcher) appeared(h *watched) []sight {
	known, ever := w.memo.Noted[h.host.Name]
	if !ever {
		known = []string{}
		for _, s := range h.noted {
			known = append(known, s.step+": "+s.which)
		}
		w.memo.Noted[h.host.Name] = known
	}
	var list []sight
	for _, s := range h.noted {
		if !slices.Contains(known, s.step+": "+s.which) {
			list = append(list, s)
		}
	}
	return list
}

// owners are the names of the site's hosts by their address. The lock is held.
func (w *Watcher) owners() map[string]string {
	if w.named == nil {
		w.named = map[string]string{}
		for _, h := range w.settings.Site.Hosts {
			for _, i := range h.Interfaces {
				for _, p := range i.Addresses {
					w.named[p.Addr().String()] = h.Name
				}
			}
		}
	}
	return w.named
}

var _ Source = (*Watcher)(nil)

// Findings are what a round has found, in the words of `lvsfleet diff`'s exit:
// whether something differs, and whether of a host it could not be told, since
// it could not be looked at or a change was under way there.
func (s Snapshot) Findings() (differs, untold bool) {
	for _, h := range s.Hosts {
		switch h.State {
		case Drifted:
			differs = true
		case Unreachable, Failed, Unknown, Busy:
			untold = true
		}
	}
	return differs, untold
}
