package ipvs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/ipvs/ipvstest"
)

// table is one of the given size, spread evenly: that of keepalived's report
// of a reload that died had 2,284 services with 37,298 real servers.
func table(services, dests int) []ipvs.Service {
	out := ipvstest.Large(services, (dests+services-1)/services)
	for i := services - 1; dests < len(out)*len(out[0].Dests); i-- {
		out[i].Dests = out[i].Dests[1:]
		dests++
	}
	return out
}

func benchmarkDiff(b *testing.B, services, dests int, change bool) {
	have := table(services, dests)
	var want []ipvs.Want
	for i, s := range have {
		s.Dests = slices.Clone(s.Dests)
		if change {
			s.Dests[i%len(s.Dests)].Weight = 7                     // one real server's weight
			s.Dests[(i+1)%len(s.Dests)].Port++                     // one goes and one comes
			s.Scheduler = []string{"wlc", "rr", "wlc", "wlc"}[i%4] // every fourth service
		}
		want = append(want, ipvs.Want{Service: s})
	}
	slices.Reverse(have) // the kernel lists what came last first
	edits := 0
	b.ReportAllocs()
	for b.Loop() {
		es, _ := ipvs.Diff(have, want)
		edits = len(es)
	}
	b.ReportMetric(float64(edits), "edits")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(dests), "ns/server")
}

// BenchmarkDiff compares a table with the same one, and with one in which each
// service differs, at a tenth of the size and at the full one: the time for a
// real server must not grow.
func BenchmarkDiff(b *testing.B) {
	for _, size := range []struct{ services, dests int }{{228, 3730}, {2284, 37298}} {
		for _, kind := range []string{"same", "changed"} {
			b.Run(fmt.Sprintf("%s/%d-services-%d-servers", kind, size.services, size.dests), func(b *testing.B) {
				benchmarkDiff(b, size.services, size.dests, kind == "changed")
			})
		}
	}
}

// BenchmarkUndo makes the undo of a whole table's change.
func BenchmarkUndo(b *testing.B) {
	for _, size := range []struct{ services, dests int }{{228, 3730}, {2284, 37298}} {
		b.Run(fmt.Sprintf("%d-services-%d-servers", size.services, size.dests), func(b *testing.B) {
			have := table(size.services, size.dests)
			var want []ipvs.Want
			for _, s := range have {
				want = append(want, ipvs.Want{Service: s})
			}
			edits, _ := ipvs.Diff(nil, want)
			b.ReportAllocs()
			for b.Loop() {
				ipvs.Inverse(nil, edits)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size.dests), "ns/server")
		})
	}
}

// BenchmarkMake makes a whole table, and makes it again, in memory.
func BenchmarkMake(b *testing.B) {
	var want []ipvs.Want
	for _, s := range table(2284, 37298) {
		want = append(want, ipvs.Want{Service: s})
	}
	edits, _ := ipvs.Diff(nil, want)
	for b.Loop() {
		m := &ipvs.Memory{}
		for range 2 {
			if err := ipvs.Make(context.Background(), m, edits); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkJSON writes and reads the undo of a whole table, as a journal does.
func BenchmarkJSON(b *testing.B) {
	var want []ipvs.Want
	for _, s := range table(2284, 37298) {
		want = append(want, ipvs.Want{Service: s})
	}
	edits, _ := ipvs.Diff(nil, want)
	undo := ipvs.Inverse(nil, edits)
	text, err := json.Marshal(undo)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(undo); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(text))/float64(len(undo)), "bytes/edit")
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var back []ipvs.Edit
			if err := json.Unmarshal(text, &back); err != nil {
				b.Fatal(err)
			}
		}
	})
}
