package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// anyTable is a small table at random: two of them have much in common.
func anyTable(r *rand.Rand) []ipvs.Service {
	var list []ipvs.Service
	for i := range 4 {
		if r.IntN(4) == 0 {
			continue
		}
		s := ipvs.Service{
			Key:       ipvs.Key{Protocol: "tcp", Addr: netip.AddrFrom4([4]byte{192, 0, 2, 1}), Port: []uint16{80, 8, 808, 8080}[i]},
			Scheduler: []string{"rr", "wlc"}[r.IntN(2)],
		}
		for j := range 4 {
			if r.IntN(3) > 0 {
				s.Dests = append(s.Dests, ipvs.Destination{
					DestKey: ipvs.DestKey{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(j + 1)}), Port: s.Key.Port},
					Method:  ipvs.NAT, Weight: r.IntN(2),
				})
			}
		}
		list = append(list, s)
	}
	return list
}

// TestAPersonAndTheEngineEditTheTableAlike: the lines that undo.sh is made of
// come to what ipvs.Make comes to, also where somebody has been at the table,
// and ask ipvsadm what there is no more often than edits follow on each other.
func TestAPersonAndTheEngineEditTheTableAlike(t *testing.T) {
	var director subject
	for _, s := range examples(t) {
		if s.host.Name == "lb" || strings.Contains(s.String(), "lb") {
			director = s
			break
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		have := anyTable(r)
		var want []ipvs.Want
		for _, s := range anyTable(r) {
			want = append(want, ipvs.Want{Service: s})
		}
		for _, s := range have {
			if !slices.ContainsFunc(want, func(w ipvs.Want) bool { return w.Key == s.Key }) {
				want = append(want, ipvs.Want{Service: ipvs.Service{Key: s.Key}, Gone: true})
			}
		}
		edits, _ := ipvs.Diff(have, want)
		undo := ipvs.Inverse(have, edits)
		now := &ipvs.Memory{Services: ipvs.After(have, edits)}
		if r.IntN(2) == 0 { // somebody
			change, _ := ipvs.Diff(now.Services, []ipvs.Want{{Service: ipvs.Service{Key: ipvs.Key{Protocol: "tcp", Addr: netip.AddrFrom4([4]byte{192, 0, 2, 1}), Port: 80}, Scheduler: "sh"}}})
			if err := now.Apply(t.Context(), change); err != nil {
				t.Fatal(err)
			}
		}
		m := director.machine()
		m.Locked(func() { m.Net.IPVS = now.Services })
		byEngine := ipvs.Make(t.Context(), now, undo)
		text, err := step.NewShell().Op(step.Op{Kind: step.IPVS, Edits: undo}, "")
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(text, "ipvsadm -Sn"); n > 3 || n == 0 && len(undo) > 0 {
			t.Errorf("%d edits ask %d times", len(undo), n)
		}
		out, status := script(t, m, text)
		if status != 0 || (byEngine != nil) != strings.Contains(out, "changed by somebody else meanwhile") {
			t.Errorf("the engine: %v; the person: %d %s", byEngine, status, out)
		}
		var got string
		m.Locked(func() { got = ipvs.Format(m.Net.IPVS) })
		if want := ipvs.Format(now.Services); byEngine == nil && got != want {
			t.Fatalf("the engine comes to\n%s\nthe person to\n%s\nby\n%s", want, got, text)
		}
	}
}

// script runs lines as undo.sh does.
func script(t *testing.T, m *sim.Machine, text string) (string, int) {
	t.Helper()
	m.Locked(func() {
		m.FS.Put("/root/edits.sh", 0o700, fmt.Sprintf("egrep='grep -E'\nbad=0\nleft=0\n%sexit $bad\n", text))
	})
	return person(t, m, "/bin/sh", "/root/edits.sh")
}
