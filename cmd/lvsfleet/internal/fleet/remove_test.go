package fleet

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/labtest"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

func (l *labFleet) looks(site *inventory.Site) map[string][]string {
	looks := map[string][]string{}
	for _, h := range site.Hosts {
		looks[h.Name] = labtest.Look(l.lab.Machine(h.Name))
	}
	return looks
}

// Every host of a site is as before lvsfleet came, to the last byte, clients
// having been drained first; and none of its own files is left.
func TestASiteIsRemovedInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	for _, method := range []inventory.Method{inventory.DR, inventory.TUN, inventory.NAT} {
		t.Run(string(method), func(t *testing.T) {
			gateway := map[inventory.Method]string{inventory.DR: "192.168.0.252", inventory.TUN: "192.168.0.1", inventory.NAT: "192.168.0.254"}[method]
			site := labSite(method, gateway, all...)
			if method == inventory.NAT {
				site.Services[0].Address = site.Hosts[0].Interfaces[0].Addresses[0].Addr()
			}
			l := startLab(t, site)
			before := l.looks(site)
			l.converge(site)
			l.entries(func(_ ipvs.Key, e *ipvs.Destination) { e.Active = 1 })
			l.goes, l.removing = site.Services[0].Address.String(), true
			_, out := l.run(site)
			want := map[string]Status{"lb": Changed, "rs160": Changed, "rs170": Changed, "rs180": Changed}
			if d := cmp.Diff(want, statuses(out)); d != "" {
				t.Fatalf("%s%v", d, out)
			}
			if !l.happened("withdraw do lb ipvs", "drain 3", "drain 0", "withdraw do lb ipvs", "change do rs160", "retire do lb") {
				t.Errorf("%q", l.events)
			}
			for name, look := range l.looks(site) {
				if d := cmp.Diff(before[name], look); d != "" {
					t.Errorf("%s (-before +after):\n%s", name, d)
				}
			}
			// Again, on hosts that lvsfleet has left.
			_, out = l.run(site)
			for _, s := range maps.All(statuses(out)) {
				if s != Unchanged {
					t.Errorf("again: %v", statuses(out))
				}
			}
		})
	}
}

