package agent

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/providers"
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

// A planned is a plan, and what is known with it.
type planned struct {
	plan step.Plan
	id   host.Identity
	on   host.Host       // what its steps are to be checked on
	gone map[string]bool // its steps about what is not wanted any more
	// removes: what lvsfleet once made here, and is not wanted any more, has a
	// part in it.
	removes bool
	// inherited is the ledger where it was made for just what is asked now; nil:
	// it was not.
	inherited *ledger.Ledger
}

func changeOf(i Item) ledger.Change {
	return ledger.Change{Step: i.Step, Boot: i.Layer == Boot, Gone: i.Gone, Change: i.Change}
}

// planFor plans what is asked for.
func (e *Engine) planFor(ctx context.Context, h host.Host, req Request) (planned, error) {
	want := req.Desired
	switch {
	case req.Kind == Revert:
		plan, err := e.planBack(ctx, h, req)
		return planned{plan: plan, id: e.id, on: h}, err
	case req.Kind == Converge && req.Partial:
		plan, id, err := e.Plan(ctx, h, want)
		return planned{plan: plan, id: id, on: h}, err
	}
	p := planned{on: h}
	var err error
	if req.Kind == Converge {
		p.id, err = host.Identify(ctx, h) // the planner compares it
	} else {
		p.id, err = providers.Identify(ctx, h, want, req.Kind == Remove || req.Kind == ReleaseVIPs)
	}
	if err != nil {
		return p, err
	}
	if req.Kind == Withdraw {
		p.plan, err = providers.Withdraw(ctx, h, want, req.Entries)
		return p, err
	}
	b, err := e.readBook(ctx, h)
	if err != nil {
		return p, err
	}
	if req.Kind == ReleaseVIPs {
		p.plan, p.gone = b.Release(req.VIPs)
		return p, nil
	}
	sys := providers.SystemOf(p.id.OS)
	shrinks := b.Shrinks(want)
	p.removes = shrinks || b.Serves(want, sys)
	if req.Kind == Converge {
		bare := h
		if !b.Empty() {
			bare = ledger.Bare{Host: h, Ledger: b.Ledger, System: sys, Asis: !shrinks}
		}
		if p.plan, p.id, err = e.Plan(ctx, bare, want); err != nil {
			return p, err
		}
	}
	if req.Kind == Converge && !shrinks && !b.Empty() && b.Asked(want) {
		p.inherited = &b.Ledger
	}
	if shrinks {
		p.plan, p.gone = b.Complete(sys, p.plan, want)
		p.on = ledger.Keeper{Host: h, Ledger: b.Ledger}
	}
	return p, nil
}

// next gives the ledger after the report's changes, and the change of its file.
func (b book) next(path string, req Request, r Report) (book, step.Change, error) {
	var changes []ledger.Change
	for _, i := range r.Items {
		if !i.Change.Holds() || i.Gone {
			changes = append(changes, changeOf(i))
		}
	}
	n := book{b.Next(providers.SystemOf(r.Identity.OS), req.Desired, req.whole(), changes), step.Absent}
	if req.Kind == Converge {
		var ids []string
		for _, i := range r.Items {
			if !i.Gone {
				ids = append(ids, i.Step)
			}
		}
		n.Ledger = n.Planned(req.Desired, ids, req.whole())
	}
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
