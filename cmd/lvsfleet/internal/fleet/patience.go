package fleet

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

const (
	// readPatience is how long a host may take to answer a question. The watcher
	// gives a look as much.
	readPatience = 2 * time.Minute
	// changePatience is how long a host may take from one sign of progress in a
	// transaction to the next, beside the time of its guard: more than any
	// operation has.
	changePatience = 5 * time.Minute
)

// A patient session gives a host up that says nothing any more although its line
// stands: the line is cut. The guard of such a host is renewed no more, and so
// undoes what had begun; the run goes on as with any host that was lost. A
// renewal is no sign of progress.
type patient struct {
	agent.Session
	host         string
	read, change time.Duration
}

// dial is Dial for a run: nobody waits for the host for ever.
func (f *Fleet) dial(ctx context.Context, h *inventory.Host) (agent.Session, error) {
	s, err := f.Dial(ctx, h)
	if err != nil {
		return nil, err
	}
	p := patient{s, h.Name, readPatience, changePatience + f.usual()}
	if f.patience > 0 {
		p.read, p.change = f.patience, f.patience
	}
	return p, nil
}

// await has do done, and cuts the line where it makes no progress for that long.
func await[T any](p patient, limit time.Duration, do func(progress func()) (T, error)) (T, error) {
	var gaveUp atomic.Bool
	t := time.AfterFunc(limit, func() {
		gaveUp.Store(true)
		p.Cut()
	})
	defer t.Stop()
	v, err := do(func() {
		if !gaveUp.Load() {
			t.Reset(limit)
		}
	})
	if err != nil && gaveUp.Load() {
		err = fmt.Errorf("%s gave no sign for %s, and was given up: %w", p.host, limit, err)
	}
	return v, err
}

// heard passes events on, each of which is progress.
func heard(progress func(), pass func(agent.Event)) func(agent.Event) {
	return func(e agent.Event) {
		progress()
		if pass != nil {
			pass(e)
		}
	}
}

func (p patient) Check(ctx context.Context, req agent.Request) (agent.Report, error) {
	return await(p, p.read, func(func()) (agent.Report, error) { return p.Session.Check(ctx, req) })
}

func (p patient) Table(ctx context.Context, services ...ipvs.Key) ([]agent.Entry, error) {
	return await(p, p.read, func(func()) ([]agent.Entry, error) { return p.Session.Table(ctx, services...) })
}

func (p patient) Verify(ctx context.Context, v agent.Verification) ([]verify.Result, error) {
	return await(p, p.change, func(func()) ([]verify.Result, error) { return p.Session.Verify(ctx, v) })
}

func (p patient) Begin(ctx context.Context, tx agent.Transaction, progress func(agent.Event)) (agent.Begun, error) {
	return await(p, p.change, func(sign func()) (agent.Begun, error) { return p.Session.Begin(ctx, tx, heard(sign, progress)) })
}

func (p patient) Apply(ctx context.Context, progress func(agent.Event)) error {
	_, err := await(p, p.change, func(sign func()) (struct{}, error) {
		return struct{}{}, p.Session.Apply(ctx, heard(sign, progress))
	})
	return err
}

func (p patient) Finish(ctx context.Context, run string, commit bool, progress func(agent.Event)) error {
	_, err := await(p, p.change, func(sign func()) (struct{}, error) {
		return struct{}{}, p.Session.Finish(ctx, run, commit, heard(sign, progress))
	})
	return err
}

func (p patient) Clean(ctx context.Context, keepHistory bool) error {
	_, err := await(p, p.change, func(func()) (struct{}, error) { return struct{}{}, p.Session.Clean(ctx, keepHistory) })
	return err
}
