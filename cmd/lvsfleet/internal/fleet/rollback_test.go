package fleet

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// views are all machines of the lab as they are.
func (l *labFleet) views(site *inventory.Site) map[string]sim.View {
	v := map[string]sim.View{}
	for _, h := range site.Hosts {
		v[h.Name] = l.lab.Machine(h.Name).View()
	}
	return v
}

// rollback takes a run back, and expects the lab to be as it was.
func (l *labFleet) rollback(site *inventory.Site, run Outcome, want map[string]sim.View) Outcome {
	l.t.Helper()
	var hosts []string
	for _, r := range run.Results {
		if r.Status == Changed {
			hosts = append(hosts, r.Host)
		}
	}
	out, err := l.fleet(site).Rollback(l.t.Context(), run.Run, hosts, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, r := range out.Results {
		if r.Err != nil || slices.Contains(hosts, r.Host) != (r.Status == Changed) {
			l.t.Errorf("%s is %s: %v", r.Host, r.Status, r.Err)
		}
	}
	if d := cmp.Diff(want, l.views(site)); d != "" {
		l.t.Errorf("not as before: %s", d)
	}
	return out
}

func TestRunsAreTakenBackInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	shop := ipvs.Key{Protocol: "tcp", Addr: netip.MustParseAddr("192.168.0.201"), Port: 80}
	active := func(l *labFleet) {
		l.entries(func(_ ipvs.Key, e *ipvs.Destination) { e.Active = 2 })
	}
	first := labSite(inventory.DR, "192.168.0.252", all...)
	two := labSite(inventory.DR, "192.168.0.252", all...)
	two.Services = append(two.Services, labService("shop", "192.168.0.201", inventory.DR))
	none := labSite(inventory.DR, "192.168.0.252", all...)
	none.Services, none.Hosts[0].Roles = nil, nil
	for _, s := range []struct {
		name          string
		first, second *inventory.Site
		words         []string // of what happens when it is taken back
	}{
		{"the director is one no more", first, none, []string{"change do rs160 address:192.168.0.200", "admit do lb ipvs"}},
		{"a service goes", two, first, []string{"prepare do lb address:192.168.0.201", "change do rs160 address:192.168.0.201", "admit do lb ipvs"}},
		{"another gateway", first, labSite(inventory.DR, "192.168.0.1", all...), []string{"withdraw do lb ipvs", "drain 2", "drain 0", "change do rs160 route:default"}},
		{"from dr to tun", first, labSite(inventory.TUN, "192.168.0.252", all...), []string{"withdraw do lb ipvs", "drain 2", "drain 0", "change do rs160", "admit do lb ipvs"}},
		{"one goes", first, labSite(inventory.DR, "192.168.0.252", "rs160", "rs170"), []string{"change do rs180 vip:192.168.0.200", "admit do lb ipvs"}},
		{"another service", first, two, []string{"withdraw do lb ipvs", "drain 6", "drain 0", "withdraw do lb ipvs", "change do rs160", "retire do lb address:192.168.0.201"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			l := startLab(t, s.first)
			fresh := l.views(first)
			run1 := l.converge(s.first)
			before := l.views(first)
			active(l)
			l.leaves = map[ipvs.Key]bool{shop: true}
			if s.second == none {
				l.leaves[ipvs.Key{Protocol: "tcp", Addr: netip.MustParseAddr("192.168.0.200"), Port: 80}] = true
			}
			_, run2 := l.run(s.second)
			after := l.views(first)
			if cmp.Equal(before, after) {
				t.Fatal("nothing was changed")
			}
			active(l)
			// A service that the run made goes with it.
			l.rollback(s.second, run2, before)
			if !l.happened(s.words...) {
				t.Errorf("on the way back: %q", l.events)
			}
			// What was taken back stands in the way of nothing.
			active(l)
			l.leaves[ipvs.Key{Protocol: "tcp", Addr: labService("", "192.168.0.200", "").Address, Port: 80}] = true
			l.rollback(s.first, run1, fresh)
		})
	}
}

