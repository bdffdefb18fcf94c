//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// speed measures the table's own operations beside ipvsadm's, without SSH and
// inventory: medians of several rounds, taken in turns.
func (s *suite) speed() {
	const rounds = 5
	c := director()
	s.check("speed: the IPVS table beside ipvsadm", func() error {
		if err := s.build(c); err != nil {
			return err
		}
		if _, err := s.fabric.Run("lb", "ip", "-6", "addr", "add", "fd00:1::fe/64", "dev", "eth0", "nodad"); err != nil {
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
			for _, pair := range [][2]string{
				{"load", "ipvsadm -R"}, {"change all weights", "ipvsadm -R (weights)"},
				{"nothing-to-do diff", "ipvsadm -Sn"}, {"the same, IPv6", "ipvsadm -Sn (IPv6)"},
			} {
				ours, theirs := median(took[pair[0]]), median(took[pair[1]])
				s.log("%-20s %8.1f ms   %-22s %8.1f ms   %5.1f times", pair[0], ms(ours), pair[1], ms(theirs), ms(theirs)/ms(ours))
				for _, part := range []string{"read", "compare", "send"} {
					if list := took[pair[0]+": "+part]; len(list) > 0 {
						s.log("  of which %-9s %8.1f ms", part, ms(median(list)))
					}
				}
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
	table := func(weight int, addr func(a, b, c byte) netip.Addr) (list []ipvs.Want) {
		for i := range services {
			w := ipvs.Want{Service: ipvs.Service{
				Key:       ipvs.Key{Protocol: "tcp", Addr: addr(2, byte(i>>8), byte(i)), Port: 80},
				Scheduler: "wrr",
			}}
			w.Service = w.Normal()
			for j := range dests {
				w.Dests = append(w.Dests, ipvs.Destination{
					DestKey: ipvs.DestKey{Addr: addr(1, byte(i>>8), byte(j+1)), Port: 80},
					Method:  ipvs.NAT, Weight: weight,
				})
			}
			list = append(list, w)
		}
		return list
	}
	four := func(a, b, c byte) netip.Addr { return netip.AddrFrom4([4]byte{10, a, b, c}) }
	six := func(a, b, c byte) netip.Addr {
		return netip.AddrFrom16([16]byte{0: 0xfd, 3: a, 14: b, 15: c})
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
	converge := func(name string, want []ipvs.Want, changes bool) func() error {
		part := func(part string, begun time.Time) time.Time {
			now := time.Now()
			took[name+": "+part] = append(took[name+": "+part], now.Sub(begun))
			return now
		}
		return func() error {
			return s.fabric.In("lb", func() error {
				at := time.Now()
				t, err := ipvs.Open(&host.Local{Name: "lb"})
				if err != nil {
					return err
				}
				have, err := t.Dump(context.Background())
				if err != nil {
					return err
				}
				at = part("read", at)
				edits, _ := ipvs.Diff(have, want)
				at = part("compare", at)
				if changes != (len(edits) > 0) {
					return fmt.Errorf("%d edits", len(edits))
				}
				if !changes {
					return nil
				}
				err = t.Apply(context.Background(), edits)
				part("send", at)
				return err
			})
		}
	}
	rules := func(text string) func() error { return func() error { return s.restore("-n", text) } }
	empty := func() error {
		_, err := s.fabric.Run("lb", "ipvsadm", "-C")
		return err
	}
	one, two, three := table(1, four), table(2, four), table(1, six)
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
		{"", empty}, {"load", converge("load", one, true)}, {"change all weights", converge("change all weights", two, true)},
		{"ipvsadm -Sn", func() error { _, err := s.fabric.Run("lb", "ipvsadm", "-Sn"); return err }},
		{"nothing-to-do diff", converge("nothing-to-do diff", two, false)},
		{"", empty}, {"", converge("load, IPv6", three, true)},
		{"ipvsadm -Sn (IPv6)", func() error { _, err := s.fabric.Run("lb", "ipvsadm", "-Sn"); return err }},
		{"the same, IPv6", converge("the same, IPv6", three, false)},
	} {
		if do.name == "" {
			if err := do.f(); err != nil {
				return err
			}
			continue
		}
		// An agent begins with nothing to collect; what other rounds have left
		// is no part of this one.
		runtime.GC()
		if err := timed(do.name, do.f); err != nil {
			return err
		}
	}
	return nil
}
