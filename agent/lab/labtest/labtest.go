// Package labtest holds what the tests of the simulated systems share:
// transcripts of commands against goldens, and the one question that a
// simulated system is for: does what lvsfleet makes hold, at once and after
// boots, and can it be undone to the last byte.
package labtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Shell runs a script line by line and gives a transcript in the form of the
// real systems' transcripts. Lines "# ..." are remarks; "REBOOT" reboots,
// "POWER" cuts the power; "FILE path" and the lines up to "." write a file.
func Shell(m *sim.Machine, script string) string {
	var b strings.Builder
	lines := strings.Split(strings.TrimSpace(script), "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		switch {
		case line == "":
		case strings.HasPrefix(line, "# "):
			b.WriteString(line + "\n")
		case line == "REBOOT":
			m.Reboot()
			b.WriteString("# reboot\n")
		case line == "POWER":
			m.PowerCycle()
			b.WriteString("# power cut\n")
		case strings.HasPrefix(line, "FILE "):
			var text strings.Builder
			for i++; strings.TrimSpace(lines[i]) != "."; i++ {
				text.WriteString(strings.TrimSpace(lines[i]) + "\n")
			}
			m.Locked(func() { m.FS.Put(line[5:], 0o644, text.String()) })
			fmt.Fprintf(&b, "# %s:\n", line[5:])
			for t := range strings.Lines(text.String()) {
				b.WriteString("#   " + t)
			}
		default:
			exec(m, line, &b)
		}
	}
	return b.String()
}

func exec(m *sim.Machine, line string, b *strings.Builder) {
	var stdout, stderr strings.Builder
	exit := m.Exec(&sim.Call{Argv: []string{"sh", "-c", line}, Stdout: &stdout, Stderr: &stderr})
	fmt.Fprintf(b, "$ %s\n%s", line, stdout.String())
	if stderr.Len() > 0 {
		fmt.Fprintf(b, "stderr:\n%s", stderr.String())
	}
	if exit != 0 {
		fmt.Fprintf(b, "exit: %d\n", exit)
	}
}

// Golden compares got with testdata/NAME; with update it writes that file.
func Golden(t *testing.T, name, got string, update bool) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

// Transcripts runs testdata/*.sh on the eras that its first line names, and
// compares with the transcripts beside it.
func Transcripts(t *testing.T, update bool, machine func(era string) *sim.Machine) {
	scripts, err := filepath.Glob("testdata/*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range scripts {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, script, _ := strings.Cut(string(text), "\n")
		for _, era := range strings.Fields(strings.TrimPrefix(head, "# eras:")) {
			name := strings.TrimSuffix(filepath.Base(file), ".sh") + "." + era + ".txt"
			t.Run(name, func(t *testing.T) { Golden(t, name, Shell(machine(era), script), update) })
		}
	}
}

// A Case is one host that lvsfleet is to make so.
type Case struct {
	Machine func() *sim.Machine // a fresh one
	Desired inventory.Desired
	State   func(*sim.Machine) string // all that a person could tell it by
	// Network is what of the live state must be the same after a boot; nil:
	// only that every step holds.
	Network func(*sim.Machine) []string
	Show    string // commands for a failed test's log
}

// agentless is a machine that offers nothing but a host.Host, as one that is
// reached over SSH without an agent.
type agentless struct{ host.Host }

// Survives says whether what lvsfleet makes holds at once, at the next boot
// and at the one after, with an orderly shutdown and without; and is undone to
// the last byte.
func (c Case) Survives(t *testing.T) {
	m := c.Machine()
	before := c.State(m)
	c.converge(t, m)
	c.holds(t, "at once", m)
	if t.Failed() {
		return
	}
	var live []string
	if c.Network != nil {
		live = c.Network(m)
	}
	m.Reboot()
	c.holds(t, "after a reboot", m)
	if c.Network != nil {
		if d := cmp.Diff(live, c.Network(m)); d != "" {
			t.Errorf("what is live differs after a reboot (-before +after):\n%s", d)
		}
	}
	m.PowerCycle()
	c.holds(t, "after a power cut", m)

	fresh := c.Machine()
	undo := c.converge(t, fresh)
	h := host.NewCache(agentless{fresh})
	for range 2 {
		for _, o := range undo {
			if err := o.Do(context.Background(), h); err != nil {
				t.Errorf("undo %s: %v", o, err)
			}
		}
	}
	if d := cmp.Diff(strings.Split(before, "\n"), strings.Split(c.State(fresh), "\n")); d != "" {
		t.Errorf("undone (-before +after):\n%s", d)
	}
}

func (c Case) plan(t *testing.T, m *sim.Machine) (host.Host, []step.Step) {
	t.Helper()
	h := host.NewCache(agentless{m})
	p, _, err := providers.Plan(context.Background(), h, c.Desired)
	if err != nil {
		t.Fatal("plan:", err)
	}
	return h, append(slices.Clone(p.Live), p.Boot...)
}

// converge makes the plan hold, as the engine does: all checks first.
func (c Case) converge(t *testing.T, m *sim.Machine) (undo []step.Op) {
	t.Helper()
	ctx := context.Background()
	h, steps := c.plan(t, m)
	var do []step.Op
	for _, s := range steps {
		change, err := s.Check(ctx, h)
		if err != nil {
			t.Fatalf("check %s: %v", s.ID(), err)
		}
		runtime := slices.ContainsFunc(change.Do, func(o step.Op) bool { return o.Kind == step.Run || o.Kind == step.IPVS })
		if runtime && len(change.Effects) == 0 {
			t.Errorf("%s changes runtime state and says no effect", s.ID())
		}
		do = append(do, change.Do...)
		undo = append(slices.Clone(change.Undo), undo...)
	}
	if len(do) == 0 {
		t.Fatal("nothing to do on a fresh machine")
	}
	for _, o := range do {
		if err := o.Do(ctx, h); err != nil {
			t.Fatalf("%s: %v", o, err)
		}
	}
	return undo
}

// holds fails for every step that is not as it should be.
func (c Case) holds(t *testing.T, when string, m *sim.Machine) {
	t.Helper()
	h, steps := c.plan(t, m)
	for _, s := range steps {
		change, err := s.Check(context.Background(), h)
		if err != nil {
			t.Errorf("%s: check %s: %v", when, s.ID(), err)
		} else if !change.Holds() {
			t.Errorf("%s: %s does not hold:\n%s%v", when, s.ID(), change.Diff, change.Do)
		}
	}
	if t.Failed() {
		t.Log(Shell(m, c.Show))
	}
}
