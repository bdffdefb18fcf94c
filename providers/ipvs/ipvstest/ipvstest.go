// Package ipvstest is the one suite that every ipvs.Table must pass.
package ipvstest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// Lacks are the parts of the suite that not every table has.
type Lacks struct {
	// Families: the machine has no IPv6, or a real server of another family
	// than its service.
	Families bool
	// Tunnels: no tunnel types but IP-in-IP (kernels before 5.2, ipvsadm
	// before 1.31).
	Tunnels bool
}

// Everything is a table with all kinds of service and real server that every
// machine takes, as rules for ipvsadm -R.
const Everything = `
-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 0
-a -t 192.0.2.1:80 -r 10.0.0.3:80 -i -w 65535 -x 100 -y 50
-A -t 192.0.2.1:0 -s rr -p 300 -M 255.255.255.0
-a -t 192.0.2.1:0 -r 10.0.0.1:0 -g -w 1
-A -t 192.0.2.2:443 -s sh -b sh-fallback,sh-port
-A -t 192.0.2.2:444 -s mh -p 7 -b mh-port
-A -t 192.0.2.2:445 -s rr -p 7 -M 255.0.255.0
-A -u 192.0.2.1:53 -s rr -o
-a -u 192.0.2.1:53 -r 10.0.0.1:53 -m -w 100000
-A --sctp-service 192.0.2.1:2905 -s lc
-A -f 7 -s wrr
-a -f 7 -r 10.0.0.1:0 -g -w 1
-A -f 4294967295 -s nq -p 60
`

// Families are services of IPv6, and a real server of IPv4 behind one.
const Families = `
-A -t [2001:db8::1]:80 -s wlc -p 300 -M 64
-a -t [2001:db8::1]:80 -r [2001:db8::a]:80 -g -w 1
-a -t [2001:db8::1]:80 -r 10.0.0.1:80 -i -w 2
-A -f 7 -6 -s rr
-a -f 7 -6 -r [2001:db8::a]:0 -g -w 1
`

// Tunnels are real servers behind tunnels of the other types.
const Tunnels = `
-A -t 192.0.2.9:80 -s wlc
-a -t 192.0.2.9:80 -r 10.0.0.1:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
-a -t 192.0.2.9:80 -r 10.0.0.2:80 -i -w 1 --tun-type gre --tun-nocsum
`

