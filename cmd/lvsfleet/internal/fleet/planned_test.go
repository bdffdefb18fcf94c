package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet/plan"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// follows holds the run's events against its plan: each is of a transaction of
// the stage that the plan is at, or of a later one, and every real server's
// transaction takes place.
func follows(t *testing.T, p plan.Plan, events []string) {
	t.Helper()
	at := 0
	seen := map[string]bool{}
	for _, e := range events {
		f := strings.Fields(e) // STAGE PHASE HOST STEP
		if f[0] == "drain" {
			continue
		}
		has := func(s plan.Stage) bool {
			return string(s.Stage) == f[0] && slices.ContainsFunc(s.Transactions, func(x plan.Transaction) bool { return x.Host == f[2] })
		}
		next := slices.IndexFunc(p.Stages[at:], has)
		// What leaves at the end is drained in the plan's last stage but one.
		if next < 0 && f[0] == string(inventory.Withdraw) {
			next = slices.IndexFunc(p.Stages[at:], func(s plan.Stage) bool {
				return s.Stage == inventory.Retire && len(s.Transactions[0].Drains) > 0
			})
		}
		if next < 0 {
			t.Fatalf("%q is not in the plan from stage %d on:\n%s", e, at, p)
		}
		at += next
		seen[fmt.Sprint(at, f[2])] = true
	}
	for i, s := range p.Stages {
		for _, x := range s.Transactions {
			if s.Stage == inventory.Change && !seen[fmt.Sprint(i, x.Host)] {
				t.Errorf("%s did not change in stage %d:\n%s\n%q", x.Host, i, p, events)
			}
		}
	}
}

// The order of what a run does is its plan's.
func TestARunFollowsItsPlanInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	site := func(method inventory.Method, gateway, vip string, pool ...string) *inventory.Site {
		s := labSite(method, gateway, pool...)
		s.Services[0].Address = netip.MustParseAddr(vip)
		return s
	}
	const a, b = "192.168.0.200", "192.168.0.201"
	first := site(inventory.DR, "192.168.0.252", a, all...)
	l := startLab(t, first)
	for _, next := range []struct {
		name string
		site *inventory.Site
		want []string // in the plan
	}{
		{"at first", first, []string{"prepare\n", "change\n", "admit\n"}},
		{"another gateway", site(inventory.DR, "192.168.0.1", a, all...), []string{
			"withdraw, batch 1\n", "rs160 of TCP 192.168.0.200:80, 2 connections now, restored afterwards\n", "change, batch 1\n  rs160: ", "change, batch 2\n  rs170: ", "change, batch 3\n  rs180: ",
		}},
		{"another VIP", site(inventory.DR, "192.168.0.1", b, all...), []string{
			"rs160: adds what the services that come need\n", "admit\n", "withdraw\n  lb: drains\n", "rs160 of TCP 192.168.0.200:80, 2 connections now, deleted\n",
			"change, batch 1\n", "retire\n",
		}},
		{"another method", site(inventory.TUN, "192.168.0.1", b, all...), []string{"withdraw, batch 1\n", "deleted\n", "change, batch 2\n"}},
		{"one goes", site(inventory.TUN, "192.168.0.1", b, "rs160", "rs170"), []string{"drains\n", "deleted\n"}},
		{"another goes", site(inventory.TUN, "192.168.0.1", b, "rs160"), []string{"rs170 of TCP 192.168.0.201:80, 2 connections now, deleted\n"}},
	} {
		l.entries(func(_ ipvs.Key, e *ipvs.Destination) { e.Active = 2 })
		l.goes = a
		f := l.fleet(next.site)
		p, err := f.Plan(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", next.name, err)
		}
		if len(l.events) > 0 {
			t.Errorf("%s: the plan changed something: %q", next.name, l.events)
		}
		rest := p.String()
		for _, w := range next.want {
			_, after, ok := strings.Cut(rest, w)
			if !ok {
				t.Errorf("%s: %q is not there in:\n%s", next.name, w, p)
				break
			}
			rest = after
		}
		out, err := f.Converge(t.Context(), nil)
		if err != nil {
			t.Fatalf("%s: %v", next.name, err)
		}
		for _, r := range out.Results {
			if r.Err != nil {
				t.Errorf("%s: %s: %v", next.name, r.Host, r.Err)
			}
		}
		follows(t, p, l.events)
	}
	p, err := l.fleet(site(inventory.TUN, "192.168.0.1", b, "rs160")).Plan(t.Context())
	if err != nil || len(p.Stages) > 0 {
		t.Errorf("nothing is to be done: %v\n%s", err, p)
	}
	// Nobody would serve while the sole one changes.
	if p, err = l.fleet(site(inventory.TUN, "192.168.0.252", b, "rs160")).Plan(t.Context()); err != nil || len(p.Outages) == 0 {
		t.Errorf("no outage: %v\n%s", err, p)
	}
}
