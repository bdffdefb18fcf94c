package agent_test

import (
	"errors"
	"strings"
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
	if len(staged) != 6 { // five, and the ledger
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
	r, err := other.Check(t.Context(), tx("").Request)
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
	r, err := engineOn(m.NewSession()).Check(t.Context(), tx("").Request)
	if err != nil || !strings.Contains(r.Unsettled, "run r1 of op@controller pid 7") || r.UnderWay != "" {
		t.Errorf("check: %q %q %v", r.UnderWay, r.Unsettled, err)
	}
	m.Watch = nil
	begun, err := engineOn(m.NewSession()).Begin(t.Context(), tx("r2"), nil)
	if err != nil || !strings.Contains(begun.Settled, "has been undone") {
		t.Errorf("begin: %q %v", begun.Settled, err)
	}
}

func TestOnlyWhatWasApprovedIsDone(t *testing.T) {
	m := newMachine()
	e := engineOn(m.NewSession())
	r, err := e.Check(t.Context(), tx("").Request)
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
		if n := len(temps(m)); n != 6 {
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
	next.Request.Desired.Release = "nothing"
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
		if _, err := engineOn(newMachine()).Begin(t.Context(), agent.Transaction{Run: run, Request: agent.ToAdd(inventory.Desired{})}, nil); err == nil {
			t.Errorf("%q was taken as a run", run)
		}
	}
}
