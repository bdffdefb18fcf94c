package main

import (
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// releases are the eras of each system.
var releases = map[inventory.OS][]string{
	inventory.Linux:   {"2.6.15-1.2054_FC5", "2.6.32-754.el6.x86_64", "3.10.0-1160.el7.x86_64", ""},
	inventory.FreeBSD: {"5.4-RELEASE", "10.0-RELEASE", "13.2-RELEASE", ""},
	inventory.Solaris: {"5.10", "5.11"},
}

// eras are the hosts of the examples, each of every release of its system.
func eras(t *testing.T) []subject {
	t.Helper()
	var all []subject
	for _, s := range examples(t) {
		for _, r := range releases[s.host.OS] {
			s.host.Release, s.want.Release = r, r
			all = append(all, s)
		}
	}
	return all
}

// changes checks the steps, none of which is done meanwhile.
func changes(t *testing.T, h host.Host, steps []step.Step) []step.Made {
	t.Helper()
	cache := host.NewCache(h)
	var list []step.Made
	for _, s := range steps {
		c, err := s.Check(t.Context(), cache)
		if err != nil {
			t.Fatalf("check %s: %v", s.ID(), err)
		}
		if !c.Holds() {
			list = append(list, step.Made{Step: s.ID(), Change: c})
		}
	}
	return list
}

func perform(t *testing.T, h host.Host, what string, ops []step.Op) {
	t.Helper()
	for _, op := range ops {
		if err := op.Do(t.Context(), h); err != nil {
			t.Fatalf("%s: %s: %v", what, op, err)
		}
	}
}

func TestEveryChangeGoesThereAndBack(t *testing.T) {
	for _, s := range eras(t) {
		t.Run(s.String()+" "+s.host.Release, func(t *testing.T) {
			m := s.machine()
			h := m.NewSession()
			plan, _, err := providers.Plan(t.Context(), h, s.want)
			if err != nil {
				t.Fatal(err)
			}
			live, boot := changes(t, h, plan.Live), changes(t, h, plan.Boot)
			made := slices.Concat(live, boot)
			var do, undo []step.Op
			for _, c := range made {
				do = append(do, c.Change.Do...)
				undo = slices.Concat(c.Change.Undo, undo)
			}
			for _, c := range live {
				if c.Change.Was == c.Change.Want && len(c.Change.Undo) > 0 {
					t.Errorf("%s: from %q to the same", c.Step, c.Change.Was)
				}
			}
			before := look(m)
			perform(t, h, "do", do)
			after := look(m)
			if after == before {
				t.Fatal("nothing was changed")
			}
			expect := func(what string, want view) {
				t.Helper()
				if diff := cmp.Diff(want, look(m)); diff != "" {
					t.Fatalf("%s: %s", what, diff)
				}
			}
			for _, turn := range []struct {
				what string
				ops  []step.Op
				want view
			}{{"do twice", do, after}, {"undo", undo, before}, {"undo twice", undo, before}, {"do again", do, after}} {
				perform(t, h, turn.what, turn.ops)
				expect(turn.what, turn.want)
			}

			// The same by steps, live and boot apart, as a rollback does it.
			live = slices.DeleteFunc(live, func(c step.Made) bool { return len(c.Change.Undo) == 0 }) // modules stay
			for range 2 {
				for _, part := range [][]step.Made{live, boot} {
					steps := step.Reversals(part)
					back := changes(t, h, steps)
					if len(back) != len(steps) {
						t.Errorf("%d steps back, of %d that were made", len(back), len(steps))
					}
					for _, c := range back {
						if c.Change.Diff == "" || c.Change.Was == c.Change.Want && part[0].Step == live[0].Step {
							t.Errorf("%s: a change from %q to %q, shown as %q", c.Step, c.Change.Was, c.Change.Want, c.Change.Diff)
						}
						perform(t, h, "back", c.Change.Do)
					}
					if left := changes(t, h, steps); len(left) > 0 {
						t.Errorf("left: %+v", left)
					}
				}
				expect("back", before)
				// And the step back is itself undone.
				perform(t, h, "do once more", do)
				expect("do once more", after)
			}
			var again []step.Op
			for _, part := range [][]step.Made{live, boot} {
				back := changes(t, h, step.Reversals(part))
				for _, c := range back {
					perform(t, h, "back", c.Change.Do)
					again = slices.Concat(c.Change.Undo, again)
				}
			}
			expect("back", before)
			perform(t, h, "undo of the way back", again)
			perform(t, h, "undo of the way back, twice", again)
			expect("undo of the way back", after)
		})
	}
}

// What a person has changed since in live state is left, and told of.
func TestTheWayBackLeavesWhatSomebodyChanged(t *testing.T) {
	s := examples(t)[0]
	for _, e := range examples(t) {
		if e.host.OS == inventory.Linux && e.site == "dr" && len(e.want.VIPs) > 0 {
			s = e
		}
	}
	m := s.machine()
	h := m.NewSession()
	plan, _, err := providers.Plan(t.Context(), h, s.want)
	if err != nil {
		t.Fatal(err)
	}
	live := changes(t, h, plan.Live)
	for _, c := range live {
		perform(t, h, "do", c.Change.Do)
	}
	// A VIP of somebody else's needs the silence; one setting is theirs now.
	if out, status := person(t, m, "ip", "addr", "add", "192.168.0.222/32", "dev", "lo"); status != 0 {
		t.Fatal(out)
	}
	if out, status := person(t, m, "sysctl", "-w", "net.ipv4.conf.eth0.arp_announce=1"); status != 0 {
		t.Fatal(out)
	}
	steps := step.Reversals(live)
	for _, c := range changes(t, h, steps) {
		perform(t, h, "back", c.Change.Do)
	}
	notes := map[string][]string{}
	for _, s := range steps {
		c, err := s.Check(t.Context(), h)
		if err != nil || !c.Holds() {
			t.Errorf("%s is not settled: %+v %v", s.ID(), c, err)
		}
		notes[s.ID()] = c.Told()
	}
	for key, want := range map[string]string{
		"sysctl:net.ipv4.conf.all.arp_ignore":    "sysctl:net.ipv4.conf.all.arp_ignore stays as it is: something that is left needs it",
		"sysctl:net.ipv4.conf.all.arp_announce":  "sysctl:net.ipv4.conf.all.arp_announce stays as it is: something that is left needs it",
		"sysctl:net.ipv4.conf.eth0.arp_announce": "sysctl:net.ipv4.conf.eth0.arp_announce is not as it was made any more, and is left as it is",
	} {
		if diff := cmp.Diff([]string{want}, notes[key]); diff != "" {
			t.Errorf("%s: %s", key, diff)
		}
	}
	out, _ := person(t, m, "ip", "-o", "-4", "addr", "show", "dev", "lo")
	if want := s.want.VIPs[0].Addr.String(); len(out) == 0 || strings.Contains(out, want+"/32") {
		t.Errorf("the VIP is still there: %s", out)
	}
}

// A run that was committed is taken back by a transaction like any other; what
// that one made, its own undo.sh takes back.
func TestARunIsTakenBackOnEveryHost(t *testing.T) {
	for _, s := range eras(t) {
		t.Run(s.String()+" "+s.host.Release, func(t *testing.T) {
			before := look(s.machine())
			m, e, _ := begun(t, s)
			if err := errors.Join(e.Finish(t.Context(), "r1", true, nil), e.Close()); err != nil {
				t.Fatal(err)
			}
			after := look(m)
			back := agent.Transaction{Run: "r2", Who: "op", Request: agent.ToRevert(s.want, "r1", agent.Reverts{})}
			e = &agent.Engine{Host: m.NewSession(), Plan: providers.Plan}
			if _, err := e.Begin(t.Context(), back, nil); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(e.Apply(t.Context(), nil), e.Finish(t.Context(), "r2", true, nil), e.Close()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, look(m)); diff != "" {
				t.Error(diff)
			}
			undo := path.Join(stateDir(s), "history", "r2.1", journal.UndoScript)
			if out, status := person(t, m, "/bin/sh", undo); status != 0 || out != "" {
				t.Errorf("undo.sh: %d %s", status, out)
			}
			if diff := cmp.Diff(after, look(m)); diff != "" {
				t.Errorf("undo.sh: %s", diff)
			}
			if left := strays(m); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A run that has taken everything away is itself taken back after a boot, which
// has left nothing of what the run found: no module, no device.
func TestARemovalIsTakenBackAfterABoot(t *testing.T) {
	for _, s := range eras(t) {
		t.Run(s.String()+" "+s.host.Release, func(t *testing.T) {
			removed := func() *sim.Machine {
				r := s.removed()
				m := r.machine()
				e := &agent.Engine{Host: m.NewSession(), Plan: providers.Plan}
				if _, err := e.Begin(t.Context(), r.transaction("r1"), nil); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(e.Apply(t.Context(), nil), e.Finish(t.Context(), "r1", true, nil), e.Close()); err != nil {
					t.Fatal(err)
				}
				m.Reboot()
				return m
			}
			converged := func(m *sim.Machine, by string) {
				t.Helper()
				e := &agent.Engine{Host: m.NewSession(), Plan: providers.Plan}
				r, err := e.Check(t.Context(), s.request())
				if err = errors.Join(err, e.Close()); err != nil {
					t.Fatal(err)
				}
				for _, i := range r.Items {
					if !i.Change.Holds() {
						t.Errorf("by %s: %s is not as before: %s", by, i.Step, i.Change.Diff)
					}
				}
			}

			m := removed()
			e := &agent.Engine{Host: m.NewSession(), Plan: providers.Plan}
			back := agent.Transaction{Run: "r2", Who: "op", Request: agent.ToRevert(s.want, "r1", agent.Reverts{})}
			if _, err := e.Begin(t.Context(), back, nil); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(e.Apply(t.Context(), nil), e.Finish(t.Context(), "r2", true, nil), e.Close()); err != nil {
				t.Error(err)
			}
			converged(m, "the engine")

			m = removed()
			undo := path.Join(stateDir(s), "history", "r1.1", journal.UndoScript)
			if out, status := person(t, m, "/bin/sh", undo); status != 0 || out != "" {
				t.Errorf("undo.sh: %d %s", status, out)
			}
			converged(m, "undo.sh")
		})
	}
}

// What somebody has set since, and a way back resets, comes again where the way
// back is itself undone.
func TestTheUndoOfAWayBackKnowsWhatSomebodyChanged(t *testing.T) {
	for _, s := range eras(t) {
		if s.host.OS != inventory.Linux || s.want.IPForward4 == nil {
			continue
		}
		for _, how := range []string{"engine", "undo.sh", "removal"} {
			t.Run(s.String()+" "+s.host.Release+" "+how, func(t *testing.T) {
				m, e, _ := begun(t, s)
				if err := errors.Join(e.Finish(t.Context(), "r1", true, nil), e.Close()); err != nil {
					t.Fatal(err)
				}
				for _, kv := range []string{"eth0.forwarding=0", "all.accept_redirects=1"} {
					if out, status := person(t, m, "sysctl", "-w", "net.ipv4.conf."+kv); status != 0 {
						t.Fatal(out)
					}
				}
				before := look(m)
				tx := agent.Transaction{Run: "r2", Who: "op", Request: agent.ToRevert(s.want, "r1", agent.Reverts{})}
				if how == "removal" {
					tx = s.removed().transaction("r2")
				}
				h := m.NewSession()
				e = &agent.Engine{Host: h, Plan: providers.Plan}
				if _, err := e.Begin(t.Context(), tx, nil); err != nil {
					t.Fatal(err)
				}
				if err := e.Apply(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
				if look(m).Live == before.Live {
					t.Fatal("nothing was taken back")
				}
				if how == "undo.sh" {
					h.End()
					if out, status := person(t, m, "/bin/sh", path.Join(stateDir(s), "journal", "r2", journal.UndoScript)); status != 0 || out != "" {
						t.Errorf("undo.sh: %d %s", status, out)
					}
				} else if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, look(m)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}
