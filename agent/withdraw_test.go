package agent_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// immutable has whatever is put at the path, or removed, fail as a flag of the
// file's does.
func immutable(paths ...string) func(sim.Access) error {
	return func(a sim.Access) error {
		for _, p := range paths {
			if a.Path == p && (a.Op == "rename" || a.Op == "remove") {
				return &fs.PathError{Op: a.Op, Path: p, Err: syscall.EPERM}
			}
		}
		return nil
	}
}

// committed are the places of the files of the plan, in its order.
var committed = []string{"/etc/one.conf", "/etc/new.d/deep/new.conf", "/etc/link", "/etc/rc.d/S10new", "/etc/gone.conf", "/etc/two.conf"}

// A commit that is claimed and cannot be carried out is undone whole, wherever it
// fails and whoever is at it; and the next run goes on.
func TestACommitThatCannotBeCarriedOutIsUndone(t *testing.T) {
	after := wanted(t)
	for _, p := range committed {
		for _, who := range []string{"a fresh session", "its own session", "the next run"} {
			t.Run(p+" by "+who, func(t *testing.T) {
				m := newMachine()
				before := look(m)
				s := m.NewSession()
				e := engineOn(s)
				inForce(t, e)
				var err error
				switch who {
				case "a fresh session":
					m.Watch = immutable(p)
					err = engineOn(m.NewSession()).Finish(t.Context(), "r1", true, nil)
				case "its own session":
					m.Watch = immutable(p)
					err = e.Finish(t.Context(), "r1", true, nil)
				default:
					// The session dies as it comes to that file.
					fresh := m.NewSession()
					m.Watch = func(a sim.Access) error {
						if immutable(p)(a) != nil {
							fresh.End()
							s.End()
							return host.ErrLost
						}
						return nil
					}
					if err := engineOn(fresh).Finish(t.Context(), "r1", true, nil); !errors.Is(err, host.ErrLost) {
						t.Fatalf("finish: %v", err)
					}
					m.Watch = immutable(p)
					next := tx("r2")
					next.Request.Desired.Release = "nothing"
					settler := engineOn(m.NewSession())
					begun, serr := settler.Begin(t.Context(), next, nil)
					if serr != nil || !strings.Contains(begun.Settled, "could not be carried out") {
						t.Errorf("settled %q: %v", begun.Settled, serr)
					}
					if err := settler.Close(); err != nil {
						t.Error(err)
					}
					err = engineOn(m.NewSession()).Finish(t.Context(), "r1", true, nil)
				}
				var undo *agent.UndoError
				if !errors.Is(err, agent.ErrUndone) || errors.As(err, &undo) {
					t.Errorf("finish: %v", err)
				}
				if who != "the next run" && !errors.Is(err, fs.ErrPermission) {
					t.Errorf("the cause is not told: %v", err)
				}
				if d := cmp.Diff(before, look(m)); d != "" {
					t.Error(d)
				}
				if err := e.Close(); err != nil && who != "the next run" { // it is dead there
					t.Errorf("close: %v", err)
				}
				if left := append(temps(m), openRuns(m)...); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
				// Twice comes to the same, and once the flag is gone it is made so.
				if _, err := converge(t, m, "r3"); !errors.Is(err, agent.ErrUndone) || look(m) != before {
					t.Errorf("again: %v", err)
				}
				m.Watch = nil
				if _, err := converge(t, m, "r4"); err != nil || look(m) != after {
					t.Errorf("the next run: %v", err)
				}
			})
		}
	}
}

