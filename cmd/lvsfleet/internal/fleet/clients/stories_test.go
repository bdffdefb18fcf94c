package clients

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// failures are the stories that today's runs do not stand. One that is stood
// is an error: it is taken off the list with what mends it.
var failures = map[string]string{}

// story is a test that may be one of the failures.
func story(t *testing.T, tell func(*testing.T) []string) {
	t.Helper()
	wrong := tell(t)
	why, listed := failures[t.Name()]
	switch {
	case listed && len(wrong) == 0:
		t.Errorf("this is mended (%s): take it off the list of failures", why)
	case listed:
		t.Logf("known (%s): %q", why, wrong)
	default:
		for _, s := range wrong {
			t.Error(s)
		}
	}
}

func read(t *testing.T, folder, file string) *inventory.Site {
	t.Helper()
	r := hclfile.Load(filepath.Join("testdata", folder, file+".hcl"), hclfile.Input{})
	if r.Site == nil {
		t.Fatalf("%s/%s: %v", folder, file, r.Diags)
	}
	return r.Site
}

// converged is a town that is as the first site says, with clients.
func converged(t *testing.T, before, after *inventory.Site) *town {
	t.Helper()
	w := newTown(pair{before: before, after: after})
	w.client = nearClient
	out, err := w.fleet(before, "r1").Converge(t.Context(), nil)
	if err != nil || !wholly(out) {
		t.Fatalf("the first converge: %v %s", err, troubles(out))
	}
	w.connect()
	w.services, w.watching = between(pair{before: before, after: after}), true
	return w
}

func (w *town) wrongs() (list []string) {
	w.watching = false
	for _, f := range w.findings {
		list = append(list, f.what+": "+f.story)
	}
	return list
}

// has says whether the director has an entry of the address with a weight.
func (w *town) has(name, addr string, is func(ipvs.Destination) bool) (found bool) {
	m := w.machines[name]
	m.Locked(func() {
		for _, s := range m.Net.IPVS {
			for _, d := range s.Dests {
				found = found || d.Addr.String() == addr && d.Weight > 0 && is(d)
			}
		}
	})
	return found
}

func whatever(ipvs.Destination) bool { return true }

// A director alone is converged, where its new real server is not prepared.
func TestLimitedDirectorPointsAtUnpreparedHost(t *testing.T) {
	story(t, func(t *testing.T) (wrong []string) {
		before, after := read(t, "limit-director", "before"), read(t, "limit-director", "after")
		w := converged(t, before, after)
		f := w.fleet(after, "r2")
		f.Limit = []string{"lb"}
		out, err := f.Converge(t.Context(), nil)
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		if w.has("lb", "10.9.4.13", whatever) {
			wrong = append(wrong, "lb points at w3, which has no VIP")
		}
		for _, r := range out.Results {
			if r.Err != nil {
				wrong = append(wrong, r.Err.Error())
			}
		}
		wrong = append(wrong, w.wrongs()...)
		if out, err := w.fleet(after, "r3").Converge(t.Context(), nil); err != nil || !wholly(out) || !w.has("lb", "10.9.4.13", whatever) {
			wrong = append(wrong, fmt.Sprintf("the whole converge: %v %s", err, troubles(out)))
		}
		return wrong
	})
}

// The same with another method: no real server has a tunnel yet.
func TestLimitedDirectorChangesTheMethodOfUnpreparedHosts(t *testing.T) {
	story(t, func(t *testing.T) (wrong []string) {
		before, after := read(t, "limit-director", "before"), read(t, "limit-director", "after-tun")
		w := converged(t, before, after)
		f := w.fleet(after, "r2")
		f.Limit = []string{"lb"}
		if _, err := f.Converge(t.Context(), nil); err != nil {
			wrong = append(wrong, err.Error())
		}
		for _, a := range []string{"10.9.4.11", "10.9.4.12"} {
			if w.has("lb", a, func(d ipvs.Destination) bool { return d.Method == ipvs.TUN }) {
				wrong = append(wrong, "tunnels to "+a+", which has none")
			}
		}
		return append(wrong, w.wrongs()...)
	})
}

