package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// newMachine makes a small Linux machine: live settings that sysctl reads and
// writes, and a few files in /etc.
func newMachine() *sim.Machine {
	m := &sim.Machine{
		Name: "rs1", Identity: host.Identity{OS: host.Linux, Release: "6.1.0", Machine: "x86_64"},
		FS: sim.NewFS(), Net: sim.NewNet(),
		Commands: map[string]sim.Command{
			"uname": func(_ *sim.Machine, c *sim.Call) int {
				c.Printf("Linux 6.1.0 #1 SMP x86_64\n")
				return 0
			},
			"sysctl": sysctl,
		},
	}
	m.Boot = func(m *sim.Machine) {
		m.Net.Sysctls["a"], m.Net.Sysctls["b"], m.Net.Sysctls["c"] = "0", "0", "0"
	}
	m.Boot(m)
	m.FS.MkdirAll("/var/lib")
	m.FS.MkdirAll("/var/run")
	m.FS.Put("/etc/one.conf", 0o600, "one=0\n")
	m.FS.Put("/etc/two.conf", 0o644, "two=0\n")
	m.FS.Put("/etc/gone.conf", 0o644, "gone\n")
	m.FS.Link("/etc/link", "nowhere")
	return m
}

func sysctl(m *sim.Machine, c *sim.Call) int {
	switch {
	case len(c.Argv) == 3 && c.Argv[1] == "-n":
		c.Printf("%s\n", m.Net.Sysctls[c.Argv[2]])
	case len(c.Argv) == 3 && c.Argv[1] == "-w":
		k, v, _ := strings.Cut(c.Argv[2], "=")
		m.Net.Sysctls[k] = v
		c.Printf("%s = %s\n", k, v)
	default:
		return c.Refuse()
	}
	return 0
}

func set(text string) step.Edit {
	return func([]byte) ([]byte, error) { return []byte(text), nil }
}

// plan is every kind of step that a provider makes.
func plan(_ context.Context, h host.Host, want inventory.Desired) (step.Plan, host.Identity, error) {
	id, err := host.Identify(context.Background(), h)
	p := step.Plan{
		Live: []step.Step{
			step.Sysctl{Key: "a", Value: "1"},
			step.Sysctl{Key: "b", Value: "2"},
			step.Sysctl{Key: "c", Value: "3"},
		},
		Boot: []step.Step{
			&step.FileStep{Path: "/etc/one.conf", Edits: []step.Edit{set("one=1\n")}},
			&step.FileStep{Path: "/etc/new.d/deep/new.conf", Mode: 0o640, Edits: []step.Edit{set("new=1\n")}},
			&step.LinkStep{Path: "/etc/link", Target: "somewhere"},
			&step.LinkStep{Path: "/etc/rc.d/S10new", Target: "../new"},
			&step.FileStep{Path: "/etc/gone.conf", Edits: []step.Edit{func([]byte) ([]byte, error) { return nil, nil }}},
			&step.FileStep{Path: "/etc/two.conf", Edits: []step.Edit{set("two=2\n")}},
		},
		Notes: []note.Note{note.New("a note")},
	}
	if want.Release == "nothing" {
		p.Live, p.Boot = nil, nil
	}
	return p, id, err
}

// look is everything about a machine that a transaction may change: settings
// and files, but not what lvsfleet keeps for itself.
func look(m *sim.Machine) string {
	var b strings.Builder
	m.Locked(func() {
		for _, k := range []string{"a", "b", "c"} {
			fmt.Fprintf(&b, "%s=%s\n", k, m.Net.Sysctls[k])
		}
		m.FS.Walk("/etc", func(p string, n host.File) {
			fmt.Fprintf(&b, "%s %v %q\n", p, n.Mode, n.Data)
		})
	})
	return b.String()
}

// files is what look tells of the files.
func files(text string) string {
	_, rest, _ := strings.Cut(text, "c=")
	_, rest, _ = strings.Cut(rest, "\n")
	return rest
}

// temps lists the temporary files on a machine.
func temps(m *sim.Machine) []string {
	var found []string
	m.Locked(func() {
		m.FS.Walk("/", func(p string, _ host.File) {
			if host.IsTemp(path.Base(p)) {
				found = append(found, p)
			}
		})
	})
	return found
}

// openRuns lists the transactions that are not settled.
func openRuns(m *sim.Machine) []string {
	var found []string
	m.Locked(func() {
		entries, _ := m.FS.ReadDir("/var/lib/lvsfleet/journal")
		for _, e := range entries {
			found = append(found, e.Name)
		}
	})
	return found
}

func engineOn(h host.Host) *agent.Engine { return &agent.Engine{Host: h, Plan: plan} }

func tx(run string) agent.Transaction {
	return agent.Transaction{Run: run, Who: "op@controller pid 7", Request: agent.ToAdd(inventory.Desired{Host: "rs1", OS: inventory.Linux})}
}

// converge runs a whole transaction with a fresh session for the commit.
func converge(t *testing.T, m *sim.Machine, run string) (agent.Report, error) {
	t.Helper()
	return transact(t, m, tx(run))
}

// back is the transaction that takes all of a run back.
func back(run, of string) agent.Transaction {
	b := tx(run)
	b.Undoes, b.Request = of, agent.ToRevert(b.Request.Desired, of, agent.Reverts{})
	return b
}

func transact(t *testing.T, m *sim.Machine, tx agent.Transaction) (agent.Report, error) {
	t.Helper()
	first := m.NewSession()
	defer first.End()
	e := engineOn(first)
	run := tx.Run
	_, err := e.Begin(t.Context(), tx, nil)
	r := e.Found()
	if err != nil {
		return r, errors.Join(err, e.Close())
	}
	if err := e.Apply(t.Context(), nil); err != nil {
		return r, errors.Join(err, e.Close())
	}
	if !agent.Differs(r) {
		return r, e.Close()
	}
	second := m.NewSession()
	defer second.End()
	fresh := engineOn(second)
	err = fresh.Finish(t.Context(), run, true, nil)
	return r, errors.Join(err, fresh.Close(), e.Close())
}

// wanted is a machine as the plan wants it.
func wanted(t *testing.T) string {
	t.Helper()
	m := newMachine()
	if _, err := converge(t, m, "model"); err != nil {
		t.Fatal(err)
	}
	return look(m)
}

// A trap strikes at one of the accesses that change a machine.
type trap struct {
	mu    sync.Mutex
	count int // of changing accesses so far
	at    int // the access at which act is called; 0: none
	act   func() error
}

func (tr *trap) watch(a sim.Access) error {
	changing := slices.Contains([]string{"write", "rename", "remove", "lock"}, a.Op) ||
		a.Op == "run" && slices.Contains(a.Argv, "-w")
	if !changing {
		return nil
	}
	tr.mu.Lock()
	tr.count++
	struck := tr.count == tr.at
	tr.mu.Unlock()
	if !struck {
		return nil
	}
	return tr.act()
}

var errTrap = &fs.PathError{Op: "trap", Path: "-", Err: errors.New("struck")}

func TestTheMachineConforms(t *testing.T) {
	hosttest.Conformance(t, func(t *testing.T) hosttest.Subject {
		m := newMachine()
		m.FS.MkdirAll("/tmp/place")
		return hosttest.Subject{Host: m.NewSession(), Dir: "/tmp/place"}
	})
}
