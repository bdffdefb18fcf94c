package agent_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// inTwo plans what goes in two parts: first a setting that is lent, then
// another value of it and a file.
func inTwo(_ context.Context, h host.Host, want inventory.Desired) (step.Plan, host.Identity, error) {
	id, err := host.Identify(context.Background(), h)
	switch want.Release {
	case "first":
		return step.Plan{Live: []step.Step{step.Sysctl{Key: "a", Value: "1"}}}, id, err
	case "nothing":
		return step.Plan{}, id, err
	}
	return step.Plan{
		Live: []step.Step{step.Sysctl{Key: "a", Value: "2"}, step.Sysctl{Key: "b", Value: "2"}},
		Boot: []step.Step{&step.FileStep{Path: "/etc/one.conf", Edits: []step.Edit{set("one=1\n")}}},
	}, id, err
}

func part(release string, continues bool) agent.Transaction {
	t := tx("r1")
	t.Request.Desired.Release, t.Continues = release, continues
	return t
}

// begunInTwo gives an engine on which both parts are in force.
func begunInTwo(t *testing.T, m *sim.Machine, first string) *agent.Engine {
	t.Helper()
	e := &agent.Engine{Host: m.NewSession(), Plan: inTwo}
	for _, p := range []agent.Transaction{part(first, false), part("second", true)} {
		if _, err := e.Begin(t.Context(), p, nil); err != nil {
			t.Fatal(err)
		}
		if err := e.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func TestATransactionThatIsContinuedIsOne(t *testing.T) {
	for _, first := range []string{"first", "nothing"} {
		for how, end := range map[string]func(e *agent.Engine) error{
			"undone": func(e *agent.Engine) error { return e.Finish(context.Background(), "r1", false, nil) },
			"left":   func(*agent.Engine) error { return nil },
		} {
			t.Run(first+" "+how, func(t *testing.T) {
				m := newMachine()
				before := look(m)
				e := begunInTwo(t, m, first)
				if err := errors.Join(end(e), e.Close()); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, look(m)); diff != "" {
					t.Error(diff)
				}
				if left := append(temps(m), openRuns(m)...); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
		t.Run(first+" committed", func(t *testing.T) {
			m := newMachine()
			e := begunInTwo(t, m, first)
			if err := errors.Join(e.Finish(t.Context(), "r1", true, nil), e.Close()); err != nil {
				t.Fatal(err)
			}
			m.Locked(func() {
				if m.Net.Sysctls["a"] != "2" || m.Net.Sysctls["b"] != "2" {
					t.Errorf("settings: %v", m.Net.Sysctls)
				}
			})
			if f, _ := m.ReadFile(t.Context(), "/etc/one.conf"); string(f.Data) != "one=1\n" {
				t.Errorf("file: %q", f.Data)
			}
		})
	}
}

func TestWhatCannotBeContinuedTakesTheFirstPartBackToo(t *testing.T) {
	for _, what := range []string{"sysctl -w b=2", "/etc/one.conf"} {
		t.Run(what, func(t *testing.T) {
			m := newMachine()
			before := look(m)
			e := &agent.Engine{Host: m.NewSession(), Plan: inTwo}
			if _, err := e.Begin(t.Context(), part("first", false), nil); err != nil {
				t.Fatal(err)
			}
			if err := e.Apply(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			m.Watch = func(a sim.Access) error {
				if len(a.Argv) == 3 && a.Argv[2] == "b=2" || a.Op == "write" && host.IsTemp(a.Path) && what[0] == '/' {
					return errors.New("no")
				}
				return nil
			}
			_, err := e.Begin(t.Context(), part("second", true), nil)
			if err == nil {
				err = e.Apply(t.Context(), nil)
			}
			if err == nil {
				t.Fatal("it went well")
			}
			m.Watch = nil
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(before, look(m)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNothingIsNotContinued(t *testing.T) {
	m := newMachine()
	e := &agent.Engine{Host: m.NewSession(), Plan: inTwo}
	if _, err := e.Begin(t.Context(), part("second", true), nil); err == nil {
		t.Error("continued what was never begun")
	}
	_ = e.Close()
	if left := append(temps(m), openRuns(m)...); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
