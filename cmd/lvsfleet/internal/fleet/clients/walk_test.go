package clients

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// walk carries out the pair of a seed with its fault. It gives what must not
// be, told with the pair; ran is false where the seed makes no pair.
func walk(t testing.TB, dir string, seed uint64) (found []finding, k kind, ran bool) {
	r := rand.New(rand.NewPCG(seed, 1))
	p, ok := pairOf(t, dir, r)
	if !ok {
		return nil, none, false
	}
	w := newTown(p)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.cancel = cancel
	out, err := w.fleet(p.before, "r1").Converge(ctx, nil)
	if err != nil || !wholly(out) {
		t.Errorf("seed %d: the first converge: %v %v\n%s", seed, err, troubles(out), p.texts[0])
		return nil, none, false
	}
	w.connect()
	names := slices.Sorted(maps.Keys(w.machines))
	w.fault = fault{pick(r, kinds...), pick(r, names...), 1 + r.IntN(12)}
	w.services = between(p)
	w.open, w.log, w.watching = nil, nil, true
	w.look("before")
	w.findings = nil // what a pair is before its run is not the run's
	f := w.fleet(p.after, "r2")
	switch w.fault.kind {
	case limited:
		if slices.ContainsFunc(p.after.Hosts, func(h *inventory.Host) bool { return h.Name == w.fault.host }) {
			f.Limit = []string{w.fault.host}
		}
	case skipped:
		f.SkipUnreachable = true
	}
	out, err = f.Converge(ctx, nil)
	w.mu.Lock()
	w.guards(true)
	w.watching = false
	w.mu.Unlock()
	quiet := err == nil && wholly(out)
	if at := w.leftAtZero(p.after); at != "" && quiet && w.fault.kind != limited {
		w.find("a weight stays at 0", at)
	}
	// Whatever was: the next run ends where a first one would.
	hit := w.fault
	w.fault = fault{}
	w.dead = false
	if quiet && hit.kind != limited && hit.kind != skipped {
		seen, serr := w.fleet(p.after, "r3").Survey(context.Background())
		for _, s := range seen {
			if serr != nil || s.Err != nil || s.Differs() {
				w.find(unreported, fmt.Sprintf("%s differs: %v", s.Host, s.Err))
			}
		}
	}
	if err == nil {
		out, nerr := w.fleet(p.after, "r4").Converge(context.Background(), nil)
		// Where a service is to have no weight, its last real server cannot change.
		weightless := slices.ContainsFunc(p.after.Services, func(v *inventory.VirtualService) bool { return v.Weight == 0 })
		if nerr == nil && !wholly(out) && !weightless {
			w.find(notMended, troubles(out))
		} else if at := w.leftAtZero(p.after); nerr == nil && at != "" {
			w.find("a weight stays at 0", "after the next run: "+at)
		}
	}
	for i, x := range w.findings {
		w.findings[i].story = fmt.Sprintf("seed %d: %s; %s: %s\n  %s\nbefore:\n%s\nafter:\n%s", seed, strings.Join(p.told, ", "), hit, x.what, x.story, p.texts[0], p.texts[1])
	}
	return w.findings, hit.kind, true
}

// wholly says whether a run says that all is as wanted.
func wholly(out fleet.Outcome) bool {
	return !slices.ContainsFunc(out.Results, func(r fleet.Result) bool {
		return r.Err != nil || r.Status != fleet.Changed && r.Status != fleet.Unchanged
	})
}

func troubles(out fleet.Outcome) string {
	var list []string
	for _, r := range out.Results {
		if r.Err != nil {
			list = append(list, fmt.Sprintf("%s %s: %v", r.Host, r.Status, r.Err))
		}
	}
	return strings.Join(list, "; ")
}

// classOf says what kind of finding it is. While a VIP changes it is another
// one, whatever goes wrong beside it.
func classOf(f finding, k kind) string {
	if f.what == nobodyServes && strings.Contains(f.story, vipChanges) {
		return f.what + " / " + vipChanges
	}
	return f.what + " / " + string(k)
}

// A class of findings that is known.
type class struct {
	why string
	// rare is one that the walk meets so seldom that the order in which a run
	// goes through its hosts may keep it from being met.
	rare bool
}

// known are the classes of findings that today's runs have. The walk in full
// length meets each that is not rare: who mends one takes it off.
var known = map[string]class{
	nobodyServes + " / " + vipChanges: {why: "where the new VIP is admitted with no entry (a limit, a refused login), the old one is withdrawn all the same"},
	isCut + " / limited":              {why: "a director that directs nothing any more is not read in a run of its former real server alone"},
	isCut + " / skipped":              {why: "a director that directs nothing any more, and is left out, is not counted as in force"},
	nobodyServes + " / limited":       {rare: true, why: "the proof by NAT does not see that the real server's way back to clients is not by its director"},
	nobodyAnswers + " / limited":      {rare: true, why: "the same"},
	nobodyAnswers + " / skipped":      {rare: true, why: "an entry is given the new method while its real server is left out"},
	unreported + " / failing":         {rare: true, why: "Solaris: from TUN to TUN beside DR takes a second run"},
	notMended + " / no fault":         {rare: true, why: "the same: its proof fails in the first"},
}

// pairs and seeds are how many pairs the walk is of, and the seeds that make
// them: some make none.
func length() (pairs int, seeds uint64) {
	if testing.Short() || raceDetector {
		return 100, 200
	}
	return 2000, 4000
}

// TestClientsOfRandomRuns walks over pairs of sites.
func TestClientsOfRandomRuns(t *testing.T) {
	pairs, seeds := length()
	var mu sync.Mutex
	var work sync.WaitGroup
	var next, ran atomic.Uint64
	found := map[string][]string{}
	struck := map[kind]int{}
	for range runtime.GOMAXPROCS(0) {
		dir := t.TempDir()
		work.Go(func() {
			for int(ran.Load()) < pairs {
				seed := next.Add(1)
				if seed > seeds {
					return
				}
				list, hit, ok := walk(t, dir, seed)
				if !ok {
					continue
				}
				ran.Add(1)
				mu.Lock()
				struck[hit]++
				for _, f := range list {
					class := classOf(f, hit)
					found[class] = append(found[class], f.story)
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
	if int(ran.Load()) < pairs {
		t.Errorf("%d seeds made %d pairs, want %d", seeds, ran.Load(), pairs)
	}
	for _, k := range kinds {
		if struck[k] == 0 {
			t.Errorf("nothing was tried with: %s", k)
		}
	}
	for _, class := range slices.Sorted(maps.Keys(found)) {
		slices.SortStableFunc(found[class], func(a, b string) int { return cmp.Compare(len(a), len(b)) }) // the shortest story
		if c, ok := known[class]; ok {
			t.Logf("known, %d times: %s: %s\n%s", len(found[class]), class, c.why, found[class][0])
			continue
		}
		t.Errorf("%s: %d times\n%s", class, len(found[class]), found[class][0])
	}
	for name, c := range known {
		if found[name] == nil && pairs >= 2000 && !c.rare {
			t.Errorf("%s is not found any more: take it off the list of what is known", name)
		}
	}
}

// FuzzClientsOfRandomRuns walks on from any seed, without an end.
func FuzzClientsOfRandomRuns(f *testing.F) {
	dir := f.TempDir()
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		list, hit, _ := walk(t, dir, seed)
		for _, x := range list {
			if class := classOf(x, hit); known[class].why == "" {
				t.Errorf("%s\n%s", class, x.story)
			}
		}
	})
}
