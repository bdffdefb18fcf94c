package agent_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

func TestATransactionMakesItSo(t *testing.T) {
	m := newMachine()
	r, err := converge(t, m, "r1")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Items) != 9 || r.Items[0].Layer != agent.Live || r.Items[8].Layer != agent.Boot || len(r.Notes) != 1 {
		t.Errorf("report: %+v", r)
	}
	want := `a=1
b=2
c=3
/etc drwxr-xr-x ""
/etc/link Lrwxrwxrwx "somewhere"
/etc/new.d drwxr-xr-x ""
/etc/new.d/deep drwxr-xr-x ""
/etc/new.d/deep/new.conf -rw-r----- "new=1\n"
/etc/one.conf -rw------- "one=1\n"
/etc/rc.d drwxr-xr-x ""
/etc/rc.d/S10new Lrwxrwxrwx "../new"
/etc/two.conf -rw-r--r-- "two=2\n"
`
	if diff := cmp.Diff(want, look(m)); diff != "" {
		t.Error(diff)
	}
	if left := append(temps(m), openRuns(m)...); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	before := look(m)
	if r, err = converge(t, m, "r2"); err != nil || agent.Differs(r) || look(m) != before {
		t.Errorf("a second run: differs %v, %v", agent.Differs(r), err)
	}
}

func TestNothingActsBeforeApplyAndNoFileBeforeTheCommit(t *testing.T) {
	m := newMachine()
	before := look(m)
	s := m.NewSession()
	e := engineOn(s)
	if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
		t.Fatal(err)
	}
	staged := temps(m)
	if len(staged) != 5 {
		t.Errorf("staged: %v", staged)
	}
	begun := look(m)
	stripped := begun
	for _, tmp := range staged {
		var b strings.Builder
		for line := range strings.Lines(stripped) {
			if !strings.HasPrefix(line, tmp+" ") {
				b.WriteString(line)
			}
		}
		stripped = b.String()
	}
	if diff := cmp.Diff(before, stripped); diff != "" {
		t.Errorf("after Begin: %s", diff)
	}
	if err := e.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(look(m), "a=1\nb=2\nc=3\n") {
		t.Error("Apply left a live step undone")
	}
	if files(look(m)) != files(begun) {
		t.Error("Apply touched files")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, look(m)); diff != "" {
		t.Errorf("after Close without Finish: %s", diff)
	}
}

func TestAFailureAtEachChangeUndoesAll(t *testing.T) {
	after := wanted(t)
	for at := 1; ; at++ {
		m := newMachine()
		before := look(m)
		tr := &trap{at: at, act: func() error { return errTrap }}
		m.Watch = tr.watch
		_, err := converge(t, m, "r1")
		if tr.count < at {
			if at < 20 {
				t.Fatalf("only %d changes were seen", tr.count)
			}
			return
		}
		now := look(m)
		if err == nil && now != after {
			t.Errorf("change %d: no error, and not as wanted:\n%s", at, cmp.Diff(after, now))
		}
		if err != nil && now != before && now != after {
			t.Errorf("change %d: %v: neither before nor after:\n%s", at, err, cmp.Diff(before, now))
		}
		// Whatever it was, the next run finds its way.
		m.Watch = nil
		if _, err := converge(t, m, "r2"); err != nil || look(m) != after {
			t.Errorf("change %d: the next run: %v", at, err)
		}
		if left := append(temps(m), openRuns(m)...); len(left) > 0 {
			t.Errorf("change %d: left behind: %v", at, left)
		}
	}
}

