package agent_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// checkRevert looks at the way back from a run.
func checkRevert(t *testing.T, m *sim.Machine, run string) (agent.Report, error) {
	t.Helper()
	e := engineOn(m.NewSession())
	r, err := e.Check(t.Context(), agent.ToRevert(inventory.Desired{OS: inventory.Linux}, run, agent.Reverts{}))
	return r, errors.Join(err, e.Close())
}

func TestARunIsTakenBack(t *testing.T) {
	for _, boot := range []bool{false, true} {
		m := newMachine()
		before := look(m)
		if _, err := converge(t, m, "r1"); err != nil {
			t.Fatal(err)
		}
		after := look(m)
		if boot {
			m.PowerCycle() // settings go with it here; files stay
		}
		r, err := checkRevert(t, m, "r1")
		if err != nil {
			t.Fatal(err)
		}
		// The last is the ledger.
		if !agent.Differs(r) || len(r.Items) != 10 || r.Items[0].Step != "sysctl:c" || r.Items[8].Step != "file:/etc/one.conf" {
			t.Errorf("report: %+v", r)
		}
		if settings := !r.Items[0].Change.Holds(); settings == boot {
			t.Errorf("rebooted: %v, settings to be taken back: %v", boot, settings)
		}
		if r, err = transact(t, m, back("r2", "r1")); err != nil || !agent.Differs(r) {
			t.Fatalf("%+v %v", r, err)
		}
		if diff := cmp.Diff(before, look(m)); diff != "" {
			t.Errorf("not as before: %s", diff)
		}
		if left := append(temps(m), openRuns(m)...); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		// Once is all: nothing is left to do, and the run stands in nobody's way.
		if r, err = transact(t, m, back("r3", "r1")); err != nil || agent.Differs(r) {
			t.Errorf("twice: %+v %v", r, err)
		}
		// What was taken back can be made again, and taken back again.
		if _, err = converge(t, m, "r4"); err != nil || look(m) != after {
			t.Errorf("made again: %v", err)
		}
		if _, err = transact(t, m, back("r5", "r4")); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(before, look(m)); diff != "" {
			t.Errorf("not as before, again: %s", diff)
		}
	}
}

