package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// settle settles every open journal, and tells of those that are not run's
// own. The lease is held: their runs are dead.
func (e *Engine) settle(ctx context.Context, run string, progress func(Event)) (string, error) {
	store, err := e.store(ctx)
	if err != nil {
		return "", err
	}
	runs, err := store.Unsettled(ctx)
	if err != nil {
		return "", err
	}
	var told []string
	for _, r := range runs {
		j, err := store.Load(ctx, r)
		if err != nil {
			return "", err
		}
		emitter(progress)("settle", "", nil)
		// To be interrupted once more would be no help.
		if err := e.settleRun(context.WithoutCancel(ctx), r, progress); err != nil {
			return "", fmt.Errorf("settle the interrupted run %s: %w", r, err)
		}
		head, ok := j.Header()
		if !ok || r == run {
			continue
		}
		what := "before its commit, and has been undone"
		if j.Claim == journal.Commit {
			what = "in its commit, which has been finished"
			if past, err := store.Past(ctx, r); err == nil && past.Claim == journal.Withdrawn {
				what = "in its commit, which could not be carried out and has been undone"
			}
		}
		if j.Claim == journal.Withdrawn {
			what = "as it undid a commit that could not be carried out, and has been undone"
		}
		told = append(told, fmt.Sprintf("run %s of %s was interrupted %s", r, head.Who, what))
	}
	return sentence(told), nil
}

// errElsewhere is a commit that somebody else has ended meanwhile.
var errElsewhere = errors.New("somebody else has ended this commit")

// settleRun ends the open transaction of run, as it was decided; one that was
// not is undone. Where there is none, somebody has settled it.
func (e *Engine) settleRun(ctx context.Context, run string, progress func(Event)) error {
	store, err := e.store(ctx)
	if err != nil {
		return err
	}
	j, err := store.Load(ctx, run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	claim, err := j.Decide(ctx, journal.Undo)
	if err != nil {
		return err
	}
	if claim != journal.Commit {
		return e.undo(ctx, j, progress)
	}
	err = e.carryOut(ctx, j, func(ctx context.Context) error {
		// Two may be at it; one of them may find that it cannot be done.
		if stands, err := j.Stands(ctx); err != nil || !stands {
			return cmp.Or(err, errElsewhere)
		}
		return nil
	}, progress)
	var left *LeftError
	if errors.Is(err, errElsewhere) {
		return e.settleRun(ctx, run, progress)
	}
	if errors.Is(err, ErrUndone) {
		emitter(progress)("undo", "", err)
		return nil
	}
	if errors.As(err, &left) {
		emitter(progress)("commit", "", left)
		return nil
	}
	return err
}

// undo takes a transaction back: the live part, last first, where this is
// still the boot that it was made in, and the staged files; of a commit that was
// withdrawn also what it has put in place, before what is live. Every step is
// tried, whatever became of the others.
func (e *Engine) undo(ctx context.Context, j *journal.Journal, progress func(Event)) error {
	emit := emitter(progress)
	var failed []string
	fail := func(name string, err error) {
		emit("undo", name, err)
		failed = append(failed, fmt.Sprintf("%s: %v", name, err))
	}
	head, whole := j.Header()
	mark, err := journal.BootMark(ctx, e.Host)
	if err != nil {
		return &UndoError{Failed: []string{err.Error()}}
	}
	steps := j.Steps()
	withdrawn := j.Claim == journal.Withdrawn
	back := func(s journal.Record) error {
		emit("undo", s.Step, nil)
		for _, op := range s.Undo {
			err := e.do(ctx, op)
			switch {
			case err == nil:
			case errors.Is(err, step.ErrChanged):
				// Theirs now. Nothing is lost but a line in the history.
				emit("undo", s.Step, err)
				_ = j.Note(ctx, fmt.Sprintf("%s: not undone: %v", s.Step, err))
			case errors.Is(err, host.ErrLost):
				fail(s.Step, err)
				return &UndoError{Failed: failed}
			default:
				fail(s.Step, err)
			}
		}
		return nil
	}
	if withdrawn {
		for _, f := range slices.Backward(j.Files()) {
			if err := back(f); err != nil {
				return err
			}
		}
	}
	// What a commit has put in place may have made a boot's live part what it is.
	if withdrawn || whole && mark != "" && mark == head.Boot {
		for _, s := range slices.Backward(steps) {
			if err := back(s); err != nil {
				return err
			}
		}
	}
	for _, f := range j.Files() {
		for _, tmp := range f.Staged {
			if tmp == "" {
				continue
			}
			if err := e.Host.Remove(ctx, tmp); err != nil {
				fail(f.Step, fmt.Errorf("remove %s: %w", tmp, err))
			}
		}
	}
	if len(failed) > 0 {
		return &UndoError{Failed: failed}
	}
	settle := j.Settle
	if len(steps) == 0 && !withdrawn {
		settle = j.Drop // nothing was ever in force
	}
	if err := settle(ctx); err != nil {
		return &UndoError{Failed: []string{err.Error()}}
	}
	return nil
}