func TestKilledAtEachChangeAndSettledByTheNext(t *testing.T) {
	after := wanted(t)
	for _, how := range []struct {
		name string
		kill func(m *sim.Machine)
	}{
		{"killed", nil},
		{"power cut", func(m *sim.Machine) { m.PowerCycle() }},
	} {
		for at := 1; ; at++ {
			m := newMachine()
			before := look(m)
			tr := &trap{at: at}
			var first, second *sim.Session
			tr.act = func() error {
				// Both ends of the run die with the controller.
				for _, s := range []*sim.Session{first, second} {
					if s != nil {
						s.End()
					}
				}
				if how.kill != nil {
					how.kill(m)
				}
				return host.ErrLost
			}
			m.Watch = tr.watch
			first = m.NewSession()
			e := engineOn(first)
			_, err := e.Begin(t.Context(), tx("r1"), nil)
			if err == nil {
				err = e.Apply(t.Context(), nil)
			}
			if err == nil {
				second = m.NewSession()
				err = engineOn(second).Finish(t.Context(), "r1", true, nil)
			}
			if err == nil {
				if at < 20 {
					t.Fatalf("only %d changes were seen", tr.count)
				}
				break
			}
			m.Watch = nil

			// A run that has nothing to do settles all the same.
			s := m.NewSession()
			settler := engineOn(s)
			next := tx("r2")
			next.Desired.Release = "nothing"
			if _, err := settler.Begin(t.Context(), next, nil); err != nil {
				t.Errorf("%s at %d: settle: %v", how.name, at, err)
			}
			if err := settler.Close(); err != nil {
				t.Errorf("%s at %d: close: %v", how.name, at, err)
			}
			now := look(m)
			switch {
			case how.kill == nil && (now == before || now == after):
			case how.kill != nil && strings.HasPrefix(now, "a=0\nb=0\nc=0\n") && (files(now) == files(before) || files(now) == files(after)):
			default:
				t.Errorf("%s at %d: neither before nor after:\n%s", how.name, at, cmp.Diff(before, now))
			}
			if left := append(temps(m), openRuns(m)...); len(left) > 0 {
				t.Errorf("%s at %d: left behind: %v", how.name, at, left)
			}
			if _, err := converge(t, m, "r3"); err != nil || look(m) != after {
				t.Errorf("%s at %d: the next run: %v", how.name, at, err)
			}
		}
	}
}

func TestALostLineBeforeTheCommitUndoesAndAfterItFinishes(t *testing.T) {
	after := wanted(t)
	for _, commit := range []bool{false, true} {
		m := newMachine()
		before := look(m)
		e := engineOn(m.NewSession())
		if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
			t.Fatal(err)
		}
		if err := e.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		want := before
		if commit {
			// The session that commits dies after its first rename.
			want = after
			second := m.NewSession()
			tr := &trap{at: 3, act: func() error { second.End(); return host.ErrLost }}
			m.Watch = tr.watch
			if err := engineOn(second).Finish(t.Context(), "r1", true, nil); !errors.Is(err, host.ErrLost) {
				t.Fatalf("finish: %v", err)
			}
			m.Watch = nil
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, look(m)); diff != "" {
			t.Errorf("commit %v: %s", commit, diff)
		}
		if left := append(temps(m), openRuns(m)...); len(left) > 0 {
			t.Errorf("commit %v: left behind: %v", commit, left)
		}
	}
}

func TestAFullDiskIsFoundAtStaging(t *testing.T) {
	for name, fill := range map[string]func(*sim.Machine, bool){
		"full":      func(m *sim.Machine, on bool) { m.FS.Full = on },
		"read-only": func(m *sim.Machine, on bool) { m.FS.ReadOnly = on },
	} {
		m := newMachine()
		before := look(m)
		fill(m, true)
		s := m.NewSession()
		e := engineOn(s)
		_, err := e.Begin(t.Context(), tx("r1"), nil)
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", name, err)
		}
		if holder, _ := m.Holder(t.Context(), agent.Lease); holder != "" {
			t.Errorf("%s: the lease is still held by %s", name, holder)
		}
		fill(m, false)
		if look(m) != before || len(temps(m)) > 0 {
			t.Errorf("%s: something changed", name)
		}
	}
	// Full only once the journal is there.
	m := newMachine()
	tr := &trap{act: func() error { m.FS.Full = true; return nil }}
	m.Watch = tr.watch
	for tr.at = 1; tr.at < 12; tr.at++ {
		tr.count = 0
		e := engineOn(m.NewSession())
		if _, err := e.Begin(t.Context(), tx("r1"), nil); err == nil {
			t.Errorf("full from change %d on: no error", tr.at)
		}
		m.FS.Full = false
		if left := append(temps(m), openRuns(m)...); len(left) > 0 {
			t.Errorf("full from change %d on: left behind: %v", tr.at, left)
		}
		_ = e.Close()
	}
}