// With on_failure = "fleet" the whole fleet changes, or none of it.
func TestTheFleetIsTakenBackInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	first := labSite(inventory.DR, "192.168.0.252", all...)
	l := startLab(t, first)
	l.converge(first)
	before := l.views(first)
	tun := labSite(inventory.TUN, "192.168.0.1", all...)
	tun.Rollout.OnFailure = "fleet"
	l.lab.Machine("rs180").Fail("ifconfig", sim.Fault{Args: []string{"ip.tun0", "plumb"}, Exit: 1, Stderr: "ifconfig: plumb: no memory\n"})
	f, out := l.run(tun)
	want := map[string]Status{"lb": Undone, "rs160": Undone, "rs170": Undone, "rs180": Failed}
	if d := cmp.Diff(want, statuses(out)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(before, l.views(first)); d != "" {
		t.Errorf("not as before: %s", d)
	}
	if !l.happened("change do rs160", "admit do lb ipvs", "change do rs180", "change do rs160") {
		t.Errorf("%q", l.events)
	}
	// Nothing is left of it to be taken back, and it stands in nobody's way.
	back, err := l.fleet(tun).Rollback(t.Context(), f.Run, []string{"lb", "rs160", "rs170"}, nil)
	if err != nil || back.Begun {
		t.Errorf("%+v %v", back, err)
	}
	l.lab.Machine("rs180").Mend()
	l.converge(tun)
}

// A host that cannot be taken back is told of, and what is led to it stays.
func TestAFleetIsTakenBackInPartInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	first := labSite(inventory.DR, "192.168.0.252", all...)
	l := startLab(t, first)
	l.converge(first)
	tun := labSite(inventory.TUN, "192.168.0.1", all...)
	tun.Rollout.OnFailure = "fleet"
	l.lab.Machine("rs180").Fail("ifconfig", sim.Fault{Args: []string{"ip.tun0", "plumb"}, Exit: 1, Stderr: "ifconfig: plumb: no memory\n"})
	l.lab.Machine("rs160").Fail("ip", sim.Fault{Args: []string{"link", "set", "tunl0", "down"}, Exit: 1, Stderr: "RTNETLINK answers: Operation not permitted\n"})
	f, out := l.run(tun)
	want := map[string]Status{"lb": Incomplete, "rs160": Incomplete, "rs170": Undone, "rs180": Failed}
	if d := cmp.Diff(want, statuses(out)); d != "" {
		t.Error(d)
	}
	for _, line := range []string{"160:80 -i -w 3", "170:80 -g -w 3", "180:80 -g -w 3"} {
		if table := l.table(); !strings.Contains(table, line) {
			t.Errorf("%q is not in the table:\n%s", line, table)
		}
	}
	// Once it can be, the rest goes back too.
	for _, h := range all {
		l.lab.Machine(h).Mend()
	}
	back, err := l.fleet(tun).Rollback(t.Context(), f.Run, []string{"lb", "rs160", "rs170"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]Status{"lb": Changed, "rs160": Changed, "rs170": Unchanged}, statuses(back)); d != "" {
		t.Errorf("%s: %+v", d, back)
	}
	if d := cmp.Diff(rules("-g", all...), l.table()); d != "" {
		t.Error(d)
	}
}

// changedIn converges the scene, and gives the hosts that it changed.
func (s scene) changedIn(t *testing.T, w *town) []string {
	t.Helper()
	out, err := s.fleet(w).Converge(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	for _, r := range out.Results {
		if r.Committed {
			hosts = append(hosts, r.Host)
		}
	}
	for n := 1; n <= 4; n++ {
		w.counts[netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + n)})] = 3
	}
	// The only service is one that the run made.
	w.outages = s.before == ""
	w.log, w.calls, w.open = nil, 0, nil
	return hosts
}

// back takes the scene's run back.
func (s scene) back(w *town, hosts []string) (Outcome, error) {
	f := s.fleet(w)
	f.Run = "run-2"
	return f.Rollback(context.Background(), "run-1", hosts, nil)
}

// asBefore says what is not as before the scene.
func (s scene) asBefore(w *town) string {
	text := "lb1:\n" + s.before + "lb2:\n" + s.before
	if d := cmp.Diff(text, w.text()); d != "" {
		return d
	}
	for name := range w.steps {
		if w.state[name] != "before" {
			return name + " is as " + w.state[name]
		}
	}
	return ""
}

func TestClientsAreServedWhileARunIsTakenBack(t *testing.T) {
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			w := s.town(t)
			hosts := s.changedIn(t, w)
			out, err := s.back(w, hosts)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range out.Results {
				if r.Err != nil {
					t.Errorf("%s: %v", r.Host, r.Err)
				}
			}
			if d := s.asBefore(w); d != "" {
				t.Error(d)
			}
		})
	}
}

