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

// planFor makes steps of the parts of a Desired that are easily named: a
// gateway gives "a", and lines to files that it shares.
func planFor(_ context.Context, h host.Host, want inventory.Desired) (step.Plan, host.Identity, error) {
	id, err := host.Identify(context.Background(), h)
	var p step.Plan
	if err != nil {
		return p, id, err
	}
	line := func(text string) step.Edit {
		return func(old []byte) ([]byte, error) {
			if strings.Contains("\n"+string(old), "\n"+text+"\n") {
				return old, nil
			}
			return append(slices.Clip(old), text+"\n"...), nil
		}
	}
	shared := &step.FileStep{Path: "/etc/one.conf"}
	if want.IPForward4 != nil {
		p.Live = append(p.Live, step.Sysctl{Key: "a", Value: "1"})
		shared.Edits = append(shared.Edits, line("forward"))
		p.Boot = append(p.Boot, &step.LinkStep{Path: "/etc/rc.d/S10new", Target: "../new"})
	}
	if want.IPForward6 != nil {
		p.Live = append(p.Live, step.Sysctl{Key: "b", Value: "2"})
		shared.Edits = append(shared.Edits, line("forward6"))
		p.Boot = append(p.Boot,
			&step.FileStep{Path: "/etc/new.d/deep/new.conf", Mode: 0o640, Edits: []step.Edit{line("six")}},
			&step.LinkStep{Path: "/etc/link", Target: "somewhere"},
			&step.FileStep{Path: "/etc/gone.conf", Edits: []step.Edit{func([]byte) ([]byte, error) { return nil, nil }}},
			&step.FileStep{Path: "/etc/two.conf", Mode: 0o755, Edits: []step.Edit{line("two=2")}},
		)
	}
	if shared.Edits != nil {
		p.Boot = append(p.Boot, shared)
	}
	return p, id, nil
}

func wish(v4, v6 bool) inventory.Desired {
	d := inventory.Desired{Host: "rs1", OS: inventory.Linux}
	on := true
	if v4 {
		d.IPForward4 = &on
	}
	if v6 {
		d.IPForward6 = &on
	}
	return d
}

