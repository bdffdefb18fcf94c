package journal

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// A Settled is a settled journal as the history lists it.
type Settled struct {
	Name  string // RUN.N
	Run   string
	Claim Claim
	Time  time.Time // when it began, by the clock of whoever wrote it
	Header
}

// second is the part of a run's name that sorts by time, as the fleet names
// them: 20061203T101500Z. Two of one second are told apart by their times.
func second(run string) string { return run[:min(len(run), len("20061203T101500Z"))] }

// Since lists the settled journals of run, and those of runs of that time or
// later, the oldest first. Only their headers are read.
func (s Store) Since(ctx context.Context, run string) ([]Settled, error) {
	entries, err := list(ctx, s.Host, s.history())
	if err != nil {
		return nil, fmt.Errorf("look at history: %w", err)
	}
	var found []Settled
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name, ".")
		if number(name, e.Name) == 0 || second(name) < second(run) {
			continue
		}
		j := &Journal{h: s.Host, root: s.Root, dir: path.Join(s.history(), e.Name), run: name, Settled: true}
		if err := j.load(ctx, 1); err != nil {
			return nil, err
		}
		if h, ok := j.Header(); ok {
			found = append(found, Settled{Name: e.Name, Run: name, Claim: j.Claim, Time: j.Since(), Header: h})
		}
	}
	slices.SortFunc(found, func(a, b Settled) int {
		if a.Run == b.Run {
			return number(a.Run, a.Name) - number(b.Run, b.Name)
		}
		return cmp.Or(strings.Compare(second(a.Run), second(b.Run)), a.Time.Compare(b.Time))
	})
	return found, nil
}

// Read reads the whole of it.
func (s Store) Read(ctx context.Context, p Settled) (*Journal, error) {
	j := &Journal{h: s.Host, root: s.Root, dir: path.Join(s.history(), p.Name), run: p.Run, Settled: true}
	return j, j.load(ctx, 0)
}
