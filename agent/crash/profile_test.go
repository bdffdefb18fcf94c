package main

import "testing"

// BenchmarkRealTransaction takes apart what a transaction on a real kernel
// takes, a real server's by DR: see docs/benchmarks.md.
func BenchmarkRealTransaction(b *testing.B) {
	if why := noNamespaces(); why != "" {
		b.Fatal(why)
	}
	for name, back := range map[string]bool{"made": false, "taken back": true} {
		b.Run(name, func(b *testing.B) {
			sum := map[string]float64{}
			for b.Loop() {
				m, err := inNamespaces(realCase{Back: back, Way: profileCase})
				if err != nil {
					b.Fatal(err)
				}
				for k, v := range m.Profile {
					sum[k] += v
				}
			}
			for k, v := range sum {
				b.ReportMetric(v/float64(b.N), k)
			}
		})
	}
}
