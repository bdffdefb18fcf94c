package ipvs_test

import (
	"encoding/json"
	"testing"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

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
