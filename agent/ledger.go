package agent

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ledger"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// ledgerStep is what the ledger is called in a journal.
const ledgerStep = "ledger"

// A book is the host's ledger as a transaction finds it, or leaves it.
type book struct {
	ledger.Ledger
	sum step.Sum // of its file
}

// readBook reads the ledger; h may be a cache of the host.
func (e *Engine) readBook(ctx context.Context, h host.Host) (book, error) {
	root := e.Root
	if root == "" {
		id, err := host.Identify(ctx, h)
		if err != nil {
			return book{}, err
		}
		root = host.StateDir(id.OS)
	}
	l, sum, err := ledger.Read(ctx, h, root)
	return book{l, sum}, err
}

// planWhole plans what the host must be. Where that is all that is wanted of
// it, what lvsfleet made there for anything else is to go: gone names those
// steps. The steps are to be checked on the host that is returned.
func (e *Engine) planWhole(ctx context.Context, h host.Host, want inventory.Desired, r *Report) (plan step.Plan, on host.Host, gone map[string]bool, err error) {
	var b book
	if want.Whole || len(want.Yields) > 0 {
		if b, err = e.readBook(ctx, h); err != nil {
			return step.Plan{}, nil, nil, err
		}
	}
	bare, shrinks := h, b.Shrinks(want)
	if !b.Empty() {
		bare = ledger.Bare{Host: h, Ledger: b.Ledger, Asis: !shrinks}
	}
	if plan, r.Identity, err = e.Plan(ctx, bare, want); err != nil {
		return step.Plan{}, nil, nil, err
	}
	if len(want.Yields) > 0 {
		plan, gone = b.Yield(want.Yields)
		return plan, h, gone, nil
	}
	on, r.Removes = h, shrinks || b.Serves(want)
	if shrinks {
		plan, gone = b.Complete(plan, want)
		on = ledger.Keeper{Host: h, Ledger: b.Ledger}
	}
	return plan, on, gone, nil
}

// next gives the ledger after the report's changes, and the change of its file.
func (b book) next(path string, want inventory.Desired, r Report) (book, step.Change, error) {
	var changes []ledger.Change
	for _, i := range r.Items {
		if !i.Change.Holds() || i.Gone {
			changes = append(changes, ledger.Change{Step: i.Step, Boot: i.Layer == Boot, Gone: i.Gone, Change: i.Change})
		}
	}
	n := book{b.Next(want, changes), step.Absent}
	before, err := b.File()
	if err != nil {
		return book{}, step.Change{}, err
	}
	after, err := n.File()
	if err != nil {
		return book{}, step.Change{}, err
	}
	back := step.Op{Kind: step.Remove, Path: path}
	if before != nil {
		back = step.Op{Kind: step.Write, Path: path, File: before}
	}
	do := step.Op{Kind: step.Remove, Path: path, Expect: b.sum}
	if after != nil {
		n.sum = step.SumOf(*after)
		do = step.Op{Kind: step.Write, Path: path, File: after, Expect: b.sum}
	}
	back.Expect = n.sum
	if before == nil && after == nil || before != nil && after != nil && bytes.Equal(before.Data, after.Data) {
		return n, step.Change{}, nil
	}
	return n, step.Change{Do: []step.Op{do}, Undo: []step.Op{back}}, nil
}

// leaveOut has the ledger, which is in place, say of the steps that were left
// what it said before, so that the next check finds what they were to take
// away.
func (e *Engine) leaveOut(ctx context.Context, j *journal.Journal, left []string) error {
	var before, after *host.File
	at, found := "", false
	var paths []string
	for _, f := range j.Files() {
		switch {
		case f.Step == ledgerStep && len(f.Do) == 1 && len(f.Undo) == 1:
			if !found {
				before = f.Undo[0].File
			}
			found, at, after = true, f.Do[0].Path, f.Do[0].File
		case slices.Contains(left, f.Step):
			for _, o := range f.Do {
				paths = append(paths, o.Path)
			}
		}
	}
	if !found || slices.Contains(left, ledgerStep) {
		return nil
	}
	old, err := ledger.Decode(before)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	now, err := ledger.Decode(after)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	f, err := now.Without(old, paths).File()
	if err != nil {
		return err
	}
	if f == nil {
		return e.Host.Remove(ctx, at)
	}
	return host.Replace(ctx, e.Host, at, *f)
}
