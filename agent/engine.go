package agent

import (
	"context"
	"errors"
	"fmt"
	"regexp"
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
//	lease     taken in Begin and kept until Close. The lock is freed when its
//	          holder dies; here that is the session itself.
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

	mu      sync.Mutex // held while a method runs
	cancel  context.CancelFunc
	cancelM sync.Mutex // guards cancel and closed
	closed  bool

	id      host.Identity // "" until known
	release func()        // of the lease; nil: not held
	holder  string        // the lease's text
	run     string        // the lease's run
	tx      *open         // begun and not finished; nil: none
}

// open is a transaction that this session has begun.
type open struct {
	Transaction
	report  Report
	plan    step.Plan
	journal *journal.Journal // nil: nothing to do
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
	err := e.settleRun(ctx, e.tx.Run, progress)
	if err == nil {
		e.tx = nil
	}
	return err
}

func (e *Engine) giveBack() {
	if e.release != nil {
		e.release()
		e.release, e.run, e.holder = nil, "", ""
	}
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

// Lease is the path of the host's lease.
const Lease = host.RunDir + "/lease"

func holderText(tx Transaction, now time.Time) string {
	who := tx.Who
	if who == "" {
		who = "unknown"
	}
	return fmt.Sprintf("%s, run %s, since %s", who, tx.Run, now.UTC().Format(time.RFC3339))
}

var holderRun = regexp.MustCompile(`, run ([0-9A-Za-z-]+), since [^,]*$`)

// runOf names the run that a lease's holder text tells of.
func runOf(holder string) string {
	if m := holderRun.FindStringSubmatch(holder); m != nil {
		return m[1]
	}
	return ""
}

func (e *Engine) locker() (host.Locker, error) {
	l, ok := host.As[host.Locker](e.Host)
	if !ok {
		return nil, errors.New("this host cannot be locked")
	}
	return l, nil
}

// lease takes the host's lease for tx, unless it is held for its run already.
// The session itself holds it, so it ends with the login. A guard that does not
// belong to the login takes it here in the session's stead, before anything is
// staged; nothing else asks who holds it but by its run.
func (e *Engine) lease(ctx context.Context, tx Transaction) error {
	if e.release != nil && e.run == tx.Run {
		return nil
	}
	if e.release != nil {
		return fmt.Errorf("this session belongs to run %s", e.run)
	}
	l, err := e.locker()
	if err != nil {
		return err
	}
	holder := holderText(tx, time.Now())
	release, err := l.Lock(ctx, Lease, holder)
	if err != nil {
		return fmt.Errorf("take the lease: %w", err)
	}
	e.release, e.run, e.holder = release, tx.Run, holder
	return nil
}

// leaseHolder says who holds the lease; "" nobody.
func (e *Engine) leaseHolder(ctx context.Context) (string, error) {
	l, err := e.locker()
	if err != nil {
		return "", err
	}
	return l.Holder(ctx, Lease)
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