// One host goes, with its entries; the others stay as they are.
func TestAHostIsRemovedInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	site := labSite(inventory.DR, "192.168.0.252", all...)
	l := startLab(t, site)
	before := l.looks(site)
	l.converge(site)
	after := l.views(site)
	l.entries(func(_ ipvs.Key, e *ipvs.Destination) { e.Active = 1 })
	l.removing, l.limit = true, []string{"rs170"}
	var shown []Finding
	out, err := l.fleet(site).Converge(t.Context(), func(found []Finding) (bool, error) {
		shown = found
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	entry := "-a -t 192.168.0.200:80 -r 192.168.0.170:80 -g -w 3"
	for _, r := range []agent.Report{shown[0].Report, result(out, "lb").Report} {
		var live, boot string
		for _, i := range r.Items {
			if i.Layer == agent.Live {
				live += i.Change.Diff
			} else {
				boot += i.Change.Diff
			}
		}
		if !strings.Contains(live, "-"+entry) || !strings.Contains(boot, "-"+entry) || strings.Contains(live+boot, "\n+-") {
			t.Errorf("of lb it tells\n%s\n%s", live, boot)
		}
	}
	if len(shown) != 2 || !shown[0].OnlyEntries || shown[1].OnlyEntries {
		t.Errorf("shown: %+v", shown)
	}
	if n := result(out, "lb").Changes; n != 2 {
		t.Errorf("%d steps on lb, not the table and its rules", n)
	}
	if d := cmp.Diff(map[string]Status{"lb": Changed, "rs170": Changed}, statuses(out)); d != "" {
		t.Fatalf("%s%v", d, out)
	}
	if d := cmp.Diff(rules("-g", "rs160", "rs180"), l.table()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(before["rs170"], l.looks(site)["rs170"]); d != "" {
		t.Errorf("(-before +after):\n%s", d)
	}
	now := l.views(site)
	for _, h := range []string{"rs160", "rs180"} {
		if d := cmp.Diff(after[h], now[h]); d != "" {
			t.Errorf("%s was changed:\n%s", h, d)
		}
	}
	l.removing, l.limit = false, nil
	l.converge(site) // and is taken in again
}

// interrupted takes lvsfleet off the hosts, or off all where none is named, one
// after the other, until there is an event that stop is true of.
func (l *labFleet) interrupted(site *inventory.Site, stop func(Event) bool, hosts ...string) Outcome {
	l.t.Helper()
	l.removing, l.limit = true, hosts
	ctx, cancel := context.WithCancel(l.t.Context())
	defer cancel()
	f := l.fleet(site)
	f.Parallel, f.AllowOutage = 1, true
	f.Observe = func(e Event) {
		l.observe(e)
		if stop(e) {
			cancel()
		}
	}
	out, err := f.Converge(ctx, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	if ctx.Err() == nil || !out.Interrupted {
		l.t.Errorf("cancelled: %v, interrupted: %v", ctx.Err(), out.Interrupted)
	}
	return out
}

// A removal that is interrupted tells of each host what became of it, and the
// next one goes on from there.
func TestARemovalIsInterruptedInTheLab(t *testing.T) {
	changed := func(host string) func(Event) bool {
		return func(e Event) bool { return e.Host == host && e.Stage == inventory.Change && e.Phase == PhaseDone }
	}
	for name, c := range map[string]struct {
		stop  func(Event) bool
		hosts []string
		want  map[string]Status
		kept  []string // still have lvsfleet's own files, though they are done
	}{
		"in the drain": {
			stop: func(e Event) bool { return e.Phase == PhaseDrain },
			want: map[string]Status{"lb": NotBegun, "rs160": NotBegun, "rs170": NotBegun, "rs180": Unchanged},
			kept: []string{"rs180"},
		},
		"after a real server": {
			stop: changed("rs160"),
			want: map[string]Status{"lb": Partly, "rs160": Changed, "rs170": NotBegun, "rs180": Unchanged},
			kept: []string{"rs160", "rs180"},
		},
		"after the last real server": {
			stop: changed("rs170"),
			want: map[string]Status{"lb": Partly, "rs160": Changed, "rs170": Changed, "rs180": Unchanged},
			kept: []string{"rs160", "rs170", "rs180"},
		},
		"at lvsfleet's own files": {
			stop: func(e Event) bool { return e.Host == "rs160" && e.Phase == PhaseClean },
			want: map[string]Status{"lb": Changed, "rs160": Changed, "rs170": Changed, "rs180": Unchanged},
			kept: []string{"rs170", "rs180"},
		},
		"one host in its drain": {
			stop:  func(e Event) bool { return e.Phase == PhaseDrain },
			hosts: []string{"rs160"},
			want:  map[string]Status{"lb": NotBegun, "rs160": NotBegun},
		},
		"one host of two": {
			stop:  changed("rs160"),
			hosts: []string{"rs160", "rs170"},
			want:  map[string]Status{"lb": Partly, "rs160": Changed, "rs170": NotBegun},
			kept:  []string{"rs160"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			site := labSite(inventory.DR, "192.168.0.252", "rs160", "rs170", "rs180")
			l := startLab(t, site)
			before := l.looks(site)
			l.limit = []string{"rs160", "rs170"}
			l.converge(site)
			l.entries(func(_ ipvs.Key, e *ipvs.Destination) { e.Active = 1 })
			l.goes = "192.168.0.200"
			out := l.interrupted(site, c.stop, c.hosts...)
			if d := cmp.Diff(c.want, statuses(out)); d != "" {
				t.Error(d)
			}
			var kept []string
			for _, r := range out.Results {
				if r.Kept {
					kept = append(kept, r.Host)
				}
				if done := r.Status == Changed; done != (r.Changes > 0) || done && (r.Err != nil || !r.Committed) {
					t.Errorf("%s is %s: %d steps, committed: %v, %v", r.Host, r.Status, r.Changes, r.Committed, r.Err)
				}
			}
			if d := cmp.Diff(c.kept, kept); d != "" {
				t.Error(d)
			}
			l.limit = nil
			l.run(site)
			for name, look := range l.looks(site) {
				if d := cmp.Diff(before[name], look); d != "" {
					t.Errorf("%s (-before +after):\n%s", name, d)
				}
			}
		})
	}
}

// What a host remembers of lvsfleet's doings goes back with the run that did
// them, so that a removal after it still finds what was there before.
func TestTheLedgerGoesBackWithARunInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	one := labSite(inventory.DR, "192.168.0.252", all...)
	l := startLab(t, one)
	before := l.looks(one)
	l.converge(one)
	ledgers := func() map[string]string {
		got := map[string]string{}
		for _, h := range one.Hosts {
			m := l.lab.Machine(h.Name)
			f, err := m.ReadFile(t.Context(), host.StateDir(m.Identity.OS)+"/ledger.json")
			if err != nil {
				t.Fatal(err)
			}
			got[h.Name] = string(f.Data)
		}
		return got
	}
	first, views := ledgers(), l.views(one)

	// A run that adds, and one that also takes away.
	two := labSite(inventory.DR, "192.168.0.1", all...)
	two.Services = append(two.Services, labService("shop", "192.168.0.201", inventory.DR))
	_, out := l.run(two)
	l.leaves = map[ipvs.Key]bool{{Protocol: "tcp", Addr: netip.MustParseAddr("192.168.0.201"), Port: 80}: true}
	l.rollback(two, out, views)
	if d := cmp.Diff(first, ledgers()); d != "" {
		t.Errorf("after taking more back: %s", d)
	}
	l.converge(two)
	views = l.views(two)
	second := ledgers()
	_, out = l.run(labSite(inventory.TUN, "192.168.0.1", all...))
	l.rollback(two, out, views)
	if d := cmp.Diff(second, ledgers()); d != "" {
		t.Errorf("after taking less back: %s", d)
	}

	l.goes, l.removing = "192.168.0.200", true
	l.run(two)
	for name, look := range l.looks(one) {
		if d := cmp.Diff(before[name], look); d != "" {
			t.Errorf("%s (-before +after):\n%s", name, d)
		}
	}
}

// A real server is not made to lose what a director outside the limit still
// sends clients to.
func TestALimitLeavesNoClientsBehindInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	two := labSite(inventory.DR, "192.168.0.252", all...)
	two.Services = append(two.Services, labService("shop", "192.168.0.201", inventory.DR))
	l := startLab(t, two)
	l.converge(two)
	views := l.views(two)
	one := labSite(inventory.DR, "192.168.0.252", all...)
	l.limit = []string{"rs160"}
	_, err := l.fleet(one).Converge(t.Context(), nil)
	if !errors.Is(err, ErrPreflight) || !strings.Contains(err.Error(), "TCP 192.168.0.201:80 on lb still sends clients to rs160") {
		t.Errorf("%v", err)
	}
	if d := cmp.Diff(views, l.views(two)); d != "" {
		t.Errorf("changed: %s", d)
	}
	l.goes, l.limit = "192.168.0.201", []string{"rs160", "lb"}
	if _, err := l.fleet(one).Converge(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if l.holds("rs160", "192.168.0.201") || l.holds("lb", "192.168.0.201") || !l.holds("rs170", "192.168.0.201") {
		t.Error("not just what was asked for was changed")
	}
	l.limit = nil
	l.converge(one)
}

// A service moves to another director: the old one gives the VIP up before the
// new one takes it, so that never two answer for it.
func TestAVIPMovesToAnotherDirectorInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	site := func(role string) *inventory.Site {
		s := labSite(inventory.DR, "192.168.0.252", all...)
		second := *s.Hosts[0]
		second.Name, second.Address, second.Roles = "lb2", "192.168.0.253", []string{"second"}
		second.Interfaces = []inventory.Interface{{Device: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.0.253/24")}}}
		s.Hosts = slices.Insert(s.Hosts, 1, &second)
		s.Roles = append(s.Roles, inventory.Role{Name: "second"})
		s.Services[0].Director = role
		return s
	}
	l := startLab(t, site("director"))
	l.converge(site("director"))
	before := l.views(site("director"))
	l.goes = "192.168.0.200" // from this director's table
	_, out := l.run(site("second"))
	for _, r := range out.Results {
		if r.Err != nil {
			t.Errorf("%s is %s: %v", r.Host, r.Status, r.Err)
		}
	}
	if !l.happened("withdraw do lb address:192.168.0.200", "admit do lb2 address:192.168.0.200", "admit do lb2 ipvs", "withdraw do lb ipvs", "retire do lb ipvs") {
		t.Errorf("%q", l.events)
	}
	if l.holds("lb", "192.168.0.200") || !l.holds("lb2", "192.168.0.200") {
		t.Error("the VIP has not moved")
	}
	found, err := l.fleet(site("second")).Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range found {
		if h.Err != nil || h.Differs() {
			t.Errorf("afterwards %s differs: %v\n%v", h.Host, h.Err, h.Report.Items)
		}
	}
	// And back, at the first attempt.
	l.leaves = map[ipvs.Key]bool{{Protocol: "tcp", Addr: netip.MustParseAddr("192.168.0.200"), Port: 80}: true}
	l.rollback(site("second"), out, before)
	if !l.happened("retire do lb2 address:192.168.0.200", "retire do lb address:192.168.0.200") {
		t.Errorf("on the way back: %q", l.events)
	}
}