// Where the undo fails as well, that is told, nothing of it is forgotten, and the
// run that can ends it.
func TestACommitWhoseUndoFailsTooIsEndedByTheNextRun(t *testing.T) {
	after := wanted(t)
	m := newMachine()
	before := look(m)
	e := engineOn(m.NewSession())
	inForce(t, e)
	put := false // the first file, which then cannot be put back
	m.Watch = func(a sim.Access) error {
		if a.Path == "/etc/one.conf" && a.Op == "rename" && !put {
			put = true
			return nil
		}
		return immutable("/etc/one.conf", "/etc/two.conf")(a)
	}
	err := engineOn(m.NewSession()).Finish(t.Context(), "r1", true, nil)
	var undo *agent.UndoError
	if !errors.As(err, &undo) || !strings.Contains(err.Error(), "/etc/two.conf") || len(undo.Failed) != 1 || !strings.Contains(undo.Failed[0], "one.conf") {
		t.Fatalf("finish: %v", err)
	}
	if now := look(m); !strings.HasPrefix(now, "a=0\nb=0\nc=0\n") || !strings.Contains(now, "one=1") || strings.Contains(now, "new=1") {
		t.Errorf("after the undo:\n%s", now)
	}
	_ = e.Close()
	if len(openRuns(m)) != 1 {
		t.Errorf("open: %v", openRuns(m))
	}
	m.Watch = nil
	next := tx("r2")
	next.Request.Desired.Release = "nothing"
	settler := engineOn(m.NewSession())
	begun, err := settler.Begin(t.Context(), next, nil)
	if err != nil || !strings.Contains(begun.Settled, "has been undone") {
		t.Errorf("settled %q: %v", begun.Settled, err)
	}
	if err := settler.Close(); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(before, look(m)); d != "" {
		t.Error(d)
	}
	if _, err := converge(t, m, "r3"); err != nil || look(m) != after {
		t.Errorf("the next run: %v", err)
	}
}

// That the line is lost, or the lease is somebody else's, says nothing of the
// commit: it stands.
func TestACommitThatIsInterruptedStands(t *testing.T) {
	after := wanted(t)
	m := newMachine()
	s := m.NewSession()
	e := engineOn(s)
	inForce(t, e)
	fresh := m.NewSession()
	m.Watch = func(a sim.Access) error {
		if a.Path == "/etc/two.conf" && a.Op == "rename" {
			fresh.End()
			s.End()
			return host.ErrLost
		}
		return nil
	}
	if err := engineOn(fresh).Finish(t.Context(), "r1", true, nil); !errors.Is(err, host.ErrLost) {
		t.Fatalf("finish: %v", err)
	}
	m.Watch = nil
	if _, err := converge(t, m, "r2"); err != nil || look(m) != after {
		t.Errorf("the next run: %v", err)
	}
}

// A flagged machine tells beforehand what cannot be replaced.
type flagged struct {
	*sim.Session
	path string
	what host.Obstacle
	err  error
}

func (f flagged) Obstacle(_ context.Context, _, target string) (host.Obstacle, bool, error) {
	return f.what, target == f.path && f.err == nil, f.err
}

// What is in the way of a file is found before anything is changed, and refused
// with its name and its cure; nothing is left of what was staged.
func TestWhatIsInTheWayIsFoundAtStaging(t *testing.T) {
	for _, p := range committed {
		m := newMachine()
		before := look(m)
		e := engineOn(flagged{m.NewSession(), p, host.Obstacle{What: "it has the immutable flag", Cure: "chattr -i " + p}, nil})
		_, err := e.Begin(t.Context(), tx("r1"), nil)
		var refusal *step.Refusal
		switch {
		case strings.HasPrefix(p, "/etc/new.d/"), strings.HasPrefix(p, "/etc/rc.d/"):
			if err != nil { // in a folder that is to be made nothing is
				t.Errorf("%s: %v", p, err)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		case !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, p+" cannot be replaced: it has the immutable flag") || refusal.Hint != "chattr -i "+p:
			t.Errorf("%s: %v", p, err)
		}
		if d := cmp.Diff(before, look(m)); d != "" {
			t.Errorf("%s: %s", p, d)
		}
		if left := append(temps(m), openRuns(m)...); len(left) > 0 {
			t.Errorf("%s: left behind: %v", p, left)
		}
		if held(t, m) {
			t.Errorf("%s: the lease is held", p)
		}
	}
	m := newMachine()
	_, err := engineOn(flagged{m.NewSession(), "", host.Obstacle{}, syscall.EIO}).Begin(t.Context(), tx("r1"), nil)
	if !errors.Is(err, syscall.EIO) || len(openRuns(m)) > 0 {
		t.Errorf("what cannot be looked at: %v", err)
	}
}
