package fleet

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// "Weight 0 now, removed later" is how people drain: its connections are waited
// for.
func TestWeightZeroWithConnectionsIsDrained(t *testing.T) {
	s := scenes()[0] // another gateway
	s.before = strings.Replace(table("-g", 1, 2, 3, 4), "10.0.0.14:80 -g -w 2", "10.0.0.14:80 -g -w 0", 1)
	w := s.town(t)
	for a := range w.counts {
		if a.As4()[3] == 14 {
			w.counts[a] = 3
		}
	}
	f := s.fleet(w)
	if _, err := f.Converge(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	for a, n := range w.counts {
		if a.As4()[3] == 14 && n > 0 {
			t.Errorf("%d connections were cut", n)
		}
	}
	if i, j := slices.Index(w.log, "apply rs4"), slices.Index(w.log, "apply lb1"); i < j || j < 0 {
		t.Errorf("rs4 did not wait for a drain: %q", w.log)
	}
}

// A director that is lost as an entry's deletion commits may still send clients
// to the real server that was to leave.
func TestWhoLeavesALostDirectorIsLeftInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	l := startLab(t, labSite(inventory.DR, "192.168.0.1", all...))
	l.converge(labSite(inventory.DR, "192.168.0.1", all...))
	after := labSite(inventory.DR, "192.168.0.1", "rs170", "rs180")
	after.Services[0].Method = inventory.DR
	l.asleep = nil
	l.goes = "192.168.0.200"
	f := l.fleet(after)
	observe := f.Observe
	withdrawn := 0
	f.Observe = func(e Event) {
		observe(e)
		if e.Host == "lb" && e.Stage == inventory.Withdraw && e.Phase == "do" {
			if withdrawn++; withdrawn == 2 { // the deletion
				l.lab.Vanish("lb")
			}
		}
	}
	out, err := f.Converge(t.Context(), nil)
	l.lab.SetFaults("lb", lab.Faults{})
	if err != nil {
		t.Fatal(err)
	}
	if withdrawn < 2 {
		t.Fatalf("nothing was deleted: %q", l.events)
	}
	if got := statuses(out); got["rs160"] == Changed || !l.holds("rs160", "192.168.0.200") {
		t.Errorf("rs160 lost its VIP although its director was lost: %v", got)
	}
}

// A director goes on forwarding as long as an entry by NAT is in force.
func TestForwardingOutlivesWhoIsStillNATInTheLab(t *testing.T) {
	nat := func(method inventory.Method) *inventory.Site {
		s := labSite(method, "192.168.0.254", "rs160", "rs170")
		return s
	}
	l := startLab(t, nat(inventory.NAT))
	l.converge(nat(inventory.NAT))
	off := false
	after := nat(inventory.DR)
	for _, h := range after.Hosts {
		if h.Name == "lb" {
			h.IPForward = &off
		}
	}
	l.lab.SetFaults("rs170", lab.Faults{Unreachable: true})
	f := l.fleet(after)
	f.SkipUnreachable = true
	out, err := f.Converge(t.Context(), nil)
	l.lab.SetFaults("rs170", lab.Faults{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(l.table(), "192.168.0.170:80 -m") {
		t.Fatalf("rs170 is not NAT any more: %v\n%s", statuses(out), l.table())
	}
	forwards := func() string {
		got, err := l.lab.Machine("lb").Run(t.Context(), host.Cmd{Argv: []string{"sysctl", "-n", "net.ipv4.ip_forward"}})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(got.Stdout))
	}
	if forwards() != "1" {
		t.Errorf("lb forwards nothing any more: %v", result(out, "lb"))
	}
	if notes := fmt.Sprint(result(out, "lb").Report.Notes); !strings.Contains(notes, "rs170 is still served by NAT") {
		t.Errorf("nobody says why: %s", notes)
	}
	l.converge(after)
	if forwards() != "0" {
		t.Error("lb forwards for nobody")
	}
}

// A director newly names a real server that needed no change only if it is
// proved.
func TestWhoNeededNoChangeIsProvedInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	site := func() *inventory.Site {
		s := provenSite(inventory.DR, "192.168.0.252", all...)
		s.Services[0].RequireListener = true
		return s
	}
	l := startLab(t, site())
	l.converge(site())
	m := l.lab.Machine("lb")
	m.Locked(func() {
		d := &m.Net.IPVS[0].Dests
		*d = slices.DeleteFunc(*d, func(e ipvs.Destination) bool { return e.Addr.String() == "192.168.0.170" })
	})
	rs := l.lab.Machine("rs170")
	listeners := rs.Listeners
	rs.Listeners = nil
	_, out := l.run(site())
	l.became(out, map[string]Status{"lb": Held, "rs160": Unchanged, "rs170": Unproved, "rs180": Unchanged})
	if strings.Contains(l.table(), "192.168.0.170") {
		t.Errorf("lb sends clients to whom does not answer:\n%s", l.table())
	}
	rs.Listeners = listeners
	l.converge(site())
	if !strings.Contains(l.table(), "192.168.0.170") {
		t.Errorf("it answers, and has no clients:\n%s", l.table())
	}
}

