package ipvs_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// equal compares tables: netip.Addr has no exported fields, and no real
// servers are none however they are written.
func equal() cmp.Options {
	return cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}
}

func rules(t testing.TB, text string) []ipvs.Service {
	t.Helper()
	s, err := ipvs.ParseRules([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wants(t testing.TB, text string) []ipvs.Want {
	t.Helper()
	var w []ipvs.Want
	for _, s := range rules(t, text) {
		w = append(w, ipvs.Want{Service: s})
	}
	return w
}

func lines(edits []ipvs.Edit) string {
	var b strings.Builder
	for _, e := range edits {
		b.WriteString(e.Rule() + "\n")
	}
	return b.String()
}

func key(t testing.TB, addr string) ipvs.DestKey {
	t.Helper()
	ap := netip.MustParseAddrPort(addr)
	return ipvs.DestKey{Addr: ap.Addr(), Port: ap.Port()}
}

func TestDiff(t *testing.T) {
	tests := []struct {
		name    string
		have    string
		want    string
		with    func(t *testing.T, have []ipvs.Service, want []ipvs.Want)
		edits   string
		foreign string
	}{
		{
			name: "an empty table gets the service before its real servers",
			want: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.170:80 -g -w 1
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 3`,
			edits: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 3
-a -t 192.168.0.200:80 -r 192.168.0.170:80 -g -w 1`,
		},
		{
			name: "the same table in another order needs nothing",
			have: `
-A -u 192.168.0.200:53 -s rr -o
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.170:80 -g -w 1
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 3`,
			want: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 3
-a -t 192.168.0.200:80 -r 192.168.0.170:80 -g -w 1
-A -u 192.168.0.200:53 -s rr -o`,
		},
		{
			name: "a service's edit leaves its real servers alone",
			have: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 3`,
			want: `
-A -t 192.168.0.200:80 -s sh -b sh-port -p 300 -M 255.255.255.0
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 3`,
			edits: `
-E -t 192.168.0.200:80 -s sh -p 300 -M 255.255.255.0 -b sh-port`,
		},
		{
			name: "a change of method is one edit",
			have: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -m -w 1`,
			want: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -i -w 1`,
			edits: `
-e -t 192.168.0.200:80 -r 192.168.0.160:80 -i -w 1`,
		},
		{
			name: "real servers come before others are quieted, and go last",
			have: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.1:80 -g -w 1
-a -t 192.168.0.200:80 -r 192.168.0.2:80 -g -w 1
-a -t 192.168.0.200:80 -r 192.168.0.3:80 -g -w 0`,
			want: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.2:80 -g -w 0
-a -t 192.168.0.200:80 -r 192.168.0.3:80 -g -w 1
-a -t 192.168.0.200:80 -r 192.168.0.4:80 -g -w 1`,
			edits: `
-a -t 192.168.0.200:80 -r 192.168.0.4:80 -g -w 1
-e -t 192.168.0.200:80 -r 192.168.0.3:80 -g -w 1
-e -t 192.168.0.200:80 -r 192.168.0.2:80 -g -w 0
-d -t 192.168.0.200:80 -r 192.168.0.1:80`,
		},
		{
			name: "services of others are reported and left",
			have: `
-A -f 7 -s rr
-A -t 192.168.0.9:80 -s rr
-a -t 192.168.0.9:80 -r 192.168.0.160:80 -g -w 1`,
			foreign: `
-A -t 192.168.0.9:80 -s rr
-a -t 192.168.0.9:80 -r 192.168.0.160:80 -g -w 1
-A -f 7 -s rr`,
		},
		{
			name: "a held real server is left as found, present or absent",
			have: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 0`,
			want: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.180:80 -g -w 1`,
			with: func(t *testing.T, _ []ipvs.Service, w []ipvs.Want) {
				w[0].Hold = []ipvs.DestKey{key(t, "192.168.0.160:80"), key(t, "192.168.0.170:80")}
			},
			edits: `
-a -t 192.168.0.200:80 -r 192.168.0.180:80 -g -w 1`,
		},
		{
			name: "foreign weights are set once, and kept on other changes",
			have: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 0
-a -t 192.168.0.200:80 -r 192.168.0.170:80 -m -w 7`,
			want: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 1
-a -t 192.168.0.200:80 -r 192.168.0.170:80 -g -w 1
-a -t 192.168.0.200:80 -r 192.168.0.180:80 -g -w 1`,
			with: func(t *testing.T, _ []ipvs.Service, w []ipvs.Want) { w[0].AnyWeight = true },
			edits: `
-a -t 192.168.0.200:80 -r 192.168.0.180:80 -g -w 1
-e -t 192.168.0.200:80 -r 192.168.0.170:80 -g -w 7`,
		},
		{
			name: "foreign members are neither added nor deleted, and have the right method",
			have: `
-A -t 192.168.0.200:80 -s rr
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -m -w 3
-a -t 192.168.0.200:80 -r 192.168.0.190:80 -g -w 1`,
			want: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 3
-a -t 192.168.0.200:80 -r 192.168.0.170:80 -g -w 1
-a -t 192.168.0.200:80 -r 192.168.0.180:80 -g -w 1`,
			with: func(t *testing.T, _ []ipvs.Service, w []ipvs.Want) {
				w[0].AnyMembers, w[0].Join = true, []ipvs.DestKey{key(t, "192.168.0.180:80")}
			},
			edits: `
-E -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.180:80 -g -w 1
-e -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 3`,
		},
		{
			name: "a service that is made has all its members, foreign or not",
			want: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 1`,
			with: func(_ *testing.T, _ []ipvs.Service, w []ipvs.Want) { w[0].AnyMembers = true },
			edits: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 1`,
		},
		{
			name: "what the kernel shows as Local is no drift from any method",
			have: `
-A -t 192.168.10.254:80 -s wlc
-a -t 192.168.10.254:80 -r 192.168.0.254:80 -g -w 1`,
			want: `
-A -t 192.168.10.254:80 -s wlc
-a -t 192.168.10.254:80 -r 192.168.0.254:80 -m -w 1`,
			with: func(t *testing.T, have []ipvs.Service, _ []ipvs.Want) { have[0].Dests[0].Method = ipvs.Local },
		},
		{
			name: "a service that must go goes last",
			have: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 1`,
			want: `
-A -t 192.168.0.200:80 -s wlc
-A -t 192.168.0.201:80 -s wlc`,
			with: func(t *testing.T, _ []ipvs.Service, w []ipvs.Want) { w[0].Gone = true },
			edits: `
-A -t 192.168.0.201:80 -s wlc
-D -t 192.168.0.200:80`,
		},
		{
			name: "a tunnel of another type is brought back to IP-in-IP",
			have: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum`,
			want: `
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.160:80 -i -w 1`,
			edits: `
-e -t 192.168.0.200:80 -r 192.168.0.160:80 -i -w 1`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			have, want := rules(t, tt.have), wants(t, tt.want)
			if tt.with != nil {
				tt.with(t, have, want)
			}
			edits, foreign := ipvs.Diff(have, want)
			if d := cmp.Diff(strings.TrimPrefix(tt.edits, "\n"), strings.TrimSuffix(lines(edits), "\n")); d != "" {
				t.Errorf("edits (-want +got):\n%s", d)
			}
			if d := cmp.Diff(strings.TrimPrefix(tt.foreign, "\n"), strings.TrimSuffix(ipvs.Format(foreign), "\n")); d != "" {
				t.Errorf("foreign (-want +got):\n%s", d)
			}
			if again, _ := ipvs.Diff(ipvs.After(have, edits), want); len(again) != 0 {
				t.Errorf("after the edits there is still to do:\n%s", lines(again))
			}
			m := &ipvs.Memory{Services: have}
			undo := ipvs.Inverse(have, edits)
			for _, es := range [][]ipvs.Edit{edits, edits, undo, undo} { // each may run twice
				if err := ipvs.Make(context.Background(), m, es); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(ipvs.Sorted(have), ipvs.Sorted(m.Services), equal()); d != "" {
				t.Errorf("after the undo (-before +after):\n%s", d)
			}
		})
	}
}

// TestKernelsOwn: what the kernel adds to a service that was asked for is no
// difference.
func TestKernelsOwn(t *testing.T) {
	asked := ipvs.Service{
		Key:       ipvs.Key{Protocol: "tcp", Addr: netip.MustParseAddr("192.0.2.1"), Port: 80},
		Scheduler: "wlc", Flags: ipvs.Persistent, Timeout: 300,
	}
	shown := asked
	shown.Flags |= 0x0002 // IP_VS_SVC_F_HASHED
	shown.Netmask = 32
	if edits, _ := ipvs.Diff([]ipvs.Service{shown}, []ipvs.Want{{Service: asked}}); len(edits) != 0 {
		t.Errorf("edits: %s", lines(edits))
	}
	shown.Flags, asked.Flags, asked.Timeout = 0x0002, 0, 0
	if edits, _ := ipvs.Diff([]ipvs.Service{shown}, []ipvs.Want{{Service: asked}}); len(edits) != 0 {
		t.Errorf("edits: %s", lines(edits))
	}
}

// TestUndoSparesOthers: what a person has done since is not undone, and the
// rest is.
func TestUndoSparesOthers(t *testing.T) {
	before := `
-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1`
	want := `
-A -t 192.0.2.1:80 -s rr
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 5
-a -t 192.0.2.1:80 -r 10.0.0.3:80 -g -w 1
-A -t 192.0.2.2:80 -s rr
-a -t 192.0.2.2:80 -r 10.0.0.1:80 -g -w 1`
	tests := []struct {
		name    string
		since   string // what the person did
		left    string
		changed []string // the edits that ErrChanged is reported for
	}{
		{
			name:  "nothing",
			since: "",
			left: `
-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1`,
		},
		{
			name:  "another weight",
			since: "-e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 9",
			left: `
-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 9
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1`,
			changed: []string{"edit-dest TCP 192.0.2.1:80 10.0.0.1:80"},
		},
		{
			name:  "a real server in the new service",
			since: "-a -t 192.0.2.2:80 -r 10.0.0.9:80 -g -w 1",
			left: `
-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1
-A -t 192.0.2.2:80 -s rr
-a -t 192.0.2.2:80 -r 10.0.0.9:80 -g -w 1`,
			changed: []string{"delete-service TCP 192.0.2.2:80"},
		},
		{
			name:  "the new service deleted already",
			since: "-D -t 192.0.2.2:80",
			left: `
-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1`,
		},
		{
			name:    "the old service deleted",
			since:   "-D -t 192.0.2.1:80",
			left:    ``,
			changed: []string{"add-dest TCP 192.0.2.1:80 10.0.0.2:80"},
		},
		{
			name:  "another scheduler",
			since: "-E -t 192.0.2.1:80 -s sed",
			left: `
-A -t 192.0.2.1:80 -s sed
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1`,
			changed: []string{"edit-service TCP 192.0.2.1:80"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := context.Background()
			m := &ipvs.Memory{Services: rules(t, before)}
			edits, _ := ipvs.Diff(m.Services, wants(t, want))
			undo := ipvs.Inverse(m.Services, edits)
			if err := ipvs.Make(ctx, m, edits); err != nil {
				t.Fatal(err)
			}
			if tt.since != "" {
				e, _, err := ipvs.ParseRule(tt.since)
				if err != nil {
					t.Fatal(err)
				}
				if err := m.Apply(ctx, []ipvs.Edit{e}); err != nil {
					t.Fatal(err)
				}
			}
			err := ipvs.Make(ctx, m, undo)
			if d := cmp.Diff(strings.TrimPrefix(tt.left, "\n"), strings.TrimSuffix(ipvs.Format(m.Services), "\n")); d != "" {
				t.Errorf("left (-want +got):\n%s", d)
			}
			if (err == nil) != (len(tt.changed) == 0) || (err != nil && !errors.Is(err, ipvs.ErrChanged)) {
				t.Fatalf("error %v", err)
			}
			for _, c := range tt.changed {
				if !strings.Contains(err.Error(), c) {
					t.Errorf("error %q does not name %q", err, c)
				}
			}
		})
	}
}

// randomTable is any table of few enough names that two of them overlap.
func randomTable(r *rand.Rand) []ipvs.Service {
	var out []ipvs.Service
	for i := range 6 {
		if r.IntN(3) == 0 {
			continue
		}
		s := ipvs.Service{
			Key:       ipvs.Key{Protocol: "tcp", Addr: netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i)), Port: 80},
			Scheduler: []string{"rr", "wlc", "sh"}[r.IntN(3)],
		}
		if i == 5 {
			s.Key = ipvs.Key{Mark: 5, V6: r.IntN(2) == 0}
		}
		if r.IntN(2) == 0 {
			s.Flags |= ipvs.Persistent
			s.Timeout = uint32(r.IntN(2) + 1)
			s.Netmask = r.IntN(3) * 8
		}
		for j := range 5 {
			if r.IntN(2) == 0 {
				continue
			}
			a := netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", j+1))
			if s.Key.IPv6() {
				a = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", j+1))
			}
			s.Dests = append(s.Dests, ipvs.Destination{
				DestKey: ipvs.DestKey{Addr: a, Port: s.Key.Port},
				Method:  []ipvs.Method{ipvs.NAT, ipvs.DR, ipvs.TUN}[r.IntN(3)], Weight: r.IntN(3), Upper: uint32(r.IntN(2)),
			})
		}
		out = append(out, s)
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// FuzzDiffUndo: for any two tables the edits lead from one to the other, no
// service is ever without a real server that it keeps, and the undo leads
// back, from wherever the edits stopped.
func FuzzDiffUndo(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, uint8(seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, stop uint8) {
		ctx := context.Background()
		r := rand.New(rand.NewPCG(seed, 1))
		have := ipvs.Sorted(randomTable(r))
		var want []ipvs.Want
		for _, s := range randomTable(r) {
			want = append(want, ipvs.Want{Service: s, AnyWeight: r.IntN(4) == 0, AnyMembers: r.IntN(6) == 0, Gone: r.IntN(5) == 0})
		}
		edits, _ := ipvs.Diff(have, want)
		undo := ipvs.Inverse(have, edits)
		m := &ipvs.Memory{Services: have}
		n := len(edits)
		if stop%2 == 0 && n > 0 {
			n = int(stop) % n
		}
		for _, e := range edits[:n] {
			if err := m.Apply(ctx, []ipvs.Edit{e}); err != nil {
				t.Fatalf("%s: %v", e.Rule(), err)
			}
			for _, s := range m.Services {
				if len(s.Dests) == 0 && e.Verb == ipvs.DeleteDest && s.Key == e.Service.Key {
					if i := slicesIndex(want, s.Key); i >= 0 && len(want[i].Dests) > 0 {
						t.Fatalf("%s is without real servers after %s", s.Key, e.Rule())
					}
				}
			}
		}
		if n == len(edits) {
			if again, _ := ipvs.Diff(m.Services, want); len(again) != 0 {
				t.Fatalf("still to do:\n%s", lines(again))
			}
		}
		for range 2 {
			if err := ipvs.Make(ctx, m, undo); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := ipvs.Diff(m.Services, same(have)); len(got) != 0 || len(m.Services) != len(have) {
			t.Fatalf("the undo left\n%s\nof\n%s", ipvs.Format(m.Services), ipvs.Format(have))
		}
	})
}

func slicesIndex(want []ipvs.Want, k ipvs.Key) int {
	for i, w := range want {
		if w.Key == k {
			return i
		}
	}
	return -1
}

func same(s []ipvs.Service) []ipvs.Want {
	var w []ipvs.Want
	for _, s := range s {
		w = append(w, ipvs.Want{Service: s})
	}
	return w
}