func TestAFileThatSomebodyEditsMeanwhileIsLeftWithWhatFollows(t *testing.T) {
	m := newMachine()
	e := engineOn(m.NewSession())
	if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	m.FS.Put("/etc/new.d/deep/new.conf", 0o644, "theirs\n")
	err := engineOn(m.NewSession()).Finish(t.Context(), "r1", true, nil)
	var left *agent.LeftError
	if !errors.As(err, &left) {
		t.Fatalf("finish: %v", err)
	}
	want := &agent.LeftError{
		Edited: []string{"/etc/new.d/deep/new.conf"},
		Left: []string{"file:/etc/new.d/deep/new.conf", "link:/etc/link", "link:/etc/rc.d/S10new",
			"file:/etc/gone.conf", "file:/etc/two.conf"},
	}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Error(diff)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	now := look(m)
	for _, s := range []string{"one=1", "theirs", "two=0", "gone", "a=1"} {
		if !strings.Contains(now, s) {
			t.Errorf("%q is not there:\n%s", s, now)
		}
	}
	if left := append(temps(m), openRuns(m)...); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestALeaseThatSomebodyHolds(t *testing.T) {
	m := newMachine()
	e := engineOn(m.NewSession())
	if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
		t.Fatal(err)
	}
	other := engineOn(m.NewSession())
	var taken *host.TakenError
	if _, err := other.Begin(t.Context(), tx("r2"), nil); !errors.As(err, &taken) || !strings.Contains(taken.Holder, "op@controller pid 7, run r1, since") {
		t.Errorf("begin: %v", err)
	}
	r, err := other.Check(t.Context(), tx("").Desired)
	if err != nil || !strings.Contains(r.UnderWay, "run r1") || r.Unsettled != "" {
		t.Errorf("check: %q %q %v", r.UnderWay, r.Unsettled, err)
	}
	if err := other.Finish(t.Context(), "r2", true, nil); err == nil {
		t.Error("a run that never began was committed")
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := other.Begin(t.Context(), tx("r2"), nil); err != nil {
		t.Errorf("begin when it is free: %v", err)
	}
}

func TestCheckReadsOnlyAndTellsWhatIsUnsettled(t *testing.T) {
	m := newMachine()
	s := m.NewSession()
	e := engineOn(s)
	if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
		t.Fatal(err)
	}
	s.End()
	m.Watch = func(a sim.Access) error {
		if a.Op == "write" || a.Op == "rename" || a.Op == "remove" || a.Op == "lock" {
			t.Errorf("check does %s %s", a.Op, a.Path)
		}
		return nil
	}
	r, err := engineOn(m.NewSession()).Check(t.Context(), tx("").Desired)
	if err != nil || !strings.Contains(r.Unsettled, "run r1 of op@controller pid 7") || r.UnderWay != "" {
		t.Errorf("check: %q %q %v", r.UnderWay, r.Unsettled, err)
	}
	m.Watch = nil
	r, err = engineOn(m.NewSession()).Begin(t.Context(), tx("r2"), nil)
	if err != nil || !strings.Contains(r.Settled, "has been undone") {
		t.Errorf("begin: %q %v", r.Settled, err)
	}
}

func TestOnlyWhatWasApprovedIsDone(t *testing.T) {
	m := newMachine()
	e := engineOn(m.NewSession())
	r, err := e.Check(t.Context(), tx("").Desired)
	if err != nil {
		t.Fatal(err)
	}
	want := tx("r1")
	want.Approved = agent.Fingerprint(r)
	if _, err := e.Begin(t.Context(), want, nil); err != nil {
		t.Errorf("unchanged: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	m.FS.Put("/etc/one.conf", 0o600, "one=1\n")
	if _, err := engineOn(m.NewSession()).Begin(t.Context(), want, nil); !errors.Is(err, agent.ErrNotApproved) {
		t.Errorf("changed: %v", err)
	}
}

func TestADirectorHasTwoTransactionsInOneRun(t *testing.T) {
	m := newMachine()
	after := wanted(t)
	s := m.NewSession()
	e := engineOn(s)
	// Begun for the whole, then for the first stage, which is committed.
	for range 2 {
		if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
			t.Fatal(err)
		}
		if n := len(temps(m)); n != 5 {
			t.Errorf("%d files are staged", n)
		}
	}
	if err := e.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := engineOn(m.NewSession()).Finish(t.Context(), "r1", true, nil); err != nil {
		t.Fatal(err)
	}
	m.FS.Put("/etc/two.conf", 0o644, "two=0\n")
	r, err := e.Begin(t.Context(), tx("r1"), nil)
	if err != nil || r.Settled != "" {
		t.Fatalf("second stage: %q %v", r.Settled, err)
	}
	if err := e.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := engineOn(m.NewSession()).Finish(t.Context(), "r1", true, nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil || look(m) != after {
		t.Errorf("close: %v\n%s", err, cmp.Diff(after, look(m)))
	}
	past, err := m.FS.ReadDir("/var/lib/lvsfleet/history")
	if err != nil || len(past) != 2 {
		t.Errorf("history: %v %v", past, err)
	}
}

func TestFinishByASessionThatComesTooLate(t *testing.T) {
	t.Run("the first session was killed", func(t *testing.T) {
		m := newMachine()
		before := look(m)
		s := m.NewSession()
		e := engineOn(s)
		if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
			t.Fatal(err)
		}
		if err := e.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		s.End()
		fresh := engineOn(m.NewSession())
		if err := fresh.Finish(t.Context(), "r1", true, nil); !errors.Is(err, agent.ErrUndone) {
			t.Errorf("finish: %v", err)
		}
		if diff := cmp.Diff(before, look(m)); diff != "" {
			t.Error(diff)
		}
		if holder, _ := m.Holder(t.Context(), agent.Lease); holder != "" {
			t.Errorf("the lease is still held by %s", holder)
		}
	})
	t.Run("the first session has undone", func(t *testing.T) {
		m := newMachine()
		e := engineOn(m.NewSession())
		if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
			t.Fatal(err)
		}
		if err := e.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if err := e.Finish(t.Context(), "r1", false, nil); err != nil {
			t.Fatal(err)
		}
		if err := engineOn(m.NewSession()).Finish(t.Context(), "r1", true, nil); !errors.Is(err, agent.ErrUndone) {
			t.Errorf("finish: %v", err)
		}
	})
	t.Run("before apply", func(t *testing.T) {
		m := newMachine()
		before := look(m)
		e := engineOn(m.NewSession())
		if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
			t.Fatal(err)
		}
		if err := engineOn(m.NewSession()).Finish(t.Context(), "r1", true, nil); !errors.Is(err, agent.ErrUndone) {
			t.Errorf("finish: %v", err)
		}
		if err := e.Close(); err != nil || look(m) != before {
			t.Errorf("close: %v", err)
		}
	})
	t.Run("twice", func(t *testing.T) {
		m := newMachine()
		e := engineOn(m.NewSession())
		if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
			t.Fatal(err)
		}
		if err := e.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := engineOn(m.NewSession()).Finish(t.Context(), "r1", true, nil); err != nil {
				t.Errorf("finish: %v", err)
			}
		}
		if err := e.Finish(t.Context(), "r1", false, nil); err == nil {
			t.Error("what was committed was undone")
		}
	})
}

