package drift

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
)

// The bounds of repair: a host of which a step differs again that was repaired,
// or that cannot be repaired, is tried again after repairWait, then after twice
// as long each time, and is given up after mostTries. A host that then stays as
// it should be for calm, or that a person has converged, counts as new.
const (
	repairWait = 10 * time.Minute
	mostTries  = 3
	calm       = 24 * time.Hour
)

// tries are the repairs of one host.
type tries struct {
	N       int       `json:"n"`
	Last    time.Time `json:"last"`
	Next    time.Time `json:"next"`            // not before
	Steps   []string  `json:"steps,omitempty"` // that were repaired
	GivenUp bool      `json:"given_up,omitempty"`
	Since   time.Time `json:"since,omitzero"` // it was given up
	Error   string    `json:"error,omitempty"`
}

func (t *tries) givenUp(host string) GivenUp {
	return GivenUp{Host: host, Since: t.Since, Tries: t.N, Error: t.Error}
}

// repairable lists the steps of the host that converge would change; none where
// it would do something that is new with this version too.
func (h *watched) repairable() []string {
	if h.state.State != Drifted || h.news {
		return nil // a converge would also do what nobody has seen yet
	}
	var steps []string
	for _, r := range h.open {
		if r.Class == ClassLive || r.Class == ClassBoot || r.Class == ClassIPVS {
			steps = append(steps, string(r.Class)+" "+r.Step)
		}
	}
	return steps
}

// again says whether a repair of the steps would be one of what was tried
// already.
func (t *tries) again(steps []string) bool {
	return t.Error != "" || slices.ContainsFunc(steps, func(s string) bool { return slices.Contains(t.Steps, s) })
}

// repair converges hosts that drifted, then looks at them again.
func (w *Watcher) repair(ctx context.Context, s Settings, hosts []*watched) {
	now := w.clock.Now()
	var chosen []*watched
	var names []string
	w.mu.Lock()
	for _, h := range hosts {
		name := h.host.Name
		t := w.memo.Tries[name]
		steps := h.repairable()
		if len(steps) == 0 {
			if t != nil && (h.state.State == Clean || h.state.State == Transient) && now.Sub(t.Last) >= calm {
				w.forgive(name)
			}
			continue
		}
		switch {
		case t != nil && t.GivenUp, t != nil && t.again(steps) && now.Before(t.Next) && now.After(t.Last):
			continue
		case t != nil && t.again(steps) && t.N >= mostTries:
			t.GivenUp, t.Since = true, now
			w.notice.GivenUp = append(w.notice.GivenUp, t.givenUp(name))
			w.events = append(w.events, Event{Time: now, Problem: t.givenUp(name).String()})
			continue
		case s.RepairMax > 0 && len(chosen) >= s.RepairMax:
			continue // in the next round
		}
		chosen, names = append(chosen, h), append(names, name)
	}
	w.mu.Unlock()
	w.flush()
	if len(chosen) == 0 {
		return
	}
	out, err := w.o.Converge(ctx, s.Site, names)
	became := map[string]fleet.Result{}
	for _, r := range out.Results {
		became[r.Host] = r
	}
	now = w.clock.Now()
	w.mu.Lock()
	for _, h := range chosen {
		name := h.host.Name
		t := w.memo.Tries[name]
		if t == nil {
			t = &tries{}
			w.memo.Tries[name] = t
		}
		steps := h.repairable()
		if t.N == 0 || t.again(steps) {
			t.N++
		}
		for _, s := range steps {
			if !slices.Contains(t.Steps, s) {
				t.Steps = append(t.Steps, s)
			}
		}
		t.Last, t.Next = now, now.Add(min(repairWait<<(t.N-1), calm))
		t.Error = ""
		r, known := became[name]
		switch {
		case known && (r.Status == fleet.Changed || r.Status == fleet.Partly):
			h.repaired = now
		case known && r.Status == fleet.Unchanged:
		case known && r.Err != nil:
			t.Error = r.Err.Error()
		case known:
			t.Error = string(r.Status)
		}
		if err != nil && t.Error == "" {
			t.Error = err.Error()
		}
		text := "repaired"
		if t.Error != "" {
			text = "repair failed: " + t.Error
		}
		w.events = append(w.events, Event{Time: now, Note: name + ": " + text})
	}
	w.mu.Unlock()
	w.flush()
	w.survey(ctx, s, chosen)
}

// forgive lets a host be repaired as if it never had been. The lock is held.
func (w *Watcher) forgive(host string) {
	if t := w.memo.Tries[host]; t != nil && t.GivenUp {
		w.notice.Resumed = append(w.notice.Resumed, t.givenUp(host))
	}
	delete(w.memo.Tries, host)
}

// held lists the hosts that were given up, by name. The lock is held.
func (w *Watcher) held() []GivenUp {
	var list []GivenUp
	for name, t := range w.memo.Tries {
		if t.GivenUp {
			list = append(list, t.givenUp(name))
		}
	}
	slices.SortFunc(list, func(a, b GivenUp) int { return cmp.Compare(a.Host, b.Host) })
	return list
}
