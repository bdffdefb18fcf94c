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

func TestAnIdentityAsksForNothing(t *testing.T) {
	yes := true
	d := inventory.Desired{Host: "lb", OS: inventory.Linux, Network: "none", IPForward4: &yes, Interfaces: []inventory.Interface{{Device: "eth0"}},
		VIPs: []inventory.VIP{{}}, Director: &inventory.Director{Services: []inventory.DirectedService{{Name: "http"}}, Schedulers: []string{"wlc"}}}
	id := d.Identity()
	if id.Host != "lb" || id.OS != inventory.Linux || id.Network != "none" {
		t.Errorf("%+v", id)
	}
	if len(id.Parts()) > 0 || id.Director != nil {
		t.Errorf("more than which host it is: %+v", id)
	}
}