// A VIP that changes: the new one serves before the old one drains.
func TestAVIPThatChangesIsServedThroughoutInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	site := func(vip string) *inventory.Site {
		s := labSite(inventory.DR, "192.168.0.1", all...)
		s.Services[0].Address = netip.MustParseAddr(vip)
		return s
	}
	l := startLab(t, site("192.168.0.200"))
	l.converge(site("192.168.0.200"))
	l.entries(func(_ ipvs.Key, e *ipvs.Destination) { e.Active = 2 })
	f := l.fleet(site("192.168.0.201"))
	observe := f.Observe
	l.goes = "192.168.0.200"
	f.Observe = func(e Event) {
		observe(e)
		serving := 0
		l.entries(func(_ ipvs.Key, d *ipvs.Destination) {
			if d.Weight > 0 {
				serving++
			}
		})
		if serving == 0 {
			t.Errorf("%+v: nobody serves either VIP", e)
		}
	}
	out, err := f.Converge(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	l.became(out, map[string]Status{"lb": Changed, "rs160": Changed, "rs170": Changed, "rs180": Changed})
	if !l.happened("change do rs160", "admit do lb address:192.168.0.201", "drain 6", "drain 0", "withdraw do lb ipvs", "change do rs160") {
		t.Errorf("order: %q", l.events)
	}
	for _, h := range append([]string{"lb"}, all...) {
		if l.holds(h, "192.168.0.200") || !l.holds(h, "192.168.0.201") {
			t.Errorf("%s does not have the new VIP alone", h)
		}
	}
	l.converge(site("192.168.0.201"))
	if len(l.events) > 0 {
		t.Errorf("something was left to do: %q", l.events)
	}
}

// Where no real server of the new VIP is ready, the old one stays.
func TestAVIPStaysWhereNothingComesInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170"}
	site := func(vip string) *inventory.Site {
		s := provenSite(inventory.DR, "192.168.0.1", all...)
		s.Services[0].RequireListener = true
		s.Services[0].Address = netip.MustParseAddr(vip)
		s.Rollout.MaxFailures = 9 // the run goes on
		return s
	}
	l := startLab(t, site("192.168.0.200"))
	l.converge(site("192.168.0.200"))
	for _, h := range all {
		l.lab.Machine(h).Listeners = nil
	}
	_, out := l.run(site("192.168.0.201"))
	if got := statuses(out); got["lb"] != Failed || got["rs160"] != Failed || got["rs170"] != Failed {
		t.Errorf("%v: %v", got, result(out, "rs160").Err)
	}
	if !strings.Contains(l.table(), "192.168.0.200:80 -r 192.168.0.160:80 -g -w 3") {
		t.Errorf("nobody serves any more:\n%s", l.table())
	}
	for _, h := range all {
		if !l.holds(h, "192.168.0.200") {
			t.Errorf("%s lost the old VIP", h)
		}
	}
}
