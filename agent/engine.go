package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A Planner plans what a host must be; providers.Plan is the one.
type Planner func(ctx context.Context, h host.Host, want inventory.Desired) (step.Plan, host.Identity, error)

// An Engine is a Session on a host.Host.
//
// One host's transaction, in the order in which it becomes safe to stop:
//
//	lease     taken in Begin and kept until Close, by a guard (Duty), which
//	          ends the transaction where the session cannot; where there is
//	          none, by the session itself. The lock is freed when its holder
//	          dies. Every operation needs it to be held.
//	settle    what an interrupted run left is undone, or rolled forward.
//	stage     the journal is opened, every file written beside its target.
//	live      per step: journal the undo, do, check again.
//	decide    one atomic rename in the journal, commit or undo. Asked for over
//	          a fresh session, which borrows the lease: it checks that the
//	          lease is still held for this run before it decides and before
//	          each rename.
//	rename    the staged files, in plan order; then the journal is history.
//
// Whoever dies before the decision leaves a host that is undone: by its own
// session as it ends, else by the next run, its live part only in the boot in
// which it was made. Whoever dies after it leaves one that is rolled forward.
// Both can be walked twice, and by two at once.
type Engine struct {
	Host host.Host // what changes are made on; offers host.Locker
	Plan Planner
	// Root is the state folder; "": host.StateDir of what the host is.
	Root string
	// Parallel is how many steps are checked at once; 0: one. An engine that
	// is far from its host gains by it.
	Parallel int
	// Guard gives the argv of a process that guards the host's transactions
	// as d says (Duty); nil: none does, and the lease is this session's.
	Guard func(ctx context.Context, h host.Host, d Duty) ([]string, error)
	// Patience is how long a guard gets to take the lease; 0: 15 s.
	Patience time.Duration
	// Renew asks the controller whether its run still makes progress, and
	// waits for the answer, which only the controller can give to this nonce;
	// nil: this is the controller, and it does.
	Renew func(ctx context.Context, nonce string) bool

	mu      sync.Mutex // held while a method runs
	cancel  context.CancelFunc
	cancelM sync.Mutex // guards cancel and closed
	closed  bool

	id      host.Identity // "" until known
	release func()        // of the lease; nil: not held
	holder  string        // the lease's text
	run     string        // the lease's run
	guarded bool          // a guard holds the lease for this session
	tx      *open         // begun and not finished; nil: none
}

// open is a transaction that this session has begun.
type open struct {
	Transaction
	report  Report
	plan    step.Plan
	journal *journal.Journal // nil: nothing to do
	book    book             // the ledger as it will be
	applied bool
}

var _ Session = (*Engine)(nil)

// The time limits of what is not a command: those bring their own.
const (
	fileTimeout = 60 * time.Second // one write, rename or removal
	undoTimeout = 10 * time.Minute // a whole undo, however it came to it
)

// enter begins a method: one at a time, ended by Close.
func (e *Engine) enter(ctx context.Context) (context.Context, func(), error) {
	e.mu.Lock()
	e.cancelM.Lock()
	defer e.cancelM.Unlock()
	if e.closed {
		e.mu.Unlock()
		return nil, nil, errors.New("session is closed")
	}
	ctx, cancel := context.WithCancel(ctx)
	e.cancel = cancel
	return ctx, func() { cancel(); e.mu.Unlock() }, nil
}

// Cut ends a method that runs.
func (e *Engine) Cut() {
	e.cancelM.Lock()
	defer e.cancelM.Unlock()
	if e.cancel != nil {
		e.cancel()
	}
}

// Close ends a method that runs, undoes what was begun and not decided, or
// finishes what was decided and not done, and gives the lease back.
func (e *Engine) Close() error {
	e.cancelM.Lock()
	e.closed = true
	if e.cancel != nil {
		e.cancel()
	}
	e.cancelM.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	err := e.end(ctx, nil)
	e.giveBack()
	return err
}

// end settles what this session has begun, unless it is settled already.
func (e *Engine) end(ctx context.Context, progress func(Event)) error {
	if e.tx == nil || e.tx.journal == nil {
		e.tx = nil
		return nil
	}
	err := func() error {
		// What nobody holds the lease for, its guard has died with.
		if ours, err := e.regain(ctx); err != nil || !ours {
			return err
		}
		return e.settleRun(ctx, e.tx.Run, progress)
	}()
	if err == nil {
		e.tx = nil
	}
	return err
}

// identify finds out what the host is, once.
func (e *Engine) identify(ctx context.Context) error {
	if e.id.OS != "" {
		return nil
	}
	id, err := host.Identify(ctx, e.Host)
	if err != nil {
		return err
	}
	e.id = id
	return nil
}

// store is where the host keeps its journals.
func (e *Engine) store(ctx context.Context) (journal.Store, error) {
	if e.Root == "" {
		if err := e.identify(ctx); err != nil {
			return journal.Store{}, err
		}
		return journal.Store{Host: e.Host, Root: host.StateDir(e.id.OS)}, nil
	}
	return journal.Store{Host: e.Host, Root: e.Root}, nil
}

// emitter makes progress callable when it is nil.
func emitter(progress func(Event)) func(phase, step string, err error) {
	return func(phase, step string, err error) {
		if progress == nil {
			return
		}
		ev := Event{Time: time.Now(), Phase: phase, Step: step}
		if err != nil {
			ev.Error = err.Error()
		}
		progress(ev)
	}
}
