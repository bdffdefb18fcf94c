package agent_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A manager is a program of a machine that reads a file when it is told to:
// told is what was in the file each time.
type manager struct {
	told []string
	fail bool
}

func (g *manager) machine() *sim.Machine {
	m := newMachine()
	m.Commands["reread"] = func(m *sim.Machine, c *sim.Call) int {
		f, err := m.FS.ReadFile("/etc/one.conf")
		if err != nil {
			f.Data = []byte("none")
		}
		g.told = append(g.told, strings.TrimSpace(string(f.Data)))
		if g.fail {
			c.Printf("nobody listens\n")
			return 1
		}
		return 0
	}
	return m
}

func planNotified(_ context.Context, h host.Host, want inventory.Desired) (step.Plan, host.Identity, error) {
	id, err := host.Identify(context.Background(), h)
	var p step.Plan
	if want.IPForward4 != nil {
		p.Live = []step.Step{step.Sysctl{Key: "a", Value: "1"}}
		p.Boot = []step.Step{&step.FileStep{Path: "/etc/one.conf", Edits: []step.Edit{set("one=1\n")}, Notify: [][]string{{"reread"}}}}
	}
	return p, id, err
}

func (g *manager) run(t *testing.T, m *sim.Machine, tx agent.Transaction) agent.Report {
	t.Helper()
	e := &agent.Engine{Host: m.NewSession(), Plan: planNotified}
	defer e.Close()
	if _, err := e.Begin(t.Context(), tx, nil); err != nil {
		t.Fatal(err)
	}
	r := e.Found()
	if err := e.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Finish(t.Context(), tx.Run, true, nil); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAManagerIsToldOfItsFileAndOfItsUndo(t *testing.T) {
	var g manager
	m := g.machine()
	before := look(m)
	want := agent.Transaction{Run: "r1", Request: agent.ToConverge(wish(true, false))}
	r := g.run(t, m, want)
	i := slices.IndexFunc(r.Items, func(i agent.Item) bool { return i.Step == "file:/etc/one.conf" })
	if i < 0 || r.Items[i].Change.Do[1].String() != "reread" {
		t.Fatalf("what was to be done: %+v", r.Items)
	}
	if want := []string{"one=1"}; !slices.Equal(g.told, want) {
		t.Errorf("the manager read %q, want %q", g.told, want)
	}
	// There again, by a rollback, by a later removal, and by hand.
	g.run(t, m, back("r2", "r1"))
	if want := []string{"one=1", "one=0"}; !slices.Equal(g.told, want) || look(m) != before {
		t.Errorf("after a rollback the manager read %q, want %q", g.told, want)
	}
	want.Run = "r3"
	g.run(t, m, want)
	g.run(t, m, agent.Transaction{Run: "r4", Request: agent.ToConverge(wish(false, false))})
	if want := []string{"one=1", "one=0", "one=1", "one=0"}; !slices.Equal(g.told, want) || look(m) != before {
		t.Errorf("after a removal the manager read %q, want %q", g.told, want)
	}
	g.told = nil
	g.run(t, m, want)
	if len(g.told) != 1 {
		t.Errorf("a manager was told %q", g.told)
	}
}

func TestAManagerThatDoesNotListenIsNoted(t *testing.T) {
	g := manager{fail: true}
	m := g.machine()
	g.run(t, m, agent.Transaction{Run: "r1", Request: agent.ToConverge(wish(true, false))})
	if len(g.told) != 1 {
		t.Errorf("told %d times", len(g.told))
	}
	if got := look(m); !strings.Contains(got, `"one=1\n"`) {
		t.Errorf("the file is not in place:\n%s", got)
	}
	var notes string
	m.Locked(func() {
		m.FS.Walk("/var/lib/lvsfleet/history", func(_ string, f host.File) { notes += string(f.Data) })
	})
	if !strings.Contains(notes, "file:/etc/one.conf: reread: ") {
		t.Error("no note in the journal tells of it")
	}
}

// A commit that ends between the file and the word about it is finished with
// the word.
func TestAManagerIsToldByWhoFinishesTheCommit(t *testing.T) {
	var g manager
	m := g.machine()
	e := &agent.Engine{Host: m.NewSession(), Plan: planNotified}
	if _, err := e.Begin(t.Context(), agent.Transaction{Run: "r1", Request: agent.ToConverge(wish(true, false))}, nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	second := m.NewSession()
	m.Watch = func(a sim.Access) error {
		if a.Op == "run" && slices.Equal(a.Argv, []string{"reread"}) {
			second.End()
			return host.ErrLost
		}
		return nil
	}
	if err := (&agent.Engine{Host: second, Plan: planNotified}).Finish(t.Context(), "r1", true, nil); !errors.Is(err, host.ErrLost) {
		t.Fatalf("finish: %v", err)
	}
	m.Watch = nil
	if len(g.told) != 0 {
		t.Fatalf("told %q", g.told)
	}
	if err := e.Close(); err != nil { // whoever holds the lease
		t.Fatal(err)
	}
	if !slices.Equal(g.told, []string{"one=1"}) {
		t.Errorf("told %q", g.told)
	}
}
