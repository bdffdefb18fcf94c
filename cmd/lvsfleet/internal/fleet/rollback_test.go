package fleet

import (
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
	active := func(l *labFleet) {
		l.entries(func(_ ipvs.Key, e *ipvs.Destination) { e.Active = 2 })
	}
	first := labSite(inventory.DR, "192.168.0.252", all...)
	two := labSite(inventory.DR, "192.168.0.252", all...)
	two.Services = append(two.Services, labService("shop", "192.168.0.201", inventory.DR))
	for _, s := range []struct {
		name   string
		second *inventory.Site
		words  []string // of what happens when it is taken back
	}{
		{"another gateway", labSite(inventory.DR, "192.168.0.1", all...), []string{"withdraw do lb ipvs", "drain 2", "drain 0", "change do rs160 route:default"}},
		{"from dr to tun", labSite(inventory.TUN, "192.168.0.252", all...), []string{"withdraw do lb ipvs", "drain 2", "drain 0", "change do rs160", "admit do lb ipvs"}},
		{"one goes", labSite(inventory.DR, "192.168.0.252", "rs160", "rs170"), []string{"admit do lb ipvs"}},
		{"another service", two, []string{"withdraw do lb ipvs", "drain 6", "drain 0", "withdraw do lb ipvs", "change do rs160", "retire do lb address:192.168.0.201"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			l := startLab(t, first)
			fresh := l.views(first)
			run1 := l.converge(first)
			before := l.views(first)
			active(l)
			run2 := l.converge(s.second)
			after := l.views(first)
			if cmp.Equal(before, after) {
				t.Fatal("nothing was changed")
			}
			active(l)
			// A service that the run made goes with it.
			shop := ipvs.Key{Protocol: "tcp", Addr: labService("", "192.168.0.201", "").Address, Port: 80}
			l.leaves = map[ipvs.Key]bool{shop: true}
			l.rollback(s.second, run2, before)
			if !l.happened(s.words...) {
				t.Errorf("on the way back: %q", l.events)
			}
			// What was taken back stands in the way of nothing.
			active(l)
			l.leaves[ipvs.Key{Protocol: "tcp", Addr: labService("", "192.168.0.200", "").Address, Port: 80}] = true
			l.rollback(first, run1, fresh)
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
