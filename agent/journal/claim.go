package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Decide claims the transaction for want, in one atomic rename, and returns
// the claim that holds: of several who try, the first has decided for all.
func (j *Journal) Decide(ctx context.Context, want Claim) (Claim, error) {
	if j.Claim != Open {
		return j.Claim, nil
	}
	token := func(c Claim) string { return path.Join(j.dir, string(c)) }
	err := j.h.Rename(ctx, token(Open), token(want))
	if err == nil {
		j.Claim = want
		return want, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Open, fmt.Errorf("decide run %s: %w", j.run, err)
	}
	entries, err := j.h.ReadDir(ctx, j.dir)
	if err != nil {
		return Open, fmt.Errorf("decide run %s: %w", j.run, err)
	}
	for _, e := range entries {
		if c := Claim(e.Name); c == Commit || c == Undo || c == Withdrawn {
			j.Claim = c
			return c, nil
		}
	}
	// No token at all: the journal was cut off before it had one, when
	// nothing had been done.
	if want == Commit {
		return Open, fmt.Errorf("decide run %s: its journal is not complete", j.run)
	}
	if err := j.h.Write(ctx, token(Undo), host.File{Mode: 0o600}); err != nil {
		return Open, fmt.Errorf("decide run %s: %w", j.run, err)
	}
	j.Claim = Undo
	return Undo, nil
}

// Withdraw takes a commit back that cannot be carried out, in one atomic rename:
// from here on all of it is to be undone, whoever comes to it. That somebody else
// has done so is no error.
func (j *Journal) Withdraw(ctx context.Context) error {
	err := j.h.Rename(ctx, path.Join(j.dir, string(Commit)), path.Join(j.dir, string(Withdrawn)))
	if errors.Is(err, fs.ErrNotExist) {
		_, err = j.h.ReadFile(ctx, path.Join(j.dir, string(Withdrawn)))
	}
	if err != nil {
		return fmt.Errorf("withdraw the commit of run %s: %w", j.run, err)
	}
	j.Claim = Withdrawn
	return nil
}

// Stands says whether the commit is still claimed: nobody has withdrawn it, nor
// carried it out and settled it.
func (j *Journal) Stands(ctx context.Context) (bool, error) {
	_, err := j.h.ReadFile(ctx, path.Join(j.dir, string(Commit)))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the claim of run %s: %w", j.run, err)
	}
	return true, nil
}

// Settle moves the journal to the history: what was decided has been done.
// That somebody else has moved it already is no error.
func (j *Journal) Settle(ctx context.Context) error {
	if j.Settled {
		return nil
	}
	s := Store{Host: j.h, Root: j.root}
	if err := mkdir(ctx, j.h, s.history()); err != nil {
		return fmt.Errorf("settle run %s: %w", j.run, err)
	}
	names, err := s.past(ctx, j.run)
	if err != nil {
		return fmt.Errorf("settle run %s: %w", j.run, err)
	}
	next := 1
	if len(names) > 0 {
		next = number(j.run, names[len(names)-1]) + 1
	}
	to := path.Join(s.history(), fmt.Sprintf("%s.%d", j.run, next))
	if err := j.h.Rename(ctx, j.dir, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("settle run %s: %w", j.run, err)
	}
	j.dir, j.Settled = to, true
	return nil
}

// Drop removes the journal of a transaction that did nothing. The token goes
// last: until then it can be dropped again.
func (j *Journal) Drop(ctx context.Context) error {
	entries, err := list(ctx, j.h, j.dir)
	if err != nil {
		return fmt.Errorf("drop journal of run %s: %w", j.run, err)
	}
	// From the last to the first: a journal without its head would be torn in
	// the middle.
	var tokens []string
	for i := len(entries) - 1; i >= 0; i-- {
		name := entries[i].Name
		if c := Claim(name); c == Open || c == Undo || c == Commit || c == Withdrawn {
			tokens = append(tokens, name)
			continue
		}
		if err := j.h.Remove(ctx, path.Join(j.dir, name)); err != nil {
			return fmt.Errorf("drop journal of run %s: %w", j.run, err)
		}
	}
	for _, name := range tokens {
		if err := j.h.Remove(ctx, path.Join(j.dir, name)); err != nil {
			return fmt.Errorf("drop journal of run %s: %w", j.run, err)
		}
	}
	if err := j.h.Remove(ctx, j.dir); err != nil {
		return fmt.Errorf("drop journal of run %s: %w", j.run, err)
	}
	return nil
}