// become runs a whole transaction.
func become(t *testing.T, m *sim.Machine, run string, req agent.Request) agent.Report {
	t.Helper()
	e := &agent.Engine{Host: m.NewSession(), Plan: planFor}
	defer e.Close()
	begun, err := e.Begin(t.Context(), agent.Transaction{Run: run, Request: req}, nil)
	r := e.Found()
	if begun.Differs != agent.Differs(r) {
		t.Errorf("%s differs: %t, and what was found: %t", run, begun.Differs, agent.Differs(r))
	}
	if err == nil && begun.Differs {
		if err = e.Apply(t.Context(), nil); err == nil {
			fresh := &agent.Engine{Host: m.NewSession(), Plan: planFor}
			err = errors.Join(fresh.Finish(t.Context(), run, true, nil), fresh.Close())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ledgerOf(m *sim.Machine) (text string) {
	m.Locked(func() {
		f, err := m.FS.ReadFile("/var/lib/lvsfleet/ledger.json")
		if err == nil {
			text = string(f.Data)
		}
	})
	return text
}

func TestWhatIsNotWantedAnyMoreGoes(t *testing.T) {
	m := newMachine()
	before := look(m)
	become(t, m, "r1", agent.ToConverge(wish(true, false)))
	one := look(m)
	become(t, m, "r2", agent.ToConverge(wish(true, true)))
	if r := become(t, m, "r3", agent.ToConverge(wish(true, true))); agent.Differs(r) || r.Removes {
		t.Fatalf("again: %+v", r)
	}
	r := become(t, m, "r4", agent.ToConverge(wish(true, false)))
	if !r.Removes {
		t.Error("nothing is said to go")
	}
	if now := look(m); now != one {
		t.Errorf("not as it was with less:\n%s\nwas:\n%s", now, one)
	}
	if r := become(t, m, "r5", agent.ToConverge(wish(true, false))); agent.Differs(r) {
		t.Errorf("again: %+v", r)
	}
	bare := agent.ToRemove(wish(true, false))
	become(t, m, "r6", bare)
	if now := look(m); now != before {
		t.Errorf("not as before:\n%s\nwas:\n%s", now, before)
	}
	if text := ledgerOf(m); text != "" {
		t.Errorf("the ledger still has %s", text)
	}
	if r := become(t, m, "r7", bare); agent.Differs(r) {
		t.Errorf("again: %+v", r)
	}
}

func TestAPartOnlyAdds(t *testing.T) {
	m := newMachine()
	become(t, m, "r1", agent.ToConverge(wish(true, true)))
	part := agent.ToAdd(wish(true, false))
	if r := become(t, m, "r2", part); agent.Differs(r) {
		t.Errorf("a part took something away: %+v", r)
	}
}

func TestRemovalKeepsWhatOthersDid(t *testing.T) {
	m := newMachine()
	become(t, m, "r1", agent.ToConverge(wish(true, true)))
	m.FS.Put("/etc/one.conf", 0o600, "one=0\nforward\ntheirs\nforward6\nalso theirs\n")
	m.FS.Put("/etc/new.d/deep/other.conf", 0o644, "theirs\n")
	m.FS.Put("/etc/two.conf", 0o755, "two=0\ntwo=3\n") // our very line
	m.FS.Remove("/etc/link")
	m.FS.Link("/etc/link", "theirs")
	m.Locked(func() { m.Net.Sysctls["b"] = "7" })
	r := become(t, m, "r2", agent.ToConverge(wish(false, false)))
	var notes []string
	for _, i := range r.Items {
		notes = append(notes, i.Change.Told()...)
	}
	got := look(m)
	for _, want := range []string{
		"a=0\nb=7\n", `"one=0\ntheirs\nalso theirs\n"`, `/etc/gone.conf -rw-r--r-- "gone\n"`,
		`/etc/two.conf -rw-r--r-- "two=0\ntwo=3\n"`, `/etc/new.d/deep/other.conf`, `"theirs"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "S10new") || strings.Contains(got, "deep/new.conf") {
		t.Errorf("left:\n%s", got)
	}
	all := strings.Join(notes, "\n")
	for _, want := range []string{"/etc/two.conf: lines", "/etc/link was changed", "other.conf is in it"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not told of in\n%s", want, all)
		}
	}
}

// A removal that is not committed leaves everything as it was, the ledger too.
func TestARemovalIsUndone(t *testing.T) {
	m := newMachine()
	become(t, m, "r1", agent.ToConverge(wish(true, true)))
	before, book := look(m), ledgerOf(m)
	e := &agent.Engine{Host: m.NewSession(), Plan: planFor}
	if _, err := e.Begin(t.Context(), agent.Transaction{Run: "r2", Request: agent.ToConverge(wish(false, false))}, nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if now := look(m); now != before {
		t.Errorf("now\n%s\nwas\n%s", now, before)
	}
	if now := ledgerOf(m); now != book {
		t.Errorf("ledger: %s, was %s", now, book)
	}
}

// What the host remembers is not taken away while it is the only way back.
func TestCleanWantsAllGivenBack(t *testing.T) {
	m := newMachine()
	m.Commands["rm"] = func(m *sim.Machine, c *sim.Call) int {
		for _, p := range []string{"ledger.json", "history"} {
			m.FS.RemoveAll(c.Argv[len(c.Argv)-1] + "/" + p)
		}
		return 0
	}
	become(t, m, "r1", agent.ToConverge(wish(true, false)))
	clean := func() error {
		e := &agent.Engine{Host: m.NewSession(), Plan: planFor}
		return errors.Join(e.Clean(t.Context(), false), e.Close())
	}
	book := ledgerOf(m)
	err := clean()
	for _, want := range []string{"not given back yet", "sysctl:a", "file:/etc/one.conf", "link:/etc/rc.d/S10new"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, without %q", err, want)
		}
	}
	if now := ledgerOf(m); now != book || book == "" {
		t.Errorf("the ledger: %q, was %q", now, book)
	}
	// What somebody has changed since is not in the way.
	m.Locked(func() { m.Net.Sysctls["a"] = "7" })
	become(t, m, "r2", agent.ToRemove(wish(true, false)))
	if err := clean(); err != nil {
		t.Error(err)
	}
	if ledgerOf(m) != "" || len(openRuns(m)) > 0 {
		t.Error("something is left")
	}
}
