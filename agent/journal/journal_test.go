package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

const root = "/var/lib/lvsfleet"

func newMachine() *sim.Machine {
	m := &sim.Machine{FS: sim.NewFS(), Net: sim.NewNet(), Boot: func(*sim.Machine) {}}
	m.FS.MkdirAll("/var/lib")
	m.FS.MkdirAll("/var/run")
	return m
}

func store(m *sim.Machine) journal.Store { return journal.Store{Host: m, Root: root} }

func header(run string) journal.Header {
	return journal.Header{Run: run, Who: "op@controller", Boot: "b", Desired: json.RawMessage(`{"host":"rs1"}`)}
}

func change(n int) step.Change {
	op := func(verb string) []step.Op {
		return []step.Op{{Kind: step.Run, Argv: []string{verb, fmt.Sprint(n)}, If: []step.Cond{{Argv: []string{"x"}, Match: "^y$"}}}}
	}
	return step.Change{Diff: "not kept", Do: op("do"), Undo: op("undo")}
}

// fill writes every kind of entry.
func fill(t *testing.T, m *sim.Machine, run string) *journal.Journal {
	t.Helper()
	j, err := store(m).Create(t.Context(), header(run))
	if err != nil {
		t.Fatal(err)
	}
	file := host.File{Mode: 0o644, Data: []byte("\x00\xff\n")}
	for _, err := range []error{
		j.Stage(t.Context(), []journal.Record{{
			Step: "file:/etc/x", Do: []step.Op{{Kind: step.Write, Path: "/etc/x", File: &file, Expect: step.Absent}},
			Undo: []step.Op{{Kind: step.Remove, Path: "/etc/x"}}, Staged: []string{"/etc/.lvsfleet-00000000.tmp"},
		}}),
		j.Live(t.Context(), "one", change(1)),
		j.Live(t.Context(), "two", change(2)),
		j.MarkReady(t.Context()),
		j.Note(t.Context(), "a note"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return j
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	m := newMachine()
	j := fill(t, m, "r1")
	got, err := store(m).Load(t.Context(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(j.Entries, got.Entries); diff != "" {
		t.Error(diff)
	}
	if h, ok := got.Header(); !ok || h.Run != "r1" || string(h.Desired) != `{"host":"rs1"}` {
		t.Errorf("header: %+v", h)
	}
	if len(got.Steps()) != 2 || len(got.Files()) != 1 || !got.Ready() || got.Claim != journal.Open || got.Run() != "r1" {
		t.Errorf("journal: %+v", got)
	}
	runs, err := store(m).Unsettled(t.Context())
	if err != nil || !cmp.Equal(runs, []string{"r1"}) {
		t.Errorf("unsettled: %v %v", runs, err)
	}
}

// Cut the write of the last entry after each of its bytes: what is read is
// what was there before, and the journal goes on from there.
func TestATornEntryIsNotThere(t *testing.T) {
	m := newMachine()
	want := fill(t, m, "r1").Entries
	for n := len(want); n >= 1; n-- {
		name := fmt.Sprintf("%s/journal/r1/%06d", root, n)
		whole, err := m.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for cut := range whole.Data {
			m.FS.Put(name, 0o600, string(whole.Data[:cut]))
			j, err := store(m).Load(t.Context(), "r1")
			if err != nil {
				t.Fatalf("entry %d cut at %d: %v", n, cut, err)
			}
			if diff := cmp.Diff(want[:n-1], j.Entries, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("entry %d cut at %d: %s", n, cut, diff)
			}
			if cut%97 == 0 && n > 1 { // somebody settles it, and writes on
				if err := j.Note(t.Context(), "settled"); err != nil {
					t.Fatalf("entry %d cut at %d: go on: %v", n, cut, err)
				}
				again, err := store(m).Load(t.Context(), "r1")
				if err != nil || len(again.Entries) != n || again.Entries[n-1].Text != "settled" {
					t.Fatalf("entry %d cut at %d: after going on: %+v %v", n, cut, again, err)
				}
			}
		}
		if err := m.FS.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFlippedBitInTheMiddleIsAnError(t *testing.T) {
	m := newMachine()
	fill(t, m, "r1")
	name := root + "/journal/r1/000002"
	whole, err := m.FS.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole.Data {
		bad := append([]byte(nil), whole.Data...)
		bad[i] ^= 0x10
		m.FS.Put(name, 0o600, string(bad))
		if _, err := store(m).Load(t.Context(), "r1"); err == nil {
			t.Fatalf("a flipped bit in byte %d went unseen", i)
		}
	}
}

// Two that were started at once: the first to decide has decided for both.
func TestOnlyOneDecides(t *testing.T) {
	for _, first := range []journal.Claim{journal.Commit, journal.Undo} {
		m := newMachine()
		fill(t, m, "r1")
		a, err := store(m).Load(t.Context(), "r1")
		if err != nil {
			t.Fatal(err)
		}
		b, err := store(m).Load(t.Context(), "r1")
		if err != nil {
			t.Fatal(err)
		}
		other := journal.Commit
		if first == journal.Commit {
			other = journal.Undo
		}
		if got, err := a.Decide(t.Context(), first); got != first || err != nil {
			t.Errorf("the first decides %s: %s %v", first, got, err)
		}
		if got, err := b.Decide(t.Context(), other); got != first || err != nil {
			t.Errorf("the second finds %s: %s %v", first, got, err)
		}
		c, err := store(m).Load(t.Context(), "r1")
		if err != nil || c.Claim != first {
			t.Errorf("whoever comes later finds %s: %s %v", first, c.Claim, err)
		}
		for _, j := range []*journal.Journal{a, b, c} {
			if err := j.Settle(t.Context()); err != nil {
				t.Errorf("settle: %v", err)
			}
		}
		if runs, err := store(m).Unsettled(t.Context()); err != nil || len(runs) > 0 {
			t.Errorf("unsettled: %v %v", runs, err)
		}
		past, err := store(m).Past(t.Context(), "r1")
		if err != nil || past.Claim != first || len(past.Entries) != 6 {
			t.Errorf("past: %+v %v", past, err)
		}
	}
}

func TestARunMayHaveSeveralTransactions(t *testing.T) {
	m := newMachine()
	for i := 1; i <= 12; i++ {
		j := fill(t, m, "r1")
		if err := j.Note(t.Context(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		if err := j.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		past, err := store(m).Past(t.Context(), "r1")
		if err != nil || past.Entries[len(past.Entries)-1].Text != fmt.Sprint(i) {
			t.Errorf("the latest is not number %d: %v", i, err)
		}
	}
	if _, err := store(m).Past(t.Context(), "r"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another run: %v", err)
	}
}

// Dropping is struck at each of its removals; what is left can be dropped.
func TestDropCanBeInterrupted(t *testing.T) {
	for at := 1; ; at++ {
		m := newMachine()
		j := fill(t, m, "r1")
		n := 0
		m.Watch = func(a sim.Access) error {
			if a.Op == "remove" {
				if n++; n == at {
					return errors.New("struck")
				}
			}
			return nil
		}
		err := j.Drop(t.Context())
		m.Watch = nil
		if err == nil {
			return
		}
		again, err := store(m).Load(t.Context(), "r1")
		if err != nil {
			t.Fatalf("struck at %d: %v", at, err)
		}
		if err := again.Drop(t.Context()); err != nil {
			t.Errorf("struck at %d: %v", at, err)
		}
		if runs, err := store(m).Unsettled(t.Context()); err != nil || len(runs) > 0 {
			t.Errorf("struck at %d: unsettled: %v %v", at, runs, err)
		}
	}
}

func TestBootMark(t *testing.T) {
	m := newMachine()
	if mark, err := journal.BootMark(t.Context(), m); mark != "" || err != nil {
		t.Errorf("before it is made: %q %v", mark, err)
	}
	first, err := journal.MarkBoot(t.Context(), m)
	if err != nil || len(first) != 32 {
		t.Fatalf("%q %v", first, err)
	}
	if again, err := journal.MarkBoot(t.Context(), m); again != first || err != nil {
		t.Errorf("in one boot: %q, then %q %v", first, again, err)
	}
	m.PowerCycle()
	if mark, err := journal.BootMark(t.Context(), m); mark != "" || err != nil {
		t.Errorf("after a boot: %q %v", mark, err)
	}
	if second, err := journal.MarkBoot(t.Context(), m); second == first || err != nil {
		t.Errorf("two boots with one mark: %q %v", second, err)
	}
	m.FS.Put("/var/run/lvsfleet/boot", 0o600, "torn")
	if mark, err := journal.BootMark(t.Context(), m); mark != "" || err != nil {
		t.Errorf("a torn mark: %q %v", mark, err)
	}
}

func TestNamesOfRuns(t *testing.T) {
	for run, want := range map[string]bool{
		"20061203T101500Z-a1b2c3": true, "r": true,
		"": false, ".": false, "..": false, "a/b": false, "r.1": false, "a b": false, "ä": false,
	} {
		if got := journal.ValidRun(run); got != want {
			t.Errorf("%q: %v", run, got)
		}
	}
	m := newMachine()
	if _, err := store(m).Load(t.Context(), "../journal"); err == nil {
		t.Error("a path was taken as a run")
	}
	if _, err := store(m).Load(t.Context(), "r1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a run that never was: %v", err)
	}
}
