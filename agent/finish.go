package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Finish commits or undoes the transaction of run, which this session or
// another one has begun.
func (e *Engine) Finish(ctx context.Context, run string, commit bool, progress func(Event)) error {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	own := e.release != nil && e.run == run
	if own && (e.tx == nil || e.tx.journal == nil) {
		if commit && e.tx == nil {
			return fmt.Errorf("commit run %s: nothing has been begun", run)
		}
		e.tx = nil
		return nil
	}
	store, err := e.store(ctx)
	if err != nil {
		return err
	}
	j, err := store.Load(ctx, run)
	if errors.Is(err, fs.ErrNotExist) {
		err = finished(ctx, store, run, commit)
	} else if err == nil {
		err = e.finish(ctx, j, commit, progress)
	}
	var left *LeftError
	if own && (err == nil || errors.As(err, &left) || errors.Is(err, ErrUndone)) {
		e.tx = nil
	}
	return err
}

// finished says what it means to finish a transaction that is not open.
func finished(ctx context.Context, store journal.Store, run string, commit bool) error {
	past, err := store.Past(ctx, run)
	switch {
	case errors.Is(err, fs.ErrNotExist) && commit:
		return fmt.Errorf("commit run %s: it has no transaction here: %w", run, ErrUndone)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case past.Claim == journal.Commit && !commit:
		return fmt.Errorf("undo run %s: it has been committed", run)
	case past.Claim != journal.Commit && commit:
		return fmt.Errorf("commit run %s: %w", run, ErrUndone)
	}
	return nil
}

func (e *Engine) finish(ctx context.Context, j *journal.Journal, commit bool, progress func(Event)) error {
	alive, done, err := e.borrow(ctx, j)
	if err != nil {
		return err
	}
	defer done()
	want := journal.Undo
	if commit {
		want = journal.Commit
	}
	var why error
	if commit && j.Claim == journal.Open {
		if why = e.committable(ctx, j, alive); why != nil {
			want = journal.Undo
		}
	}
	// From here on an end of the session must not stop it half way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	claim, err := j.Decide(ctx, want)
	if err != nil {
		return err
	}
	if claim != journal.Commit {
		if commit && why == nil && alive {
			return fmt.Errorf("commit run %s: %w", j.Run(), ErrUndone) // its own session is at it
		}
		err := e.undo(ctx, j, progress)
		if err != nil {
			return because(why, err)
		}
		if commit {
			return fmt.Errorf("commit run %s: %w", j.Run(), errors.Join(ErrUndone, why))
		}
		return nil
	}
	err = e.carryOut(ctx, j, func(ctx context.Context) error { return e.stillMine(ctx, j.Run()) }, progress)
	var left *LeftError
	switch {
	case errors.Is(err, ErrUndone):
		return fmt.Errorf("commit run %s: %w", j.Run(), err)
	case err != nil && !errors.As(err, &left):
		return err
	case !commit:
		return fmt.Errorf("undo run %s: it has been committed", j.Run())
	}
	return errors.Join(err, e.verify(ctx, j, left, emitter(progress)))
}

// borrow makes sure that nobody else changes the host: alive where the session
// that began still holds the lease, which may be this one; where nobody holds
// it, it is taken until done.
func (e *Engine) borrow(ctx context.Context, j *journal.Journal) (alive bool, done func(), err error) {
	if e.release != nil && e.run == j.Run() {
		err := e.mine(ctx)
		if !errors.Is(err, errNoGuard) {
			return true, func() {}, err
		}
		_, err = e.regain(ctx)
		return false, func() {}, err
	}
	holder, err := e.leaseHolder(ctx)
	switch {
	case err != nil:
		return false, nil, err
	case holder == "":
		head, _ := j.Header()
		if err := e.awaitFormer(ctx); err != nil {
			return false, nil, err
		}
		if err := e.hold(ctx, Transaction{Run: j.Run(), Who: head.Who}); err != nil {
			return false, nil, err
		}
		return false, e.giveBack, nil
	case runOf(holder) == j.Run():
		return true, func() {}, nil
	}
	return false, nil, &host.TakenError{Path: Lease, Holder: holder}
}

// committable says why the transaction must not be committed; nil it may.
func (e *Engine) committable(ctx context.Context, j *journal.Journal, alive bool) error {
	if !alive {
		return errors.New("the session that made it, or its guard, was lost before the commit")
	}
	if !j.Ready() {
		return errors.New("not all of its live part is in force")
	}
	head, _ := j.Header()
	mark, err := journal.BootMark(ctx, e.Host)
	if err != nil {
		return err
	}
	if mark != head.Boot {
		return errors.New("the host was booted before the commit")
	}
	return nil
}

// stillMine says whether the lease is held for run. A session that finds it
// free, the one that held it having ended, takes it to finish what is decided.
func (e *Engine) stillMine(ctx context.Context, run string) error {
	if e.release != nil && e.run == run {
		ours, err := e.regain(ctx)
		if err != nil || ours {
			return err
		}
	}
	holder, err := e.holderNow(ctx)
	switch {
	case err != nil:
		return err
	case runOf(holder) == run:
		return nil
	case holder == "" && e.release == nil:
		return e.hold(ctx, Transaction{Run: run})
	}
	return &host.TakenError{Path: Lease, Holder: holder}
}