// Rules reads rules, or fails the test.
func Rules(t testing.TB, text string) []ipvs.Service {
	t.Helper()
	s, err := ipvs.ParseRules([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Run runs the suite. open gives an empty table each time; it need not work
// beside an earlier one.
func Run(t *testing.T, lacks Lacks, open func(t *testing.T) ipvs.Table) {
	all := Everything
	if !lacks.Families {
		all += Families
	}
	if !lacks.Tunnels {
		all += Tunnels
	}
	t.Run("what is added is read back", func(t *testing.T) {
		table := open(t)
		is(t, table, "")
		become(t, table, all)
		is(t, table, all)
	})
	t.Run("one table becomes another, and is put back", func(t *testing.T) {
		const other = `
-A -t 192.0.2.1:80 -s wrr -p 20
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 0
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -i -w 3
-a -t 192.0.2.1:80 -r 10.0.0.9:80 -g -w 1
-A -t 192.0.2.2:443 -s sh
-A -t 192.0.2.77:80 -s rr
-A -f 8 -s rr
-a -f 8 -r 10.0.0.1:0 -g -w 1
`
		ctx := context.Background()
		table := open(t)
		become(t, table, all)
		before := dump(t, table)
		edits := diff(before, other)
		undo := ipvs.Inverse(before, edits)
		for range 2 {
			if err := ipvs.Make(ctx, table, edits); err != nil {
				t.Fatal(err)
			}
			is(t, table, other)
		}
		for range 2 {
			if err := ipvs.Make(ctx, table, undo); err != nil {
				t.Fatal(err)
			}
			is(t, table, all)
		}
	})
	t.Run("a large table", func(t *testing.T) {
		table := open(t)
		large := Large(60, 20)
		if err := table.Apply(context.Background(), diff(nil, ipvs.Format(large))); err != nil {
			t.Fatal(err)
		}
		is(t, table, ipvs.Format(large))
		for i := range large {
			large[i].Dests = slices.Clone(large[i].Dests[1:])
			large[i].Dests[0].Weight = 0
		}
		become(t, table, ipvs.Format(large))
		is(t, table, ipvs.Format(large))
	})
	for _, r := range refusals() {
		t.Run("refused: "+r.name, func(t *testing.T) { r.run(t, open(t)) })
	}
}

// A refusal is a list of edits of which the one at index is refused.
type refusal struct {
	name  string
	edits string
	index int
	says  string
}

func refusals() []refusal {
	return []refusal{
		{"a service that is there", "-A -t 192.0.2.1:80 -s wlc\n-A -t 192.0.2.1:80 -s rr", 1, "Service already exists"},
		{"a scheduler that nobody has", "-A -t 192.0.2.1:80 -s none-such", 0, "Scheduler"},
		{"to edit no service", "-E -t 192.0.2.1:80 -s wlc", 0, "No such service"},
		{"to delete no service", "-D -t 192.0.2.1:80", 0, "No such service"},
		{"a real server of no service", "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g", 0, "Service not defined"},
		{"a real server that is there", "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g\n" +
			"-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m", 2, "Destination already exists"},
		{"to edit no real server", "-A -t 192.0.2.1:80 -s wlc\n-e -t 192.0.2.1:80 -r 10.0.0.1:80 -g", 1, "No such destination"},
		{"to delete no real server", "-A -t 192.0.2.1:80 -s wlc\n-d -t 192.0.2.1:80 -r 10.0.0.1:80", 1, "No such destination"},
		{"an address that is no machine's", "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 224.0.0.1:80 -g", 1, "not unicast"},
		{"a lower threshold above the upper", "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -x 1 -y 2", 1, "out of range"},
		{"port zero without persistence", "-A -t 192.0.2.2:80 -s wlc\n-A -t 192.0.2.1:0 -s wlc", 1, "Zero port"},
		{"one-packet scheduling of TCP", "-A -t 192.0.2.1:80 -s wlc -o", 0, "One-Packet"},
	}
}

func (r refusal) run(t *testing.T, table ipvs.Table) {
	var edits []ipvs.Edit
	for line := range strings.Lines(r.edits) {
		e, _, err := ipvs.ParseRule(line)
		if err != nil {
			t.Fatal(err)
		}
		edits = append(edits, e)
	}
	err := table.Apply(context.Background(), edits)
	var failed *ipvs.EditError
	if !errors.As(err, &failed) {
		t.Fatalf("error %v, want an *EditError", err)
	}
	if failed.Index != r.index || failed.Edit.Verb != edits[r.index].Verb {
		t.Errorf("edit %d (%s) failed, want %d", failed.Index, failed.Edit.Verb, r.index)
	}
	if !strings.Contains(err.Error(), r.says) {
		t.Errorf("error %q does not say %q", err, r.says)
	}
}

// Large is a table of services with dests real servers each.
func Large(services, dests int) []ipvs.Service {
	out := make([]ipvs.Service, services)
	for i := range out {
		vip := netip.AddrFrom4([4]byte{192, 0, byte(2 + i/65536), byte(i >> 8)})
		out[i] = ipvs.Service{
			Key:       ipvs.Key{Protocol: "tcp", Addr: vip, Port: uint16(1 + i%256)},
			Scheduler: "wlc",
			Dests:     make([]ipvs.Destination, dests),
		}
		for j := range dests {
			n := i*dests + j
			out[i].Dests[j] = ipvs.Destination{
				DestKey: ipvs.DestKey{Addr: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), Port: out[i].Key.Port},
				Method:  ipvs.DR, Weight: 1,
			}
		}
	}
	return out
}

// diff gives the edits that make have exactly what the rules say.
func diff(have []ipvs.Service, rules string) []ipvs.Edit {
	want, err := ipvs.ParseRules([]byte(rules))
	if err != nil {
		panic(fmt.Sprintf("the suite's own rules: %v", err))
	}
	var w []ipvs.Want
	for _, s := range want {
		w = append(w, ipvs.Want{Service: s})
	}
	_, foreign := ipvs.Diff(have, w)
	for _, s := range foreign {
		w = append(w, ipvs.Want{Service: s, Gone: true})
	}
	edits, _ := ipvs.Diff(have, w)
	return edits
}

func dump(t *testing.T, table ipvs.Table) []ipvs.Service {
	t.Helper()
	s, err := table.Dump(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return ipvs.Sorted(s)
}

func become(t *testing.T, table ipvs.Table, rules string) {
	t.Helper()
	if err := table.Apply(context.Background(), diff(dump(t, table), rules)); err != nil {
		t.Fatal(err)
	}
}

// is compares the table with rules, entry by entry.
func is(t *testing.T, table ipvs.Table, rules string) {
	t.Helper()
	norm := func(list []ipvs.Service) []ipvs.Service {
		list = ipvs.Sorted(list)
		for i, s := range list {
			list[i] = s.Normal()
			list[i].Dests = nil
			for _, d := range s.Dests {
				list[i].Dests = append(list[i].Dests, d.Normal())
			}
		}
		return list
	}
	same := cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}
	if d := cmp.Diff(norm(Rules(t, rules)), norm(dump(t, table)), same); d != "" {
		t.Fatalf("the table (-want +got):\n%s", d)
	}
}
