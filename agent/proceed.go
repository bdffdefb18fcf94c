package agent

import (
	"context"
	"fmt"
)

// proceed adds to the transaction that is open (Transaction.Continues). Its
// steps are journaled behind those that are in force already, so an undo takes
// back all of it, the last first. An error leaves nothing of either.
func (e *Engine) proceed(ctx context.Context, tx Transaction, progress func(Event)) (Begun, error) {
	if e.tx == nil || e.tx.Run != tx.Run || e.tx.journal != nil && !e.tx.applied {
		return Begun{}, fmt.Errorf("continue run %s: nothing of it is in force here", tx.Run)
	}
	emit := emitter(progress)
	b, err := e.more(ctx, tx, emit)
	if err == nil {
		return b, nil
	}
	undoCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if undo := e.end(undoCtx, progress); undo != nil {
		return Begun{}, because(err, undo)
	}
	return Begun{}, err
}

func (e *Engine) more(ctx context.Context, tx Transaction, emit func(string, string, error)) (Begun, error) {
	emit("check", "", nil)
	report, plan, err := e.look(ctx, tx.Request, Live, Boot)
	if err != nil {
		return Begun{}, err
	}
	if tx.Approved != "" && Fingerprint(report) != tx.Approved {
		return Begun{}, ErrNotApproved
	}
	t := &open{Transaction: tx, report: report, plan: plan, journal: e.tx.journal, book: e.tx.book}
	switch {
	case !Differs(report):
		t.applied = true
	case t.journal == nil:
		// What it continues had nothing to do, and so no journal.
		err = e.stage(ctx, t, emit)
	default:
		err = e.stageMore(ctx, t, emit)
	}
	if err != nil {
		e.tx.journal = t.journal // there may be one now, to be settled
		return Begun{}, err
	}
	e.tx = t
	return begun(report, ""), nil
}