// carryOut does what is left of a commit that is claimed. Where it cannot be done
// (a flag that nobody saw, a disk that fails) it is withdrawn, and undone whole,
// with what it has put in place already: the error is ErrUndone then, or an
// UndoError. Else the host would stay new in force and old at boot until somebody
// finds the cause. mine must let each operation pass; that it does not, or that
// the line is lost, says nothing of the commit.
func (e *Engine) carryOut(ctx context.Context, j *journal.Journal, mine func(context.Context) error, progress func(Event)) error {
	refused := false
	err := e.rename(ctx, j, func(ctx context.Context) error {
		err := mine(ctx)
		refused = refused || err != nil
		return err
	}, progress)
	var failed *StepError
	if refused || !errors.As(err, &failed) || errors.Is(err, host.ErrLost) || ctx.Err() != nil {
		return err
	}
	if werr := j.Withdraw(ctx); werr != nil {
		return errors.Join(err, werr)
	}
	_ = j.Note(ctx, fmt.Sprintf("the commit could not be carried out, and is undone: %v", err)) // for people
	if undo := e.undo(ctx, j, progress); undo != nil {
		return because(err, undo)
	}
	return fmt.Errorf("%w: its commit could not be carried out: %w", ErrUndone, err)
}

// rename puts the staged files in place, in plan order, and moves the journal
// to the history. A file that somebody has edited is left, and so is every
// step after it: what silences comes before what it silences, so none may be
// skipped over.
func (e *Engine) rename(ctx context.Context, j *journal.Journal, mine func(context.Context) error, progress func(Event)) error {
	emit := emitter(progress)
	var left LeftError
	for _, f := range j.Files() {
		if len(left.Left) > 0 {
			left.Left = append(left.Left, f.Step)
			e.discard(ctx, f)
			continue
		}
		emit("commit", f.Step, nil)
		for i, op := range f.Do {
			if err := mine(ctx); err != nil {
				return &StepError{Phase: "commit", Step: f.Step, Err: err}
			}
			if op.Kind == step.Notify {
				if err := e.notify(ctx, j, f.Step, op, emit); err != nil {
					return &StepError{Phase: "commit", Step: f.Step, Err: err}
				}
				continue
			}
			err := e.timed(ctx, fileTimeout, func(ctx context.Context) error { return e.put(ctx, op, f.Staged[i]) })
			if errors.Is(err, step.ErrChanged) {
				emit("commit", f.Step, err)
				left.Edited = append(left.Edited, op.Path)
				left.Left = append(left.Left, f.Step)
				e.discard(ctx, f)
				break
			}
			if err != nil {
				return &StepError{Phase: "commit", Step: f.Step, Err: err}
			}
		}
	}
	if len(left.Left) > 0 {
		if err := e.leaveOut(ctx, j, left.Left); err != nil {
			return &StepError{Phase: "commit", Step: ledgerStep, Err: err}
		}
		_ = j.Note(ctx, left.Error()) // best effort: the next check finds it anyway
	}
	if err := j.Settle(ctx); err != nil {
		return err
	}
	if len(left.Left) > 0 {
		return &left
	}
	return nil
}

// notify has a manager read a file that is in place now. That it does not is
// noted: the file holds at the next boot whoever knows of it. It is done again
// where the commit was interrupted.
func (e *Engine) notify(ctx context.Context, j *journal.Journal, id string, op step.Op, emit func(string, string, error)) error {
	limit := op.Timeout
	if limit == 0 {
		limit = host.DefaultTimeout
	}
	err := e.timed(ctx, limit, func(ctx context.Context) error { return op.Do(ctx, e.Host) })
	switch {
	case err == nil:
	case errors.Is(err, host.ErrLost):
		return err
	default:
		emit("notify", id, err)
		_ = j.Note(ctx, fmt.Sprintf("%s: %s: %v", id, op, err)) // best effort, as it is only for people
	}
	return nil
}

// put makes one boot operation so: the staged file is renamed, whatever has no
// file is done. Where the staged file is gone, it was renamed already, or its
// content comes from the journal.
func (e *Engine) put(ctx context.Context, op step.Op, staged string) error {
	done, err := op.Ready(ctx, e.Host)
	if err != nil {
		return err
	}
	if done {
		if staged != "" {
			return e.Host.Remove(ctx, staged)
		}
		return nil
	}
	if staged == "" {
		return op.Do(ctx, e.Host)
	}
	err = e.Host.Rename(ctx, staged, op.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return op.Do(ctx, e.Host)
	}
	return err
}

// discard removes what was staged for a step that is left.
func (e *Engine) discard(ctx context.Context, f journal.Record) {
	for _, tmp := range f.Staged {
		if tmp != "" {
			_ = e.Host.Remove(ctx, tmp) // a stray is swept by the next run
		}
	}
}

// verify checks the boot steps again, but for those that were left (nil: none).
func (e *Engine) verify(ctx context.Context, j *journal.Journal, left *LeftError, emit func(string, string, error)) error {
	if len(j.Files()) == 0 {
		return nil
	}
	emit("verify", "", nil)
	head, _ := j.Header()
	req, err := requestOf(head)
	if err != nil {
		return fmt.Errorf("verify: read what was asked for: %w", err)
	}
	r, _, err := e.look(ctx, req, Boot)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	var errs []error
	for _, i := range r.changes(Boot) {
		if left == nil || !slices.Contains(left.Left, i.Step) {
			errs = append(errs, &StepError{Phase: "verify", Step: i.Step, Err: &VerifyError{Step: i.Step, Diff: i.Change.Diff}})
		}
	}
	return errors.Join(errs...)
}
