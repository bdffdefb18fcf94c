package fleet

import (
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
)

// loanFactor is how much longer a director's guard waits for the controller's
// word than a real server's: what was lent is still lent when the real servers
// that it was lent for are whole again by themselves.
const loanFactor = 3

// usual is how long a guard waits that watches over no loan.
func (f *Fleet) usual() time.Duration {
	if t := time.Duration(f.Site.Rollout.ConfirmTimeout) * time.Second; t > 0 {
		return t
	}
	return agent.DefaultConfirmTimeout
}

// confirm is how long the guard of m waits.
func (r *run) confirm(m *member) time.Duration {
	t := r.usual()
	// Where the run may take itself back, a director lends over the guard that
	// it has from the beginning.
	if m.director() && (m.lends || r.Site.Rollout.OnFailure == "fleet") {
		t *= loanFactor
	}
	return t
}

// Renew says whether the guard of the host may be told that the run makes
// progress. It is to be called each time before it is told so, by any number
// of goroutines. A real server for which a weight is lent is renewed only
// while the guards of the directors that lent it were renewed so lately that
// they hold still for longer than it will.
func (f *Fleet) Renew(host string) bool {
	r := f.running.Load()
	if r == nil {
		return true
	}
	now := r.clock().Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.renewed[host] = now
	for _, l := range r.loansFor[host] {
		_, failed := r.status[l.dir.host.Name]
		// Half a time-out is what the real server may take to undo.
		least := r.confirm(l.dir) - r.confirm(r.byName[host])*3/2
		if failed || now.Sub(r.renewed[l.dir.host.Name]) > least {
			return false
		}
	}
	return true
}

// lendTo notes what is lent while the batch changes; no loans end that.
func (r *run) lendTo(batch []*member, loans []*loan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range loans {
		if r.renewed[l.dir.host.Name].IsZero() {
			r.renewed[l.dir.host.Name] = r.clock().Now() // it has just begun
		}
	}
	for _, m := range batch {
		r.loansFor[m.host.Name] = loans
	}
}
