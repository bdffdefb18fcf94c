package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ledger"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Begin takes the lease, settles, checks and stages.
func (e *Engine) Begin(ctx context.Context, tx Transaction, progress func(Event)) (Begun, error) {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return Begun{}, err
	}
	defer leave()
	if !journal.ValidRun(tx.Run) {
		return Begun{}, fmt.Errorf("%q does not name a run", tx.Run)
	}
	if err := tx.Request.valid(); err != nil {
		return Begun{}, err
	}
	if tx.Request.Kind == Revert {
		tx.Undoes = tx.Request.Of
	}
	emit := emitter(progress)
	emit("lease", "", nil)
	if err := e.lease(ctx, tx); err != nil {
		return Begun{}, err
	}
	b, err := e.begin(ctx, tx, progress)
	if err != nil {
		e.giveBack()
		return Begun{}, err
	}
	return b, nil
}

func (e *Engine) begin(ctx context.Context, tx Transaction, progress func(Event)) (Begun, error) {
	if tx.Continues {
		return e.proceed(ctx, tx, progress)
	}
	emit := emitter(progress)
	e.tx = nil
	settled, err := e.settle(ctx, tx.Run, progress)
	if err != nil {
		return Begun{}, err
	}
	emit("check", "", nil)
	report, plan, err := e.look(ctx, tx.Request, Live, Boot)
	if err != nil {
		return Begun{}, err
	}
	if tx.Approved != "" && Fingerprint(report) != tx.Approved {
		return Begun{}, ErrNotApproved
	}
	if err := e.sweep(ctx, report.changes(Boot)); err != nil {
		return Begun{}, err
	}
	t := &open{Transaction: tx, report: report, plan: plan}
	if Differs(report) {
		if err = e.stage(ctx, t, emit); err != nil {
			undoCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
			defer cancel()
			if undo := e.settleRun(undoCtx, tx.Run, progress); undo != nil {
				return Begun{}, because(err, undo)
			}
			return Begun{}, err
		}
	}
	e.tx = t
	return begun(report, settled), nil
}

// stage opens the journal of t and writes every file beside its target.
func (e *Engine) stage(ctx context.Context, t *open, emit func(string, string, error)) error {
	store, err := e.store(ctx)
	if err != nil {
		return err
	}
	if t.book, err = e.readBook(ctx, e.Host); err != nil {
		return err
	}
	request, err := json.Marshal(t.Request)
	if err != nil {
		return fmt.Errorf("encode what is asked for: %w", err)
	}
	mark, err := journal.MarkBoot(ctx, e.Host)
	if err != nil {
		return err
	}
	head := journal.Header{Run: t.Run, Who: t.Who, Boot: mark, Request: request, Stage: string(t.Stage), Undoes: t.Undoes}
	j, err := store.Create(ctx, head)
	if err != nil {
		return err
	}
	t.journal = j
	return e.stageMore(ctx, t, emit)
}

// stageMore stages what t adds to its journal, the ledger first: what is not
// in it lvsfleet would never find again.
func (e *Engine) stageMore(ctx context.Context, t *open, emit func(string, string, error)) error {
	store, err := e.store(ctx)
	if err != nil {
		return err
	}
	items := t.report.changes(Boot)
	// What takes a run back has the ledger's own way back among its steps, and
	// what is drained for it is nothing new.
	if t.Undoes == "" {
		next, change, err := t.book.next(ledger.Path(store.Root), t.Request, t.report)
		if err != nil {
			return err
		}
		if t.book = next; !change.Holds() {
			items = slices.Insert(items, 0, Item{Step: ledgerStep, Layer: Boot, Change: change})
		}
	}
	if err := e.stageFiles(ctx, t.journal, items, emit); err != nil {
		return err
	}
	return saveScripts(ctx, t.journal, t.report)
}

// saveScripts writes what a person, or a guard without an agent, undoes by:
// beside what is in force already, every live step that is to come.
func saveScripts(ctx context.Context, j *journal.Journal, r Report) error {
	live := j.Steps()
	for _, i := range r.changes(Live) {
		live = append(live, journal.Record{Step: i.Step, Do: i.Change.Do, Undo: i.Change.Undo})
	}
	return j.SaveScripts(ctx, live)
}

