package earlier_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/earlier"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A subject is a host that an earlier build has left.
type subject struct {
	earlier.Fixture
	host inventory.Host
	want inventory.Desired
}

func subjects(t *testing.T, states ...string) map[string]subject {
	t.Helper()
	all := map[string]subject{}
	for _, name := range []string{"dr", "nat", "tun", "eras"} {
		site, err := earlier.Site(name)
		if err != nil {
			t.Fatal(err)
		}
		list, err := earlier.Hosts(name)
		if err != nil {
			t.Fatal(err)
		}
		want := site.Desired()
		for _, f := range list {
			if slices.Contains(states, f.State) {
				all[f.String()] = subject{f, *site.Host(f.Host), want[f.Host]}
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("no fixture is %q", states)
	}
	return all
}

func (s subject) fresh() *sim.Machine { return lab.Offline(s.host, nil) }

func (s subject) left() *sim.Machine {
	m := s.fresh()
	s.Restore(m)
	return m
}

func on(m *sim.Machine) *agent.Engine {
	return &agent.Engine{Host: m.NewSession(), Plan: providers.Plan}
}

// do runs a whole transaction, and says whether there was anything to do and
// what was settled first.
func do(t *testing.T, m *sim.Machine, run string, req agent.Request) agent.Begun {
	t.Helper()
	e := on(m)
	begun, err := e.Begin(t.Context(), agent.Transaction{Run: run, Who: "op", Request: req}, nil)
	if err == nil && begun.Differs {
		if err = e.Apply(t.Context(), nil); err == nil {
			f := on(m)
			err = errors.Join(f.Finish(t.Context(), run, true, nil), f.Close())
		}
	}
	if err = errors.Join(err, e.Close()); err != nil {
		t.Fatalf("%s: %v", run, err)
	}
	return begun
}

func same(t *testing.T, want, got *sim.Machine) {
	t.Helper()
	w, g := want.View(), got.View()
	lines := func(s string) []string { return strings.Split(s, "\n") }
	if d := cmp.Diff(lines(w.Files), lines(g.Files)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	if d := cmp.Diff(lines(w.Live), lines(g.Live)); d != "" {
		t.Errorf("live (-want +got):\n%s", d)
	}
}

// committed is the state that First left on the host.
func (s subject) committed(t *testing.T) *sim.Machine {
	t.Helper()
	for _, o := range subjects(t, "committed") {
		if o.Site == s.Site && o.Host == s.Host {
			return o.left()
		}
	}
	t.Fatalf("no committed fixture of %s %s", s.Site, s.Host)
	return nil
}

// made is what a converge makes of the host: what First has left, but where
// this build wants more.
func (s subject) made(t *testing.T) *sim.Machine {
	t.Helper()
	if !news[s.Site+"/"+s.Host] {
		return s.committed(t)
	}
	m := s.fresh()
	do(t, m, "r1", agent.ToConverge(s.want))
	return m
}

// news are the hosts of which this build wants more than the earlier one did:
// rules of IPVS that are there before any network where systemd runs.
var news = map[string]bool{"eras/lb7": true, "eras/lbnone": true}

// What was converged is so: nothing differs, and so nothing would be told as
// drift that is due to this build alone. It is only asked: nothing is changed.
func TestWhatWasConvergedIsSo(t *testing.T) {
	for name, s := range subjects(t, "committed") {
		t.Run(name, func(t *testing.T) {
			m := s.left()
			for _, req := range []agent.Request{agent.ToConverge(s.want), agent.ToAdd(s.want)} {
				e, new := on(m), false
				r, err := e.Check(t.Context(), req)
				if err = errors.Join(err, e.Close()); err != nil {
					t.Fatal(err)
				}
				for _, i := range r.Items {
					if !i.Change.Holds() && !(req.Partial || i.New) || i.New && !news[s.Site+"/"+s.Host] {
						t.Errorf("%s %s differs, new %v:\n%s", i.Layer, i.Step, i.New, i.Change.Diff)
					}
					new = new || i.New
				}
				if want := news[s.Site+"/"+s.Host] && !req.Partial; new != want {
					t.Errorf("something is new with this build: %v, want %v", new, want)
				}
				if r.Unsettled != "" || r.UnderWay != "" || r.Removes {
					t.Errorf("unsettled %q, under way %q, removes %v", r.Unsettled, r.UnderWay, r.Removes)
				}
			}
			same(t, s.left(), m)
		})
	}
}

// Once somebody has converged, nothing is new any more, and what is damaged then
// is drift, also of what nobody had to write.
func TestNothingIsNewForLong(t *testing.T) {
	for name, s := range subjects(t, "committed") {
		if !news[s.Site+"/"+s.Host] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			m := s.left()
			if begun := do(t, m, "r3", agent.ToConverge(s.want)); !begun.Differs {
				t.Error("there was nothing to do")
			}
			look := func() (differ, new []string) {
				e := on(m)
				r, err := e.Check(t.Context(), agent.ToConverge(s.want))
				if err = errors.Join(err, e.Close()); err != nil {
					t.Fatal(err)
				}
				for _, i := range r.Items {
					if !i.Change.Holds() {
						differ = append(differ, i.Step)
					}
					if i.New {
						new = append(new, i.Step)
					}
				}
				return differ, new
			}
			if differ, _ := look(); len(differ) > 0 {
				t.Errorf("after a converge %q differ", differ)
			}
			const unit = "/etc/systemd/system/lvsfleet-rules.service"
			m.Locked(func() {
				if err := m.FS.Remove(unit); err != nil {
					t.Error(err)
				}
			})
			if differ, new := look(); !slices.Contains(differ, "file:"+unit) || len(new) > 0 {
				t.Errorf("%q differ, %q are new", differ, new)
			}
		})
	}
}

func TestWhatWasConvergedIsRemoved(t *testing.T) {
	for name, s := range subjects(t, "committed") {
		t.Run(name, func(t *testing.T) {
			m := s.left()
			do(t, m, "r3", agent.ToRemove(s.want))
			same(t, s.fresh(), m)
			e := on(m)
			if err := errors.Join(e.Clean(t.Context(), false), e.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A part that is not wanted any more goes, by what the earlier ledger says.
func TestWhatWasConvergedShrinks(t *testing.T) {
	for name, s := range subjects(t, "committed") {
		less := s.want
		less.VIPs, less.Decaps, less.Director = nil, nil, nil
		t.Run(name, func(t *testing.T) {
			want, m := s.fresh(), s.left()
			do(t, want, "r1", agent.ToConverge(less))
			do(t, m, "r3", agent.ToConverge(less))
			same(t, want, m)
		})
	}
}

func TestWhatWasConvergedIsRolledBack(t *testing.T) {
	for name, s := range subjects(t, "committed") {
		t.Run(name, func(t *testing.T) {
			m := s.left()
			if begun := do(t, m, "r3", agent.ToRevert(s.want, earlier.First, agent.Reverts{})); !begun.Differs {
				t.Error("there was nothing to take back")
			}
			same(t, s.fresh(), m)
			// It counts as taken back for whoever comes next.
			if begun := do(t, m, "r4", agent.ToConverge(s.want)); !begun.Differs {
				t.Error("there was nothing to do again")
			}
			same(t, s.made(t), m)
		})
	}
}

// Who finds an interrupted transaction settles it as its journal says, and
// goes on.
func TestWhatWasInterruptedIsRecovered(t *testing.T) {
	for name, s := range subjects(t, "open", "claimed", "undone", "removing", "reverting", "withdrawn", "yielding") {
		t.Run(name, func(t *testing.T) {
			m := s.left()
			e := on(m)
			r, err := e.Check(t.Context(), agent.ToConverge(s.want))
			if err = errors.Join(err, e.Close()); err != nil {
				t.Fatal(err)
			}
			if (r.Unsettled == "") != (s.State == "undone") {
				t.Errorf("unsettled: %q", r.Unsettled)
			}
			// Nothing is asked but to settle.
			begun := do(t, m, "r3", agent.ToWithdraw(s.want, nil))
			if begun.Differs || (begun.Settled == "") != (s.State == "undone") {
				t.Errorf("%+v", begun)
			}
			before := s.fresh()
			if s.State != "open" && s.State != "undone" {
				before = s.committed(t)
			}
			same(t, before, m)
			do(t, m, "r4", agent.ToConverge(s.want))
			same(t, s.made(t), m)
		})
	}
}

// After a boot only what is for the boot is left of it.
func TestWhatWasInterruptedIsRecoveredAfterABoot(t *testing.T) {
	for name, s := range subjects(t, "open", "claimed", "removing", "reverting") {
		t.Run(name, func(t *testing.T) {
			m := s.left()
			m.Reboot()
			do(t, m, "r3", agent.ToConverge(s.want))
			want := s.fresh()
			if s.State == "removing" || s.State == "reverting" {
				want = s.committed(t)
			}
			want.Reboot()
			do(t, want, "r3", agent.ToConverge(s.want))
			same(t, want, m)
		})
	}
}

// Every runtime step that an earlier build has recorded is one of this one's
// plan, by its ID, and has the effects that this build would have recorded.
func TestRecordedStepsArePlanned(t *testing.T) {
	for name, s := range subjects(t, "committed") {
		t.Run(name, func(t *testing.T) {
			e := on(s.left())
			r, err := e.Check(t.Context(), agent.ToConverge(s.want))
			if err = errors.Join(err, e.Close()); err != nil {
				t.Fatal(err)
			}
			planned := map[string]bool{}
			for _, i := range r.Items {
				planned[i.Step] = true
			}
			made := s.fresh()
			do(t, made, "r1", agent.ToConverge(s.want))
			e = on(s.left())
			gone, err := e.Check(t.Context(), agent.ToRemove(s.want))
			if err = errors.Join(err, e.Close()); err != nil {
				t.Fatal(err)
			}
			e = on(made)
			ours, err := e.Check(t.Context(), agent.ToRemove(s.want))
			if err = errors.Join(err, e.Close()); err != nil {
				t.Fatal(err)
			}
			recorded, now := kinds(gone), kinds(ours)
			maps.DeleteFunc(now, func(id string, _ []string) bool { return recorded[id] == nil }) // what this build makes beside it
			if d := cmp.Diff(now, recorded); d != "" {
				t.Errorf("effects (-of this build's record +of the earlier one's):\n%s", d)
			}
			ids := map[string]bool{}
			for _, i := range gone.Items {
				if i.Layer == agent.Live {
					ids[i.Step] = true
				}
			}
			if len(ids) == 0 {
				t.Error("the ledger has no step")
			}
			for _, id := range slices.Sorted(maps.Keys(ids)) {
				if !planned[id] {
					t.Errorf("no plan has %s any more", id)
				}
			}
		})
	}
}

// kinds are the effects of the runtime steps of a removal, but for what a
// record of an earlier build cannot say: which gateway, which far end.
func kinds(r agent.Report) map[string][]string {
	m := map[string][]string{}
	for _, i := range r.Items {
		for _, e := range i.Change.Effects {
			text := string(e.Kind)
			if e.Kind == step.VIP {
				text += " " + e.Addr.String()
			}
			if e.Kind != step.DefaultRoute {
				text += " " + string(e.Act)
			}
			if !slices.Contains(m[i.Step], text) {
				m[i.Step] = append(m[i.Step], text)
			}
		}
	}
	return m
}
