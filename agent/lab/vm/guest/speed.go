//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// speed measures the table's own operations beside ipvsadm's, without SSH and
// inventory: medians of several rounds, taken in turns.
func (s *suite) speed() {
	const rounds = 3
	c := director()
	s.check("speed: the IPVS table beside ipvsadm", func() error {
		if err := s.build(c); err != nil {
			return err
		}
		for _, size := range []struct{ services, dests int }{{1000, 10}} {
			took := map[string][]time.Duration{}
			for range rounds {
				if err := s.speedRound(size.services, size.dests, took); err != nil {
					return err
				}
			}
			s.log("%d services with %d real servers each, medians of %d:", size.services, size.dests, rounds)
			for _, pair := range [][2]string{{"load", "ipvsadm -R"}, {"change all weights", "ipvsadm -R (weights)"}, {"nothing-to-do diff", "ipvsadm -Sn"}} {
				ours, theirs := median(took[pair[0]]), median(took[pair[1]])
				s.log("%-20s %8.1f ms   %-22s %8.1f ms   %5.1f times", pair[0], ms(ours), pair[1], ms(theirs), ms(theirs)/ms(ours))
			}
		}
		return nil
	})
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

func (s *suite) speedRound(services, dests int, took map[string][]time.Duration) error {
	table := func(weight int) (list []ipvs.Want) {
		for i := range services {
			w := ipvs.Want{Service: ipvs.Service{
				Key:       ipvs.Key{Protocol: "tcp", Addr: netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)}), Port: 80},
				Scheduler: "wrr",
			}}
			w.Service = w.Normal()
			for j := range dests {
				w.Dests = append(w.Dests, ipvs.Destination{
					DestKey: ipvs.DestKey{Addr: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(j + 1)}), Port: 80},
					Method:  ipvs.NAT, Weight: weight,
				})
			}
			list = append(list, w)
		}
		return list
	}
	timed := func(name string, f func() error) error {
		begun := time.Now()
		err := f()
		took[name] = append(took[name], time.Since(begun))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	converge := func(want []ipvs.Want, changes bool) func() error {
		return func() error {
			return s.fabric.In("lb", func() error {
				t, err := ipvs.Open(&host.Local{Name: "lb"})
				if err != nil {
					return err
				}
				have, err := t.Dump(context.Background())
				if err != nil {
					return err
				}
				edits, _ := ipvs.Diff(have, want)
				if changes != (len(edits) > 0) {
					return fmt.Errorf("%d edits", len(edits))
				}
				if !changes {
					return nil
				}
				return t.Apply(context.Background(), edits)
			})
		}
	}
	rules := func(text string) func() error { return func() error { return s.restore("-n", text) } }
	empty := func() error {
		_, err := s.fabric.Run("lb", "ipvsadm", "-C")
		return err
	}
	one, two := table(1), table(2)
	var plain []ipvs.Service
	for _, w := range one {
		plain = append(plain, w.Service)
	}
	load := ipvs.Format(plain)
	edit := ""
	for line := range strings.Lines(load) {
		if rest, ok := strings.CutPrefix(line, "-a "); ok {
			edit += "-e " + strings.Replace(rest, "-w 1", "-w 2", 1)
		}
	}
	if strings.Count(load, "-a ") != services*dests {
		return errors.New("the rules are not all there")
	}
	for _, do := range []struct {
		name string
		f    func() error
	}{
		{"", empty}, {"ipvsadm -R", rules(load)}, {"ipvsadm -R (weights)", rules(edit)},
		{"", empty}, {"load", converge(one, true)}, {"change all weights", converge(two, true)},
		{"ipvsadm -Sn", func() error { _, err := s.fabric.Run("lb", "ipvsadm", "-Sn"); return err }},
		{"nothing-to-do diff", converge(two, false)},
	} {
		if do.name == "" {
			if err := do.f(); err != nil {
				return err
			}
			continue
		}
		if err := timed(do.name, do.f); err != nil {
			return err
		}
	}
	return nil
}
