package ledger

import (
	"encoding/json"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// live is a change of a live step from one value to another.
func live(id, was, want string) Change {
	op := func(to, from string) []step.Op {
		return []step.Op{{Kind: step.Run, Argv: []string{"set", id, to}, If: []step.Cond{{Argv: []string{"get", id}, Match: "^" + from + "$"}}}}
	}
	return Change{Step: id, Change: step.Change{Was: was, Want: want, Do: op(want, was), Undo: op(was, want)}}
}

// values is what a step's records say, oldest first: "0>1 1>2".
func values(l Ledger) map[string]string {
	got := map[string]string{}
	for _, s := range l.Live {
		var list []string
		for _, r := range s.Records {
			list = append(list, r.Was+">"+r.Want)
		}
		got[s.ID] = strings.Join(list, " ")
	}
	return got
}

func TestLiveSteps(t *testing.T) {
	whole := inventory.Desired{}
	for _, tt := range []struct {
		name    string
		changes []Change
		want    map[string]string
	}{
		{"made", []Change{live("a", "0", "1")}, map[string]string{"a": "0>1"}},
		{"mended, whatever it was meanwhile", []Change{live("a", "0", "1"), live("a", "5", "1")}, map[string]string{"a": "0>1"}},
		{"changed again", []Change{live("a", "0", "1"), live("a", "1", "2")}, map[string]string{"a": "0>1 1>2"}},
		{"back to what it was", []Change{live("a", "0", "1"), live("a", "1", "2"), live("a", "2", "0")}, map[string]string{}},
		{"half back", []Change{live("a", "0", "1"), live("a", "1", "2"), live("a", "2", "1")}, map[string]string{"a": "0>1"}},
		{"taken back", []Change{live("a", "0", "1"), live("b", "", "x"), {Step: "a", Gone: true, Change: step.Change{Do: []step.Op{{Kind: step.Run}}}}}, map[string]string{"b": ">x"}},
		{"gone by itself", []Change{live("a", "0", "1"), {Step: "a", Gone: true}}, map[string]string{}},
		{"has to stay", []Change{live("a", "0", "1"), {Step: "a", Gone: true, Change: step.Change{Notes: []note.Note{note.New(note.StaysNeeded, "a")}}}}, map[string]string{"a": "0>1"}},
		{"nothing to take back", []Change{{Step: "module:x", Change: step.Change{Do: []step.Op{{Kind: step.Run}}}}}, map[string]string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l Ledger
			for _, c := range tt.changes {
				l = l.Next(noSystem{}, whole, true, []Change{c})
			}
			if d := cmp.Diff(tt.want, values(l)); d != "" {
				t.Error(d)
			}
		})
	}
}