// It is a transaction like any other: until it is committed, its own undo
// gives back what the run had made.
func TestTakingARunBackIsItselfUndone(t *testing.T) {
	m := newMachine()
	if _, err := converge(t, m, "r1"); err != nil {
		t.Fatal(err)
	}
	after := look(m)
	e := engineOn(m.NewSession())
	if _, err := e.Begin(t.Context(), back("r2", "r1"), nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(look(m), "a=0\nb=0\nc=0\n") {
		t.Errorf("applied: %s", look(m))
	}
	if err := e.Finish(t.Context(), "r2", false, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(after, look(m)); diff != "" {
		t.Error(diff)
	}
	// What was not committed has not taken it back.
	if r, err := checkRevert(t, m, "r1"); err != nil || len(r.Items) != 10 || !agent.Differs(r) {
		t.Errorf("%+v %v", r, err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func TestAHostIsRefusedWholeThatCannotBeTakenBackWhole(t *testing.T) {
	refused := func(t *testing.T, m *sim.Machine, want string) {
		t.Helper()
		before := look(m)
		for _, err := range []error{
			func() error { _, err := checkRevert(t, m, "r1"); return err }(),
			func() error { _, err := transact(t, m, back("r9", "r1")); return err }(),
		} {
			var refusal *step.Refusal
			if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, want) {
				t.Errorf("got %v, want a refusal with %q", err, want)
			}
		}
		if diff := cmp.Diff(before, look(m)); diff != "" {
			t.Errorf("it was changed: %s", diff)
		}
	}
	t.Run("a file that somebody edited", func(t *testing.T) {
		m := newMachine()
		if _, err := converge(t, m, "r1"); err != nil {
			t.Fatal(err)
		}
		m.FS.Put("/etc/new.d/deep/new.conf", 0o640, "new=1\nmine=1\n")
		refused(t, m, "/etc/new.d/deep/new.conf is neither as it was made nor as before")
	})
	t.Run("a later run", func(t *testing.T) {
		m := newMachine()
		if _, err := converge(t, m, "r1"); err != nil {
			t.Fatal(err)
		}
		m.Locked(func() { m.Net.Sysctls["b"] = "9" })
		if _, err := converge(t, m, "r2"); err != nil {
			t.Fatal(err)
		}
		refused(t, m, "run r2 of op@controller pid 7 has changed this host since")
		// Taken back itself, it stands in the way no more.
		for _, b := range []agent.Transaction{back("r3", "r2"), back("r4", "r1")} {
			if _, err := transact(t, m, b); err != nil {
				t.Fatal(err)
			}
		}
		if got := look(m); !strings.HasPrefix(got, "a=0\nb=9\nc=0\n") || files(got) != files(look(newMachine())) {
			t.Errorf("after both: %s", got)
		}
	})
}

func TestWhatAPersonSetSinceIsNoted(t *testing.T) {
	m := newMachine()
	if _, err := converge(t, m, "r1"); err != nil {
		t.Fatal(err)
	}
	m.Locked(func() { m.Net.Sysctls["b"] = "7" })
	r, err := transact(t, m, back("r2", "r1"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(look(m), "a=0\nb=7\nc=0\n") {
		t.Errorf("after: %s", look(m))
	}
	for _, i := range r.Items {
		if (len(i.Change.Notes) > 0) != (i.Step == "sysctl:b") {
			t.Errorf("%s: notes %q", i.Step, i.Change.Notes)
		}
	}
}

// A run that never was here, or left nothing, is nothing to take back.
func TestNothingIsTakenBackOfARunThatChangedNothing(t *testing.T) {
	m := newMachine()
	if r, err := checkRevert(t, m, "r1"); err != nil || len(r.Items) > 0 {
		t.Errorf("%+v %v", r, err)
	}
	e := engineOn(m.NewSession()) // made, and undone before its commit
	if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := checkRevert(t, m, "r1"); err != nil || len(r.Items) > 0 {
		t.Errorf("%+v %v", r, err)
	}
	for _, run := range []string{"", "../r1"} {
		if _, err := checkRevert(t, m, run); err == nil {
			t.Errorf("%q was taken for a run", run)
		}
		if _, err := transact(t, m, back("r2", run)); err == nil {
			t.Errorf("%q was taken for a run", run)
		}
	}
}

// Several transactions of one run are taken back as one, or by stage.
func TestARunOfSeveralTransactionsIsTakenBack(t *testing.T) {
	m := newMachine()
	before := look(m)
	parts := func(_ context.Context, h host.Host, want inventory.Desired) (step.Plan, host.Identity, error) {
		id, err := host.Identify(context.Background(), h)
		p := step.Plan{
			Live: []step.Step{step.Sysctl{Key: "a", Value: want.Release}},
			Boot: []step.Step{&step.FileStep{Path: "/etc/one.conf", Edits: []step.Edit{set("one=" + want.Release + "\n")}}},
		}
		return p, id, err
	}
	for _, s := range []struct {
		stage inventory.Stage
		value string
	}{{inventory.Prepare, "1"}, {inventory.Admit, "2"}, {inventory.Retire, "3"}} {
		e := engineOn(m.NewSession())
		e.Plan = parts
		b := tx("r1")
		b.Stage, b.Request.Desired.Release = s.stage, s.value
		if _, err := e.Begin(t.Context(), b, nil); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(e.Apply(t.Context(), nil), e.Finish(t.Context(), "r1", true, nil), e.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if past, err := (journal.Store{Host: m.NewSession(), Root: "/var/lib/lvsfleet"}).Since(t.Context(), "r1"); err != nil || len(past) != 3 || past[2].Stage != "retire" {
		t.Fatalf("history: %+v %v", past, err)
	}
	for _, s := range []struct {
		stages []inventory.Stage
		want   string
	}{
		{[]inventory.Stage{inventory.Retire}, "a=2 one=2"},
		{[]inventory.Stage{inventory.Prepare, inventory.Withdraw, inventory.Admit}, "a=0 one=0"},
	} {
		b := back("r2", "r1")
		b.Request.Reverts.Stages = s.stages
		if _, err := transact(t, m, b); err != nil {
			t.Fatal(err)
		}
		got := look(m)
		a, rest, _ := strings.Cut(got, "\n")
		_, one, _ := strings.Cut(rest, `/etc/one.conf -rw------- "`)
		one, _, _ = strings.Cut(one, `\n`)
		if a+" "+one != s.want {
			t.Errorf("%v: %s %s, want %s", s.stages, a, one, s.want)
		}
	}
	if diff := cmp.Diff(before, look(m)); diff != "" {
		t.Error(diff)
	}
}

// What a person kept from being written at the commit is not the run's to take
// back; once it is as it was before, all of it goes.
func TestARunThatLeftAFileIsTakenBack(t *testing.T) {
	m := newMachine()
	before := look(m)
	e := engineOn(m.NewSession())
	if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	m.FS.Put("/etc/two.conf", 0o644, "theirs\n")
	err := engineOn(m.NewSession()).Finish(t.Context(), "r1", true, nil)
	var left *agent.LeftError
	if !errors.As(err, &left) {
		t.Fatalf("finish: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := checkRevert(t, m, "r1"); err == nil || !strings.Contains(err.Error(), "/etc/two.conf is neither as it was made nor as before") {
		t.Errorf("with a person's file: %v", err)
	}
	m.FS.Put("/etc/two.conf", 0o644, "two=0\n")
	if _, err := transact(t, m, back("r2", "r1")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, look(m)); diff != "" {
		t.Errorf("not as before: %s", diff)
	}
	if _, err := m.FS.ReadFile("/var/lib/lvsfleet/ledger.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the ledger: %v", err)
	}
}
