package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

const (
	// redial lies between two tries to log in to a host that was lost.
	redial = time.Second
	// undoTries is how often an undo that fails is asked for over a new login:
	// the host may be at it itself.
	undoTries = 3
)

// again finishes, over a new login, the transaction of a host that was lost.
// It waits for as long as the host may take to undo by itself. The error is what
// the host said last, or that it could not be asked. Cancelling ctx ends the
// waiting.
func (r *run) again(ctx context.Context, m *member, s inventory.Stage, commit bool) error {
	clock := r.clock()
	for end, tries := r.wholeBy(m), 0; ; {
		session, err := r.dial(ctx, m.host)
		if err == nil {
			err = session.Finish(context.WithoutCancel(ctx), r.Run, commit, r.progress(m.host.Name, s))
			_ = session.Close() // it has begun nothing
			if err == nil {
				return nil
			}
			if tries++; !errors.Is(err, host.ErrLost) && (commit || tries == undoTries) {
				return err
			}
		}
		if !clock.Now().Before(end) || clock.Sleep(ctx, redial) != nil {
			return fmt.Errorf("%w: %w", host.ErrLost, err)
		}
	}
}

// wholeBy is when a host that is lost now has undone by itself, or is up again
// after a power cut: a guard's time-out from now, and half of that again. The
// guard of a director that lends waits longer, but from the last word that it was
// given on, which was before it was lost.
func (r *run) wholeBy(m *member) time.Time {
	now, usual := r.clock().Now(), r.usual()
	r.mu.Lock()
	word := r.renewed[m.host.Name]
	r.mu.Unlock()
	if word.IsZero() {
		word = now // it has just begun
	}
	end, lent := now.Add(usual*3/2), word.Add(r.confirm(m)+usual/2)
	if lent.After(end) {
		end = lent
	}
	return end
}

// undone says whether a host which was lost in an undo has undone all the
// same, or does so now. False where lost is another failure than that of a
// line, too.
func (r *run) undone(ctx context.Context, m *member, s inventory.Stage, lost error) bool {
	return errors.Is(lost, host.ErrLost) && r.again(ctx, m, s, false) == nil
}

// commitLost is what became of a commit that failed as the line was lost. A
// host that has not come to it may still do so: it could be reached anew.
func (r *run) commitLost(ctx context.Context, m *member, s inventory.Stage, commit error) error {
	if !errors.Is(commit, host.ErrLost) {
		return commit
	}
	return unsettled(r.again(ctx, m, s, true))
}

// unsettled makes of a lost line a transaction of which nobody here knows the
// end.
func unsettled(err error) error {
	var undo *agent.UndoError
	if !errors.Is(err, host.ErrLost) || errors.As(err, &undo) {
		return err
	}
	return &agent.UndoError{Cause: err, Failed: []string{"what was begun: the host undoes or finishes it by itself, else the next run does"}}
}

// askLost asks the directors that were lost what became of what they had
// begun, once all else is done: nobody waits for them.
func (r *run) askLost(ctx context.Context) {
	var lost []*member
	for _, m := range r.members {
		var undo *agent.UndoError
		if m.director() && errors.As(m.err, &undo) && errors.Is(m.err, host.ErrLost) {
			lost = append(lost, m)
		}
	}
	each(r.Fleet, lost, func(m *member) {
		var undo *agent.UndoError
		if !errors.As(m.err, &undo) || !r.undone(ctx, m, r.at[m.host.Name], m.err) {
			return
		}
		m.err = undo.Cause
		r.mark(m, Failed)
	})
}