// The controller dies at every one of its calls: the next rollback goes on.
func TestARollbackWhoseControllerDiesLeavesClientsServed(t *testing.T) {
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			for at := 1; ; at++ {
				w := s.town(t)
				hosts := s.changedIn(t, w)
				w.dieAt = at
				_, _ = s.back(w, hosts)
				if !w.dead {
					if at < 8 {
						t.Errorf("only %d calls", at)
					}
					return
				}
				if text := w.text(); strings.Contains(text, "-w 0") {
					t.Fatalf("dead at call %d (%s): a weight is left at 0:\n%s", at, w.log[len(w.log)-1], text)
				}
				w.look(fmt.Sprintf("after the death at call %d (%s)", at, w.log[len(w.log)-1]))
				w.dead, w.dieAt, w.open = false, 0, nil
				if _, err := s.back(w, hosts); err != nil {
					t.Fatalf("the rollback after call %d: %v", at, err)
				}
				if d := s.asBefore(w); d != "" {
					t.Fatalf("the rollback after call %d: %s", at, d)
				}
			}
		})
	}
}

// A real server fails: it is as the run had left it, and so is its entry; what
// is left waits for it.
func TestARealServerThatCannotBeTakenBackKeepsItsEntry(t *testing.T) {
	for _, verb := range []string{"apply", "commit"} {
		for _, s := range scenes() {
			t.Run(verb+" "+s.name, func(t *testing.T) {
				w := s.town(t)
				hosts := s.changedIn(t, w)
				entry := func() string {
					for l := range strings.Lines(w.text()) {
						if strings.Contains(l, "10.0.0.12:80") {
							return l
						}
					}
					return ""
				}
				after := entry()
				w.fail[verb+" rs2"] = errNo
				f := s.fleet(w)
				f.Run, f.Site.Rollout.MaxFailures = "run-2", 9
				out, err := f.Rollback(context.Background(), "run-1", hosts, nil)
				if err != nil {
					t.Fatal(err)
				}
				if len(w.steps["rs2"]) == 0 {
					return
				}
				if statuses(out)["rs2"] != Failed || w.state["rs2"] != "after" {
					t.Errorf("rs2 is %s, and as %s", statuses(out)["rs2"], w.state["rs2"])
				}
				if d := cmp.Diff(after, entry()); d != "" && s.before != "" {
					t.Errorf("its entry: %s", d)
				}
				w.fail = map[string]error{}
				if _, err := s.back(w, hosts); err != nil {
					t.Fatal(err)
				}
				if d := s.asBefore(w); d != "" {
					t.Errorf("once it can be: %s", d)
				}
			})
		}
	}
}

// With on_failure = "fleet" a host that fails takes the whole fleet back, and
// clients are served meanwhile.
func TestAHostThatFailsTakesTheFleetBack(t *testing.T) {
	for _, fail := range []string{"apply rs3", "commit rs3", "commit rs2", "apply rs1"} {
		for _, s := range scenes() {
			t.Run(fail+" "+s.name, func(t *testing.T) {
				w := s.town(t)
				_, name, _ := strings.Cut(fail, " ")
				if len(w.steps[name]) == 0 {
					return
				}
				w.fail[fail] = errNo
				w.outages = s.before == ""
				f := s.fleet(w)
				f.Site.Rollout.OnFailure = "fleet"
				out, err := f.Converge(context.Background(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if d := s.asBefore(w); d != "" {
					t.Error(d)
				}
				for _, r := range out.Results {
					switch r.Status {
					case Undone, Unchanged, Skipped:
					case Failed:
						if r.Host == name {
							continue
						}
						fallthrough
					case Changed, Incomplete, NotBegun, Partly:
						t.Errorf("%s is %s: %v", r.Host, r.Status, r.Err)
					}
					if r.Committed {
						t.Errorf("%s has something left of the run", r.Host)
					}
				}
			})
		}
	}
}

// A real server that is left out keeps what leads to it, until it can be
// reached again.
func TestWhoIsLeftOutOfARollbackKeepsItsEntry(t *testing.T) {
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			w := s.town(t)
			hosts := s.changedIn(t, w)
			if !slices.Contains(hosts, "rs2") || s.before == "" {
				return
			}
			w.fail["dial rs2"] = errNo
			f := s.fleet(w)
			f.Run, f.SkipUnreachable = "run-2", true
			out, err := f.Rollback(context.Background(), "run-1", hosts, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := statuses(out); got["rs2"] != Skipped || w.state["rs2"] != "after" {
				t.Errorf("%v, rs2 is as %s", got, w.state["rs2"])
			}
			w.look("with rs2 left out")
			if strings.Count(w.text(), "10.0.0.12:80") != 2 {
				t.Errorf("its entries:\n%s", w.text())
			}
			w.fail = map[string]error{}
			if _, err := s.back(w, hosts); err != nil {
				t.Fatal(err)
			}
			if d := s.asBefore(w); d != "" {
				t.Errorf("once it can be reached: %s", d)
			}
		})
	}
}
