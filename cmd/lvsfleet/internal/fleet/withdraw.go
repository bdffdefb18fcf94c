package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A loan is a transaction of a director that is in force and never committed:
// its entries have weight 0. Undone, or with the end of the session, it gives
// the weights back.
type loan struct {
	dir     *member
	entries []*entry
}

// services are those of the loan's entries.
func (l *loan) services() []ipvs.Key {
	var list []ipvs.Key
	seen := map[ipvs.Key]bool{}
	for _, e := range l.entries {
		if !seen[e.Service] {
			seen[e.Service] = true
			list = append(list, e.Service)
		}
	}
	return list
}

func withdrawals(entries []*entry, gone bool) []inventory.Withdrawal {
	list := make([]inventory.Withdrawal, len(entries))
	for i, e := range entries {
		list[i] = e.withdrawal(gone)
	}
	return list
}

// lend sets the weights of the entries to 0. A director that cannot is out of
// the run.
func (r *run) lend(ctx context.Context, groups map[*member][]*entry) []*loan {
	var loans []*loan
	var mu sync.Mutex
	each(r.Fleet, sortedMembers(groups), func(m *member) {
		if ctx.Err() != nil {
			return
		}
		l := &loan{m, groups[m]}
		if err := r.inForce(context.WithoutCancel(ctx), l, false); err != nil {
			r.fail(m, Failed, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		loans = append(loans, l)
	})
	slices.SortFunc(loans, func(a, b *loan) int { return byName(a.dir, b.dir) })
	return loans
}

// inForce begins and applies the loan, or, with gone, the end of its entries
// behind it.
func (r *run) inForce(ctx context.Context, l *loan, gone bool) error {
	m := l.dir
	r.enter(m, inventory.Withdraw)
	progress := r.progress(m.host.Name, inventory.Withdraw)
	tx := r.transaction(m, inventory.Withdraw)
	tx.Continues, tx.Request = gone, agent.ToWithdraw(m.want, withdrawals(l.entries, gone))
	m.mu.Lock()
	defer m.mu.Unlock()
	begun, err := m.session.Begin(ctx, tx, progress)
	if err != nil {
		return fmt.Errorf("withdraw on %s: %w", m.host.Name, err)
	}
	if err := m.session.Apply(ctx, progress); err != nil {
		return fmt.Errorf("withdraw on %s: %w", m.host.Name, err)
	}
	if !gone {
		return nil
	}
	if err := r.commit(ctx, m, inventory.Withdraw, begun, nil); err != nil {
		return err
	}
	r.observe(Event{Host: m.host.Name, Stage: inventory.Withdraw, Phase: PhaseDone})
	return nil
}

// drain waits until the connections of the entries have ended, or for as long
// as the inventory gives them. Cancelling ctx ends it.
func (r *run) drain(ctx context.Context, loans []*loan) {
	limit := time.Duration(r.Site.Rollout.Drain) * time.Second
	if limit == 0 || len(loans) == 0 {
		return
	}
	clock := r.clock()
	end := clock.Now().Add(limit)
	for first := true; ; first = false {
		left := map[string]int{} // by real server
		opening := false
		for _, l := range loans {
			if r.failed.has(l.dir.host.Name) {
				return // the batch ends
			}
			n, inactive, err := r.draining(ctx, l, left)
			if err != nil {
				return
			}
			// A TCP connection that is being opened is as inactive as one that
			// is closing (ip_vs_proto_tcp.c); it is active by the next look.
			opening = opening || first && inactive > 0
			r.observe(Event{Host: l.dir.host.Name, Stage: inventory.Withdraw, Phase: PhaseDrain, Connections: n})
		}
		rest := end.Sub(clock.Now())
		if rest <= 0 {
			r.mu.Lock()
			defer r.mu.Unlock()
			for name, n := range left {
				r.cut[name] += n
			}
			return
		}
		if len(left) == 0 && !opening || clock.Sleep(ctx, min(rest, drainPoll)) != nil {
			return
		}
	}
}

// drainPoll is how often the connections are counted.
const drainPoll = time.Second

// draining counts the connections of the loan's entries, and adds those that
// are waited for up by real server.
func (r *run) draining(ctx context.Context, l *loan, left map[string]int) (n, inactive int, err error) {
	live, err := r.loanTable(ctx, l)
	if err != nil {
		return 0, 0, err
	}
	for _, e := range l.entries {
		if now, ok := live[entryKey{e.Service, e.Dest.DestKey}]; ok {
			inactive += now.Inactive
			if c := (&entry{Entry: now}).connections(); c > 0 {
				n += c
				left[e.host] += c
			}
		}
	}
	return n, inactive, nil
}

type entryKey struct {
	service ipvs.Key
	dest    ipvs.DestKey
}

// loanTable reads the table of a director that has lent. One that is lost
// gives the weights back as it ends, which nobody here sees.
func (r *run) loanTable(ctx context.Context, l *loan) (map[entryKey]agent.Entry, error) {
	live, err := l.dir.table(context.WithoutCancel(ctx), l.services()...)
	if err != nil {
		r.lostMu.Lock()
		defer r.lostMu.Unlock()
		if !r.failed.has(l.dir.host.Name) {
			r.fail(l.dir, Failed, &agent.UndoError{
				Cause:  fmt.Errorf("read the IPVS table of %s: %w", l.dir.host.Name, err),
				Failed: []string{"the weights that were lent: the director gives them back as it ends, else the next run does"},
			})
		}
		return nil, err
	}
	m := make(map[entryKey]agent.Entry, len(live))
	for _, e := range live {
		m[entryKey{e.Service, e.Dest.DestKey}] = e
	}
	return m, nil
}

// errNotHeld is a loan that is no longer one.
var errNotHeld = errors.New("a director gives it new connections already")

// holds makes sure that all that was lent still is, before a real server is
// committed that must not have clients yet.
func (r *run) holds(ctx context.Context, loans []*loan) error {
	for _, l := range loans {
		live, err := r.loanTable(ctx, l)
		if err != nil {
			return fmt.Errorf("its director %s was lost: %w", l.dir.host.Name, err)
		}
		for _, e := range l.entries {
			now, there := live[entryKey{e.Service, e.Dest.DestKey}]
			if there && now.Dest.Weight > 0 && !e.foreign() {
				return fmt.Errorf("%w: %s on %s", errNotHeld, e.Service, l.dir.host.Name)
			}
		}
	}
	return nil
}

// settle gives the weights back. The real servers that they were taken for are
// settled: each is whole, as before or as wanted, and its entry fits it.
func (r *run) settle(ctx context.Context, loans []*loan) {
	ctx = context.WithoutCancel(ctx)
	each(r.Fleet, loans, func(l *loan) {
		m := l.dir
		if r.failed.has(m.host.Name) {
			return
		}
		m.mu.Lock()
		err := m.session.Finish(ctx, r.Run, false, r.progress(m.host.Name, inventory.Withdraw))
		m.mu.Unlock()
		r.observe(Event{Host: m.host.Name, Stage: inventory.Withdraw, Phase: PhaseDone})
		if err != nil {
			r.fail(m, Failed, fmt.Errorf("give the weights back on %s: %w", m.host.Name, err))
		}
	})
}

// remove drains the entries and deletes them, each director in one
// transaction. It says whether all are gone, but for those of a director that
// failed just now; where it says no, none is.
func (r *run) remove(ctx context.Context, groups map[*member][]*entry) bool {
	if len(groups) == 0 {
		return true
	}
	loans := r.lend(ctx, groups)
	r.drain(ctx, loans)
	if len(loans) < len(groups) || ctx.Err() != nil || r.anyFailed(loans) {
		r.settle(ctx, loans)
		return false
	}
	each(r.Fleet, loans, func(l *loan) {
		if err := r.inForce(context.WithoutCancel(ctx), l, true); err != nil {
			r.fail(l.dir, Failed, err)
			return
		}
		r.done.add(l.dir.host.Name)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.dropped = append(r.dropped, l.entries...)
	})
	return true
}

func (r *run) anyFailed(loans []*loan) bool {
	return slices.ContainsFunc(loans, func(l *loan) bool { return r.failed.has(l.dir.host.Name) })
}
