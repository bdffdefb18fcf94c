// Package journal is the crash-safe undo log of a host's transactions, kept on
// the host with nothing but host.Host, so that it works without an agent too.
//
// A transaction that is open has a folder STATE/journal/RUN with numbered
// entries, each a file of its own that is durable before what it tells of
// begins, and one token, an empty file whose name says which way the
// transaction goes: "open", "commit" or "undo". To decide is to rename the
// token, which succeeds for one only. To settle is to move the folder to
// STATE/history. Neither needs space on the disk.
package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A Claim is which way a transaction goes.
type Claim string

// Open is undecided; the others are decided for good.
const (
	Open   Claim = "open"
	Commit Claim = "commit"
	Undo   Claim = "undo"
	// Withdrawn is a commit that could not be carried out: what it had put in
	// place for the next boot is undone too, with what is live.
	Withdrawn Claim = "withdrawn"
)

// A Journal is the log of one transaction.
type Journal struct {
	Entries []Entry
	Claim   Claim
	// Settled: it lies in the history.
	Settled bool

	h    host.Host
	root string // STATE
	dir  string
	run  string
}

// A Store is where the journals of a host lie: its state folder.
type Store struct {
	Host host.Host
	Root string // host.StateDir
}

func (s Store) open() string    { return path.Join(s.Root, "journal") }
func (s Store) history() string { return path.Join(s.Root, HistoryName) }

// HistoryName is the folder of settled journals in a Store's Root.
const HistoryName = "history"