// At no moment do both VIPs have no real server.
func TestChangedVIPIsServedAllTheTime(t *testing.T) {
	story(t, func(t *testing.T) []string {
		before, after := read(t, "vip-change", "before"), read(t, "vip-change", "after")
		w := converged(t, before, after)
		out, err := w.fleet(after, "r2").Converge(t.Context(), nil)
		if err != nil || !wholly(out) {
			return []string{fmt.Sprintf("%v %s", err, troubles(out))}
		}
		return w.wrongs()
	})
}

// A third run is taken back over two earlier changes of one gateway.
func TestThirdRunIsTakenBackOverTwoGateways(t *testing.T) {
	story(t, func(t *testing.T) []string {
		one, two, three := read(t, "rollback-gateway", "1"), read(t, "rollback-gateway", "2"), read(t, "rollback-gateway", "3")
		w := converged(t, one, three)
		w.watching = false
		for i, s := range []*inventory.Site{two, three} {
			if out, err := w.fleet(s, fmt.Sprintf("r%d", i+2)).Converge(t.Context(), nil); err != nil || !wholly(out) {
				t.Fatalf("%v %s", err, troubles(out))
			}
		}
		out, err := w.fleet(three, "r4").Rollback(context.Background(), "r3", []string{"lb", "w1"}, nil)
		if err != nil || !wholly(out) {
			return []string{fmt.Sprintf("%v %s", err, troubles(out))}
		}
		seen, err := w.fleet(two, "r5").Survey(t.Context())
		var wrong []string
		for _, f := range seen {
			if err != nil || f.Err != nil || f.Differs() {
				wrong = append(wrong, fmt.Sprintf("%s is not as the second run left it: %v", f.Host, f.Err))
			}
		}
		return wrong
	})
}

// The director of a service by NAT is another host, which fails as it is to
// serve.
func TestReplacedDirectorFailsAndTheOldOneServes(t *testing.T) {
	story(t, func(t *testing.T) []string {
		before, after := read(t, "director-replaced", "before"), read(t, "director-replaced", "after")
		w := converged(t, before, after)
		w.watching = false
		w.fault = fault{refused, "lb2", 2}
		f := w.fleet(after, "r2")
		for _, h := range before.Hosts {
			if h.Name == "lb1" {
				f.Departed = []*inventory.Host{h}
			}
		}
		out, err := f.Converge(t.Context(), nil)
		if err == nil && wholly(out) {
			return []string{"it did not fail"}
		}
		for _, d := range []string{"lb1", "lb2"} {
			if w.serves(d) {
				return nil
			}
		}
		return []string{fmt.Sprintf("nobody serves: %v %s", err, troubles(out))}
	})
}

// serves says whether a client is answered by an entry of the director.
func (w *town) serves(name string) bool {
	m := w.machines[name]
	var table []ipvs.Service
	m.Locked(func() { table = append(table, m.Net.IPVS...) })
	for _, s := range table {
		for _, d := range s.Dests {
			if d.Weight > 0 && w.reaches(m, s.Key, d) {
				return true
			}
		}
	}
	return false
}

// A mark without an address may need the VIP of a service that goes.
func TestMarkWithoutAddressKeepsWhatItNeeds(t *testing.T) {
	story(t, func(t *testing.T) (wrong []string) {
		before, after := read(t, "mark-without-address", "before"), read(t, "mark-without-address", "after")
		w := converged(t, before, after)
		w.connect()
		if _, err := w.fleet(after, "r2").Converge(t.Context(), nil); err != nil {
			return []string{err.Error()}
		}
		wrong = append(wrong, w.wrongs()...)
		for _, name := range []string{"w1", "w3"} {
			m := w.machines[name]
			held := false
			m.Locked(func() { held = m.Net.Holder(before.Services[0].Address) != nil })
			if !held && !w.slept() {
				wrong = append(wrong, name+" lost the VIP, and the mark's entries were not drained")
			}
		}
		return wrong
	})
}

// slept says whether a drain took its time.
func (w *town) slept() bool { return w.now.Unix() > 1e9 }
