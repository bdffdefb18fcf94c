package agent

import (
	"context"
	"errors"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Apply does the live steps.
func (e *Engine) Apply(ctx context.Context, progress func(Event)) error {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if e.tx == nil {
		return errors.New("apply: nothing has been begun")
	}
	if e.tx.journal == nil || e.tx.applied {
		return nil
	}
	err = e.apply(ctx, progress)
	if err == nil {
		e.tx.applied = true
		return nil
	}
	undoCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if undo := e.end(undoCtx, progress); undo != nil {
		return because(err, undo)
	}
	return err
}

func (e *Engine) apply(ctx context.Context, progress func(Event)) error {
	emit := emitter(progress)
	t := e.tx
	// What verifies one step tells the conditions of the next.
	seen := host.NewCache(e.Host)
	// The live steps are the first of the report, in the plan's order.
	for i, s := range t.plan.Live {
		change := t.report.Items[i].Change
		if change.Holds() {
			continue
		}
		failed := func(phase string, err error) error {
			emit(phase, s.ID(), err)
			return &StepError{Phase: phase, Step: s.ID(), Err: err}
		}
		emit("do", s.ID(), nil)
		if err := e.mine(ctx); err != nil {
			return failed("do", err)
		}
		if err := t.journal.Live(ctx, s.ID(), change); err != nil {
			return failed("do", err)
		}
		for _, op := range change.Do {
			err := e.mine(ctx)
			if err == nil {
				err = e.doOn(ctx, seen, op)
			}
			if err != nil {
				return failed("do", err)
			}
		}
		emit("verify", s.ID(), nil)
		left, err := s.Check(ctx, seen)
		if err != nil {
			return failed("verify", err)
		}
		if !left.Holds() {
			return failed("verify", &VerifyError{Step: s.ID(), Diff: left.Diff})
		}
	}
	if err := e.mine(ctx); err != nil {
		return err
	}
	return t.journal.MarkReady(ctx)
}

// do performs one operation within its time limit, to which the time of its
// conditions comes.
func (e *Engine) do(ctx context.Context, op step.Op) error { return e.doOn(ctx, e.Host, op) }

// doOn is do on h, which is, or wraps, the host.
func (e *Engine) doOn(ctx context.Context, h host.Host, op step.Op) error {
	limit := op.Timeout
	if limit == 0 {
		limit = host.DefaultTimeout
	}
	if op.Kind != step.Run && op.Kind != step.Notify {
		limit = fileTimeout
	}
	limit += host.DefaultTimeout
	return e.timed(ctx, limit, func(ctx context.Context) error {
		err := op.Do(ctx, h)
		if op.Advisory() && ctx.Err() == nil && !errors.Is(err, host.ErrLost) {
			return nil // failure is only noted: the network asks in time, a file is read at the next boot
		}
		return err
	})
}