// file makes a change of a file as a boot step does.
func file(t *testing.T, h *hosttest.Canned, s step.Step) Change {
	t.Helper()
	c, err := s.Check(t.Context(), h)
	if err != nil || c.Holds() {
		t.Fatalf("%s: %+v %v", s.ID(), c, err)
	}
	for _, o := range c.Do {
		if err := o.Do(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	return Change{Step: s.ID(), Boot: true, Change: c}
}

func line(text string) []step.Edit {
	return []step.Edit{func(old []byte) ([]byte, error) { return append(old[:len(old):len(old)], text+"\n"...), nil }}
}

func TestFiles(t *testing.T) {
	h := &hosttest.Canned{Name: "h", Files: map[string]host.File{
		"/etc":      {Mode: fs.ModeDir | 0o755},
		"/etc/conf": {Mode: 0o640, UID: 3, Data: []byte("a\n")},
	}}
	whole := inventory.Desired{}
	one := Ledger{}.Next(noSystem{}, whole, true, []Change{
		file(t, h, &step.FileStep{Path: "/etc/conf", Edits: line("ours")}),
		file(t, h, &step.FileStep{Path: "/etc/new.d/x", Edits: line("new")}),
		file(t, h, &step.LinkStep{Path: "/etc/S10", Target: "../x"}),
	})
	// Others write, and lvsfleet once more.
	f := h.Files["/etc/conf"]
	f.Data = append([]byte("theirs\n"), f.Data...)
	h.Files["/etc/conf"] = f
	two := one.Next(noSystem{}, whole, true, []Change{file(t, h, &step.FileStep{Path: "/etc/conf", Edits: line("more")})})
	rec := two.file("/etc/conf")
	if string(rec.Orig.Data) != "theirs\na\n" || string(rec.Wrote.Data) != "theirs\na\nours\nmore\n" || rec.Orig.Mode != 0o640 || rec.Orig.UID != 3 {
		t.Errorf("%+v", rec)
	}

	bare := Bare{Host: h, Ledger: two}
	got, err := bare.ReadFile(t.Context(), "/etc/conf")
	if err != nil || string(got.Data) != "theirs\na\n" {
		t.Errorf("%q %v", got.Data, err)
	}
	if _, err := bare.ReadFile(t.Context(), "/etc/new.d/x"); err == nil {
		t.Error("a file of ours is seen")
	}
	names := func(h host.Host) string {
		entries, err := h.ReadDir(t.Context(), "/etc")
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, e := range entries {
			list = append(list, e.Name)
		}
		return strings.Join(list, " ")
	}
	if n := names(bare); n != "conf" {
		t.Errorf("seen: %s", n)
	}
	if n := names(Bare{Host: h, Ledger: two, Asis: true}); n != "S10 conf new.d" {
		t.Errorf("as it is: %s", n)
	}
	// A folder of ours counts where others have put something into it.
	h.Files["/etc/new.d/theirs"] = hosttest.Regular("x\n")
	if n := names(bare); n != "conf new.d" {
		t.Errorf("seen, with theirs: %s", n)
	}
	delete(h.Files, "/etc/new.d/theirs")

	plan, gone := two.Complete(noSystem{}, step.Plan{}, whole)
	if !gone["file:/etc/conf"] || !gone["link:/etc/S10"] || !gone["folder:/etc/new.d"] {
		t.Errorf("gone: %v", gone)
	}
	k := Keeper{Host: h, Ledger: two}
	three := two
	for _, s := range plan.Boot {
		c, err := s.Check(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range c.Do {
			if err := o.Do(t.Context(), h); err != nil {
				t.Fatal(err)
			}
		}
		three = three.Next(noSystem{}, whole, true, []Change{{Step: s.ID(), Boot: true, Gone: true, Change: c}})
	}
	if f := h.Files["/etc/conf"]; string(f.Data) != "theirs\na\n" || f.Mode != 0o640 || f.UID != 3 || len(h.Files) != 2 {
		t.Errorf("%v", h.Files)
	}
	if !three.Empty() {
		t.Errorf("left: %+v", three)
	}
}

// What is removed first is what was made last; what waits for others, and
// forwarding, comes behind the plan's own steps.
func TestTheOrderOfARemoval(t *testing.T) {
	quiet := live("sysctl:arp_ignore", "0", "1")
	quiet.Undo[0].If = append(quiet.Undo[0].If, step.Cond{Argv: []string{"addrs"}, Match: "vip", Not: true, Guard: true})
	forwarding, six := live("sysctl:net.ipv4.ip_forward", "0", "1"), live("sysctl:net.ipv6.conf.all.forwarding", "0", "1")
	tunnel, vip, stays := live("link:tunl0", "down", "up"), live("address:vip", "", "there"), live("stays", "", "x")
	for _, tt := range []struct {
		made []Change
		want string
	}{
		{[]Change{forwarding, quiet, tunnel, vip, stays}, "address:vip link:tunl0 stays own sysctl:arp_ignore sysctl:net.ipv4.ip_forward"},
		// Whatever was made last.
		{[]Change{quiet, tunnel, vip, stays, forwarding}, "address:vip link:tunl0 stays own sysctl:arp_ignore sysctl:net.ipv4.ip_forward"},
		{[]Change{tunnel, forwarding, vip, six, quiet}, "address:vip link:tunl0 stays own sysctl:arp_ignore sysctl:net.ipv6.conf.all.forwarding sysctl:net.ipv4.ip_forward"},
		{[]Change{vip, forwarding, tunnel}, "link:tunl0 address:vip stays own sysctl:net.ipv4.ip_forward"},
		{[]Change{tunnel, vip, quiet}, "address:vip link:tunl0 stays own sysctl:arp_ignore"},
	} {
		l := Ledger{}.Next(noSystem{}, inventory.Desired{}, false, tt.made)
		plan, _ := l.Complete(noSystem{}, step.Plan{Live: []step.Step{step.Func{Name: "stays"}, step.Func{Name: "own"}}}, inventory.Desired{})
		var ids []string
		for _, s := range plan.Live {
			ids = append(ids, s.ID())
		}
		if got := strings.Join(ids, " "); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}

// A VIP that is somebody else's from now on stays.
func TestAVIPIsHandedOver(t *testing.T) {
	l := Ledger{}.Next(noSystem{}, inventory.Desired{}, false, []Change{live("address:192.0.2.1", "", "there"), live("address:192.0.2.2", "", "there")})
	d := inventory.Desired{Director: &inventory.Director{Services: []inventory.DirectedService{{Addr: netip.MustParseAddr("192.0.2.1")}}}}
	plan, gone := l.Complete(noSystem{}, step.Plan{}, d)
	if len(plan.Live) != 2 || len(gone) != 2 || len(plan.Notes) != 1 {
		t.Fatalf("%v %v %v", plan.Live, gone, plan.Notes)
	}
	h := &hosttest.Canned{Name: "h", Runs: map[string]host.Result{"get address:192.0.2.2": hosttest.Text("there\n")}}
	for _, s := range plan.Live {
		c, err := s.Check(t.Context(), h)
		if err != nil || c.Holds() != (s.ID() == "address:192.0.2.1") {
			t.Errorf("%s: %+v %v", s.ID(), c, err)
		}
		l = l.Next(noSystem{}, d, true, []Change{{Step: s.ID(), Gone: true, Change: c}})
	}
	if !l.Empty() {
		t.Errorf("left: %+v", l)
	}
}

func TestServices(t *testing.T) {
	key := func(port uint16) ipvs.Key {
		return ipvs.Key{Protocol: "tcp", Addr: netip.MustParseAddr("192.0.2.1"), Port: port}
	}
	dest := ipvs.Destination{DestKey: ipvs.DestKey{Addr: netip.MustParseAddr("192.0.2.9"), Port: 80}, Method: ipvs.DR, Weight: 1}
	theirs := ipvs.Service{Key: key(80), Scheduler: "rr", Dests: []ipvs.Destination{dest}}
	add := func(have []ipvs.Service, edits ...ipvs.Edit) (Change, []ipvs.Service) {
		return Change{Step: "ipvs", Change: step.TableChange(have, edits)}, ipvs.After(have, edits)
	}
	have := []ipvs.Service{theirs}
	heavy := dest
	heavy.Weight = 5
	c, have := add(have,
		ipvs.Edit{Verb: ipvs.EditDest, Service: &ipvs.Service{Key: key(80)}, Dest: heavy},
		ipvs.Edit{Verb: ipvs.AddService, Service: &ipvs.Service{Key: key(81), Scheduler: "wlc"}})
	l := Ledger{}.Next(noSystem{}, inventory.Desired{}, false, []Change{c})
	want := []Service{{Key: key(80), Orig: &theirs}, {Key: key(81)}}
	if d := cmp.Diff(want, l.IPVS, cmpopts.IgnoreUnexported(Service{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Fatal(d)
	}
	// Taken back, each is nobody's business any more.
	c, _ = add(have,
		ipvs.Edit{Verb: ipvs.EditDest, Service: &ipvs.Service{Key: key(80)}, Dest: dest},
		ipvs.Edit{Verb: ipvs.DeleteService, Service: &ipvs.Service{Key: key(81), Scheduler: "wlc"}})
	if l = l.Next(noSystem{}, inventory.Desired{}, false, []Change{c}); !l.Empty() {
		t.Errorf("%+v", l.IPVS)
	}
}

func TestShrinks(t *testing.T) {
	gw := func(list ...string) inventory.Desired {
		d := inventory.Desired{}
		for _, a := range list {
			d.Gateways = append(d.Gateways, netip.MustParseAddr(a))
		}
		return d
	}
	l := Ledger{}.Next(noSystem{}, gw("192.0.2.1"), true, []Change{live("a", "0", "1")})
	part := gw("192.0.2.2")
	l = l.Next(noSystem{}, part, false, nil) // adds
	for _, tt := range []struct {
		d    inventory.Desired
		want bool
	}{{gw("192.0.2.1"), true}, {gw("192.0.2.2"), true}, {gw("192.0.2.1", "192.0.2.2"), false}, {gw("192.0.2.1", "192.0.2.2", "192.0.2.3"), false}} {
		if got := l.Shrinks(tt.d); got != tt.want {
			t.Errorf("%v: %v", tt.d.Gateways, got)
		}
	}
	if (Ledger{}).Shrinks(gw()) {
		t.Error("nothing was made, and something goes")
	}
}

func FuzzDecode(f *testing.F) {
	full := Ledger{
		For:   []string{"vip x"},
		Live:  []Step{{ID: "a", Records: []Record{{Was: "0", Want: "1", Do: []step.Op{{Kind: step.Run, Argv: []string{"x"}}}}}}},
		Files: []File{{Path: "/etc/x", Step: "file:/etc/x", Wrote: &Node{Mode: 0o644, Data: []byte("x\n")}}, {Path: "/r", Rules: true}},
		IPVS:  []Service{{Key: ipvs.Key{Mark: 7}}},
	}
	text, err := full.File()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text.Data)
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"live":[{"id":"a","records":[]}],"files":[{"path":"x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := decode(data)
		if err != nil {
			return
		}
		// Whatever it says, it can be planned with, and written again.
		plan, _ := l.Complete(noSystem{}, step.Plan{}, inventory.Desired{})
		h := &hosttest.Canned{Name: "h", Files: map[string]host.File{"/etc": {Mode: fs.ModeDir | 0o755}}}
		for _, s := range plan.Boot {
			_, _ = s.Check(t.Context(), Keeper{Host: h, Ledger: l})
		}
		_, _ = Bare{Host: h, Ledger: l}.ReadDir(t.Context(), "/etc")
		_ = l.Next(noSystem{}, inventory.Desired{}, true, nil)
		if _, err := json.Marshal(l); err != nil {
			t.Fatal(err)
		}
	})
}
