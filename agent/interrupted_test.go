package agent_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

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
			next.Request.Desired.Release = "nothing"
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