// ValidRun says whether run can name a transaction: letters, digits and "-",
// at most 64.
func ValidRun(run string) bool {
	if run == "" || len(run) > 64 {
		return false
	}
	for _, c := range []byte(run) {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// mkdir makes dir and those above it, for root alone.
func mkdir(ctx context.Context, h host.Host, dir string) error {
	err := h.Write(ctx, dir, host.File{Mode: fs.ModeDir | 0o700})
	if errors.Is(err, fs.ErrNotExist) && dir != "/" {
		if err := mkdir(ctx, h, path.Dir(dir)); err != nil {
			return err
		}
		err = h.Write(ctx, dir, host.File{Mode: fs.ModeDir | 0o700})
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// list is ReadDir, where no folder is an empty one.
func list(ctx context.Context, h host.Host, dir string) ([]host.Entry, error) {
	entries, err := h.ReadDir(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// Unsettled lists the runs whose journals are open, by name.
func (s Store) Unsettled(ctx context.Context) ([]string, error) {
	entries, err := list(ctx, s.Host, s.open())
	if err != nil {
		return nil, fmt.Errorf("look for open journals: %w", err)
	}
	var runs []string
	for _, e := range entries {
		if e.Mode.IsDir() && ValidRun(e.Name) {
			runs = append(runs, e.Name)
		}
	}
	return runs, nil
}

// Create opens the journal of a new transaction. The lease is held.
func (s Store) Create(ctx context.Context, h Header) (*Journal, error) {
	if !ValidRun(h.Run) {
		return nil, fmt.Errorf("create journal: %q does not name a run", h.Run)
	}
	j := &Journal{h: s.Host, root: s.Root, dir: path.Join(s.open(), h.Run), run: h.Run, Claim: Open}
	make := func() error {
		if err := mkdir(ctx, s.Host, s.open()); err != nil {
			return err
		}
		if err := s.Host.Write(ctx, j.dir, host.File{Mode: fs.ModeDir | 0o700}); err != nil {
			return err
		}
		if err := s.Host.Write(ctx, path.Join(j.dir, string(Open)), host.File{Mode: 0o600}); err != nil {
			return err
		}
		return j.add(ctx, Entry{Kind: Begin, Header: &h})
	}
	if err := make(); err != nil {
		_ = j.Drop(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("create journal of run %s: %w", h.Run, err)
	}
	return j, nil
}

// Load reads the open journal of run; fs.ErrNotExist where there is none. An
// entry at the end that was not written whole is not there: what it would have
// told of had not begun.
func (s Store) Load(ctx context.Context, run string) (*Journal, error) {
	if !ValidRun(run) {
		return nil, fmt.Errorf("load journal: %q does not name a run", run)
	}
	j := &Journal{h: s.Host, root: s.Root, dir: path.Join(s.open(), run), run: run}
	return j, j.load(ctx, 0)
}

// Past finds the latest settled journal of run; fs.ErrNotExist where there is
// none.
func (s Store) Past(ctx context.Context, run string) (*Journal, error) {
	names, err := s.past(ctx, run)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("journal of run %s: %w", run, fs.ErrNotExist)
	}
	j := &Journal{h: s.Host, root: s.Root, dir: path.Join(s.history(), names[len(names)-1]), run: run, Settled: true}
	return j, j.load(ctx, 0)
}

// past lists the settled journals of run, RUN.1 first.
func (s Store) past(ctx context.Context, run string) ([]string, error) {
	entries, err := list(ctx, s.Host, s.history())
	if err != nil {
		return nil, fmt.Errorf("look at history: %w", err)
	}
	var names []string
	for _, e := range entries {
		if n := number(run, e.Name); n > 0 {
			names = append(names, e.Name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return number(run, a) - number(run, b) })
	return names, nil
}

// number gives N of RUN.N, 0 for any other name.
func number(run, name string) int {
	rest, ok := strings.CutPrefix(name, run+".")
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < 1 {
		return 0
	}
	return n
}

// load reads the entries, no more than most of them; 0: all.
func (j *Journal) load(ctx context.Context, most int) error {
	names, err := j.h.ReadDir(ctx, j.dir)
	if err != nil {
		return fmt.Errorf("load journal of run %s: %w", j.run, err)
	}
	has := map[string]bool{}
	for _, e := range names {
		has[e.Name] = true
	}
	j.Claim = Open
	for _, c := range []Claim{Undo, Commit, Withdrawn} {
		if has[string(c)] {
			j.Claim = c
		}
	}
	j.Entries = nil
	for seq := 1; has[entryName(seq)] && (most == 0 || seq <= most); seq++ {
		f, err := j.h.ReadFile(ctx, path.Join(j.dir, entryName(seq)))
		if err != nil {
			return fmt.Errorf("load journal of run %s: %w", j.run, err)
		}
		e, err := decode(seq, f.Data)
		if errors.Is(err, errTorn) && !has[entryName(seq+1)] {
			break
		}
		if err != nil {
			return fmt.Errorf("load journal of run %s: entry %d of %s: %w", j.run, seq, j.dir, err)
		}
		j.Entries = append(j.Entries, e)
	}
	return nil
}

func entryName(seq int) string { return fmt.Sprintf("%06d", seq) }

// add appends e, durably.
func (j *Journal) add(ctx context.Context, e Entry) error {
	e.Time = time.Now().UTC()
	seq := len(j.Entries) + 1
	data, err := encode(seq, e)
	if err != nil {
		return err
	}
	name := path.Join(j.dir, entryName(seq))
	err = j.h.Write(ctx, name, host.File{Mode: 0o600, Data: data})
	if errors.Is(err, fs.ErrExist) { // torn by whoever was interrupted
		if err = j.h.Remove(ctx, name); err == nil {
			err = j.h.Write(ctx, name, host.File{Mode: 0o600, Data: data})
		}
	}
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.Entries = append(j.Entries, e)
	return nil
}

// Run names the transaction's run.
func (j *Journal) Run() string { return j.run }

// Header is what Create was given; false where the journal ends before it:
// then nothing at all was done.
func (j *Journal) Header() (Header, bool) {
	if len(j.Entries) == 0 || j.Entries[0].Header == nil {
		return Header{}, false
	}
	return *j.Entries[0].Header, true
}

// Since is when the transaction began.
func (j *Journal) Since() time.Time {
	if len(j.Entries) == 0 {
		return time.Time{}
	}
	return j.Entries[0].Time
}

// Files is what was, or was about to be, staged.
func (j *Journal) Files() []Record {
	var files []Record
	for _, e := range j.Entries {
		files = append(files, e.Files...)
	}
	return files
}

// Steps is every live step that was, or was about to be, done, in order.
func (j *Journal) Steps() []Record {
	var steps []Record
	for _, e := range j.Entries {
		if e.Step != nil {
			steps = append(steps, *e.Step)
		}
	}
	return steps
}

// Ready says whether every live step was done and verified.
func (j *Journal) Ready() bool {
	return slices.ContainsFunc(j.Entries, func(e Entry) bool { return e.Kind == Ready })
}

// Stage records the files that are about to be staged.
func (j *Journal) Stage(ctx context.Context, files []Record) error {
	return j.add(ctx, Entry{Kind: Stage, Files: files})
}

// Live records a step that is about to be done.
func (j *Journal) Live(ctx context.Context, name string, c step.Change) error {
	return j.add(ctx, Entry{Kind: Live, Step: &Record{Step: name, Do: c.Do, Undo: c.Undo, Was: c.Was, Want: c.Want, Effects: c.Effects}})
}

// MarkReady records that every live step is in force.
func (j *Journal) MarkReady(ctx context.Context) error { return j.add(ctx, Entry{Kind: Ready}) }

// Note records a sentence for people.
func (j *Journal) Note(ctx context.Context, text string) error {
	return j.add(ctx, Entry{Kind: Note, Text: text})
}
