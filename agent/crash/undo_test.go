package main

import (
	"bytes"
	"context"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

func examples(t *testing.T) []subject {
	t.Helper()
	all, err := subjects("../../examples/nat/site.hcl", "../../examples/dr/site.hcl", "../../examples/tun/site.hcl")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// begun is a machine on which the transaction is in force and not committed.
func begun(t *testing.T, s subject) (*sim.Machine, *agent.Engine, *sim.Session) {
	t.Helper()
	m := s.machine()
	p := m.NewSession()
	e := &agent.Engine{Host: p, Plan: providers.Plan}
	if _, err := e.Begin(t.Context(), agent.Transaction{Run: "r1", Who: "op", Request: agent.ToConverge(s.want)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return m, e, p
}

// person runs a command at the console.
func person(t *testing.T, m *sim.Machine, argv ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	status := m.Exec(&sim.Call{Context: context.Background(), Argv: argv, Stdout: &out, Stderr: &out})
	return out.String(), status
}

func stateDir(s subject) string { return host.StateDir(string(s.host.OS)) }

func TestAPersonAndTheEngineUndoAlike(t *testing.T) {
	for _, s := range examples(t) {
		t.Run(s.String(), func(t *testing.T) {
			before := look(s.machine())
			m, e, _ := begun(t, s)
			if look(m).Live == before.Live {
				t.Fatal("nothing was changed")
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			byEngine := look(m)
			if diff := cmp.Diff(before, byEngine); diff != "" {
				t.Errorf("the engine: %s", diff)
			}

			m, _, p := begun(t, s)
			p.End()
			undo := path.Join(stateDir(s), "journal", "r1", journal.UndoScript)
			if out, status := person(t, m, "/bin/sh", undo); status != 0 || out != "" {
				t.Errorf("undo.sh: %d %s", status, out)
			}
			if diff := cmp.Diff(byEngine, look(m)); diff != "" {
				t.Errorf("the person: %s", diff)
			}
			if left := strays(m); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			again := path.Join(stateDir(s), "history", "r1.1", journal.UndoScript)
			if out, status := person(t, m, "/bin/sh", again); status != 0 || out != "" {
				t.Errorf("twice: %d %s", status, out)
			}
			if diff := cmp.Diff(byEngine, look(m)); diff != "" {
				t.Errorf("twice: %s", diff)
			}
		})
	}
}

func TestAPersonUndoesWhatWasCommitted(t *testing.T) {
	for _, s := range examples(t) {
		t.Run(s.String(), func(t *testing.T) {
			before := look(s.machine())
			m, e, _ := begun(t, s)
			if err := e.Finish(t.Context(), "r1", true, nil); err != nil {
				t.Fatal(err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			undo := path.Join(stateDir(s), "history", "r1.1", journal.UndoScript)
			if out, status := person(t, m, "/bin/sh", undo); status != 0 || out != "" {
				t.Errorf("undo.sh: %d %s", status, out)
			}
			if diff := cmp.Diff(before, look(m)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAScriptFinishesACommit(t *testing.T) {
	for _, s := range examples(t) {
		t.Run(s.String(), func(t *testing.T) {
			m, e, _ := begun(t, s)
			if err := e.Finish(t.Context(), "r1", true, nil); err != nil {
				t.Fatal(err)
			}
			after := look(m)
			m, _, p := begun(t, s)
			p.End()
			dir := path.Join(stateDir(s), "journal", "r1")
			if out, status := person(t, m, "/bin/mv", path.Join(dir, "open"), path.Join(dir, "commit")); status != 0 {
				t.Fatal(out)
			}
			if out, status := person(t, m, "/bin/sh", path.Join(dir, journal.FinishScript)); status != 0 || out != "" {
				t.Errorf("finish.sh: %d %s", status, out)
			}
			if diff := cmp.Diff(after, look(m)); diff != "" {
				t.Error(diff)
			}
			if left := strays(m); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestWhatSomebodyChangedIsLeft(t *testing.T) {
	for _, s := range examples(t) {
		t.Run(s.String(), func(t *testing.T) {
			m, e, _ := begun(t, s)
			if err := e.Finish(t.Context(), "r1", true, nil); err != nil {
				t.Fatal(err)
			}
			_ = e.Close()
			history := path.Join(stateDir(s), "history", "r1.1")
			past, err := journal.Store{Host: m.NewSession(), Root: stateDir(s)}.Past(t.Context(), "r1")
			if err != nil {
				t.Fatal(err)
			}
			edited := ""
			for _, f := range past.Files() {
				for _, op := range f.Do {
					if op.File != nil && op.File.Mode.IsRegular() && edited == "" {
						edited = op.Path
					}
				}
			}
			if edited == "" {
				t.Fatal("no file was written")
			}
			m.Locked(func() { m.FS.Put(edited, 0o644, "a person's\n") })
			out, _ := person(t, m, "/bin/sh", path.Join(history, journal.UndoScript))
			if !strings.Contains(out, edited+": changed by somebody else meanwhile") {
				t.Errorf("undo.sh said %q", out)
			}
			m.Locked(func() {
				if f, err := m.FS.ReadFile(edited); err != nil || string(f.Data) != "a person's\n" {
					t.Errorf("%s: %q %v", edited, f.Data, err)
				}
			})
		})
	}
}

// V7 Bourne shell knows none of what POSIX added.
func TestScriptsAreForOldShells(t *testing.T) {
	for _, s := range examples(t) {
		m, _, _ := begun(t, s)
		for _, name := range []string{journal.UndoScript, journal.FinishScript} {
			text, status := person(t, m, "/bin/cat", path.Join(stateDir(s), "journal", "r1", name))
			if status != 0 {
				t.Fatal(text)
			}
			f, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), name)
			if err != nil {
				t.Fatalf("%s: %v\n%s", s, err, text)
			}
			syntax.Walk(f, func(n syntax.Node) bool {
				if what := tooNew(n); what != "" {
					t.Errorf("%s: %s:%s: %s", s, name, n.Pos(), what)
				}
				return true
			})
		}
	}
}

// tooNew says what of n a V7 Bourne shell does not know; "" nothing.
func tooNew(n syntax.Node) string {
	switch n := n.(type) {
	case *syntax.CmdSubst:
		if !n.Backquotes {
			return "$( )"
		}
	case *syntax.ArithmExp:
		return "$(( ))"
	case *syntax.FuncDecl:
		return "a function"
	case *syntax.Stmt:
		if n.Negated {
			return "!"
		}
	case *syntax.ParamExp:
		if n.Length || n.Exp != nil && strings.ContainsAny(n.Exp.Op.String(), "#%") {
			return "${ }"
		}
	case *syntax.CallExpr:
		for i, w := range n.Args {
			switch lit := w.Lit(); {
			case i == 0 && (lit == "local" || lit == "setsid" || lit == "command" || lit == "printf"):
				return lit
			case n.Args[0].Lit() == "export" && strings.Contains(lit, "="):
				return "export NAME=VALUE"
			case n.Args[0].Lit() == "test" && (lit == "-e" || lit == "-L" || lit == "-h" || lit == "-nt"):
				return "test " + lit
			}
		}
	}
	return ""
}