func TestAnUndoThatFailsSaysSoAndIsTriedAgain(t *testing.T) {
	m := newMachine()
	before := look(m)
	m.Fail("sysctl", sim.Fault{Args: []string{"c=3"}, Exit: 1, Stderr: "no\n"})
	m.Fail("sysctl", sim.Fault{Args: []string{"a=0"}, Exit: 1, Stderr: "not now\n"})
	_, err := converge(t, m, "r1")
	var undo *agent.UndoError
	var exit *host.ExitError
	if !errors.As(err, &undo) || len(undo.Failed) != 1 || !strings.Contains(undo.Failed[0], "sysctl:a") {
		t.Fatalf("converge: %v", err)
	}
	if !errors.As(undo.Cause, &exit) || exit.Stderr != "no\n" {
		t.Errorf("cause: %v", undo.Cause)
	}
	if !strings.HasPrefix(look(m), "a=1\nb=0\nc=0\n") {
		t.Error("the other steps were not undone")
	}
	m.Mend()
	e := engineOn(m.NewSession())
	next := tx("r2")
	next.Desired.Release = "nothing"
	r, err := e.Begin(t.Context(), next, nil)
	if err != nil || !strings.Contains(r.Settled, "r1") || look(m) != before {
		t.Errorf("the next run: %q %v", r.Settled, err)
	}
}

func TestAStepThatDoesNotHoldAfterItWasDoneFails(t *testing.T) {
	m := newMachine()
	before := look(m)
	m.Fail("sysctl", sim.Fault{Args: []string{"b=2"}}) // says that it did
	_, err := converge(t, m, "r1")
	var v *agent.VerifyError
	if !errors.As(err, &v) || v.Step != "sysctl:b" || look(m) != before {
		t.Errorf("converge: %v", err)
	}
}

func TestNeedsFreshLogin(t *testing.T) {
	item := func(kinds ...step.Kind) agent.Report {
		var ops []step.Op
		for _, k := range kinds {
			ops = append(ops, step.Op{Kind: k, Edits: []ipvs.Edit{}})
		}
		return agent.Report{Items: []agent.Item{{Change: step.Change{Do: ops}}}}
	}
	for name, c := range map[string]struct {
		r    agent.Report
		want bool
	}{
		"nothing":           {agent.Report{}, false},
		"the table":         {item(step.IPVS), false},
		"and announcements": {item(step.IPVS, step.Announce), false},
		"a command":         {item(step.IPVS, step.Run), true},
		"a file":            {item(step.Write), true},
	} {
		if got := agent.NeedsFreshLogin(c.r); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRunsHaveNames(t *testing.T) {
	for _, run := range []string{"", "a/b", "..", "a b", strings.Repeat("a", 65), "a\n"} {
		if _, err := engineOn(newMachine()).Begin(t.Context(), agent.Transaction{Run: run, Desired: inventory.Desired{}}, nil); err == nil {
			t.Errorf("%q was taken as a run", run)
		}
	}
}