// stageFiles writes every file of the items beside its target, journaled
// first.
func (e *Engine) stageFiles(ctx context.Context, j *journal.Journal, items []Item, emit func(string, string, error)) error {
	files := plotStage(items)
	if err := j.Stage(ctx, files); err != nil {
		return err
	}
	for _, f := range files {
		emit("stage", f.Step, nil)
		for i, op := range f.Do {
			if f.Staged[i] == "" {
				if err := e.unobstructed(ctx, f.Step, op, ""); err != nil {
					return err
				}
				continue
			}
			err := e.timed(ctx, fileTimeout, func(ctx context.Context) error {
				return e.Host.Write(ctx, f.Staged[i], *op.File)
			})
			if err != nil {
				return &StepError{Phase: "stage", Step: f.Step, Err: fmt.Errorf("stage %s: %w", op.Path, err)}
			}
			if err := e.unobstructed(ctx, f.Step, op, f.Staged[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// unobstructed refuses a file that could be staged, but would not be replaced or
// removed: a commit that is claimed must not find that out.
func (e *Engine) unobstructed(ctx context.Context, id string, op step.Op, staged string) error {
	o, ok := host.As[host.Obstacles](e.Host)
	folder := op.File != nil && op.File.Mode.IsDir()
	if !ok || folder || op.Kind != step.Write && op.Kind != step.Remove || staged != "" && path.Dir(staged) != path.Dir(op.Path) {
		return nil // what lies in a folder that is to be made is not there
	}
	found, is, err := o.Obstacle(ctx, staged, op.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && is {
		err = step.Refuse(found.Cure, "%s cannot be replaced: %s", op.Path, found.What)
	} else if err != nil {
		err = fmt.Errorf("look whether %s can be replaced: %w", op.Path, err)
	}
	if err != nil {
		return &StepError{Phase: "stage", Step: id, Err: err}
	}
	return nil
}

// plotStage gives each file its temporary name: beside its target, or, where
// that folder is itself to be made, in the nearest one that is there, which is
// of the same file system.
func plotStage(items []Item) []journal.Record {
	made := map[string]bool{}
	for _, i := range items {
		for _, op := range i.Change.Do {
			if op.Kind == step.Write && op.File.Mode.IsDir() {
				made[op.Path] = true
			}
		}
	}
	var files []journal.Record
	for _, i := range items {
		rec := journal.Record{Step: i.Step, Do: i.Change.Do, Undo: i.Change.Undo, Staged: make([]string, len(i.Change.Do))}
		for k, op := range i.Change.Do {
			if !stageable(op) {
				continue
			}
			target := op.Path
			for made[path.Dir(target)] {
				target = path.Dir(target)
			}
			rec.Staged[k] = host.TempName(target)
		}
		files = append(files, rec)
	}
	return files
}

// sweep removes temporary files that a run which was cut off left beside what
// is about to be written. The lease is held, so they are nobody's.
func (e *Engine) sweep(ctx context.Context, items []Item) error {
	store, err := e.store(ctx)
	if err != nil {
		return err
	}
	folders := map[string]bool{host.RunDir: true, store.Root: true}
	for _, i := range items {
		for _, op := range i.Change.Do {
			if op.Path != "" {
				folders[path.Dir(op.Path)] = true
			}
		}
	}
	for dir := range folders {
		entries, err := e.Host.ReadDir(ctx, dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look for strays in %s: %w", dir, err)
		}
		for _, f := range entries {
			if !host.IsTemp(f.Name) {
				continue
			}
			if err := e.Host.Remove(ctx, path.Join(dir, f.Name)); err != nil {
				return fmt.Errorf("remove stray: %w", err)
			}
		}
	}
	return nil
}

// timed bounds f.
func (e *Engine) timed(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}

// because gives an incomplete undo its cause.
func because(cause, undo error) error {
	var u *UndoError
	if !errors.As(undo, &u) {
		return &UndoError{Cause: cause, Failed: []string{undo.Error()}}
	}
	return &UndoError{Cause: cause, Failed: u.Failed}
}

// sentence joins what was settled.
func sentence(parts []string) string { return strings.Join(parts, "; ") }
