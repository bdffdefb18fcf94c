package inventory_test

import (
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
)

func TestAnEndToForwardingIsTheLastStages(t *testing.T) {
	no, yes := false, true
	d := inventory.Desired{IPForward4: &no, IPForward6: &yes, Director: &inventory.Director{
		Services: []inventory.DirectedService{{Name: "http"}},
	}}
	for s, want := range map[inventory.Stage]bool{
		inventory.Prepare: false, inventory.Admit: false, inventory.Retire: true, inventory.Whole: true,
	} {
		part := d.For(s)
		if got := part.IPForward4 != nil; got != want {
			t.Errorf("%q: forwarding of IPv4 ends: %v", s, got)
		}
		if part.IPForward6 == nil || !*part.IPForward6 {
			t.Errorf("%q: forwarding of IPv6 is not asked for", s)
		}
		if (part.Director.Services == nil) != (s == inventory.Prepare) {
			t.Errorf("%q: services %v", s, part.Director.Services)
		}
	}
	if !d.Retires() || (inventory.Desired{IPForward4: &no}).Retires() {
		t.Error("a director with forwarding off retires, and nobody else")
	}
}

func TestWithdrawingLooksAtNothingElse(t *testing.T) {
	yes := true
	d := inventory.Desired{Host: "lb", OS: inventory.Linux, IPForward4: &yes, Interfaces: []inventory.Interface{{Device: "eth0"}},
		VIPs: []inventory.VIP{{}}, Director: &inventory.Director{Services: []inventory.DirectedService{{Name: "http"}}, Schedulers: []string{"wlc"}}}
	w := d.Withdrawing([]inventory.Withdrawal{{Port: 80}})
	if w.Host != "lb" || w.OS != inventory.Linux || len(w.Director.Withdraw) != 1 {
		t.Errorf("%+v", w)
	}
	if w.IPForward4 != nil || w.Interfaces != nil || w.VIPs != nil || w.Director.Services != nil || w.Director.Schedulers != nil {
		t.Errorf("more than the entries: %+v", w)
	}
}
