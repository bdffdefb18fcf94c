package step_test

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// make has the steps made one after the other, and remembers them.
func makeAll(t *testing.T, h host.Host, steps ...step.Step) []step.Made {
	t.Helper()
	var made []step.Made
	for _, s := range steps {
		c, err := s.Check(t.Context(), h)
		if err != nil || c.Holds() {
			t.Fatalf("%s: %+v %v", s.ID(), c, err)
		}
		do(t, h, c.Do)
		made = append(made, step.Made{Step: s.ID(), Change: c})
	}
	return made
}

// A file that was written twice goes back in one operation, folders with it.
func TestReversalOfAFileWrittenTwice(t *testing.T) {
	h := canned(map[string]host.File{"/etc": {Mode: fs.ModeDir | 0o755}})
	before := snapshot(h)
	file := func(line string) step.Step {
		return &step.FileStep{Path: "/etc/a/conf", Edits: []step.Edit{appendLine(line)}}
	}
	made := makeAll(t, h, file("x"), file("y"))
	after := snapshot(h)
	steps := step.Reversals(made)
	if len(steps) != 1 || steps[0].ID() != "file:/etc/a/conf" {
		t.Fatalf("steps: %v", steps)
	}
	c, err := steps[0].Check(t.Context(), h)
	if err != nil || c.Do[0].String() != "rm /etc/a/conf" || !strings.Contains(c.Diff, "-x\n-y\n") {
		t.Fatalf("%+v %v", c, err)
	}
	for range 2 {
		do(t, h, c.Do)
		if diff := cmp.Diff(before, snapshot(h)); diff != "" {
			t.Errorf("back: %s", diff)
		}
	}
	if again, err := steps[0].Check(t.Context(), h); err != nil || !again.Holds() || len(again.Notes) > 0 {
		t.Errorf("check after that: %+v %v", again, err)
	}
	for range 2 {
		do(t, h, c.Undo)
		if diff := cmp.Diff(after, snapshot(h)); diff != "" {
			t.Errorf("undo of the way back: %s", diff)
		}
	}
}

func TestReversalRefusesAFileThatSomebodyChanged(t *testing.T) {
	for name, spoil := range map[string]func(*hosttest.Canned){
		"after it":   func(h *hosttest.Canned) { h.Files["/etc/conf"] = hosttest.Regular("x\nmine\n") },
		"its rights": func(h *hosttest.Canned) { f := h.Files["/etc/conf"]; f.Mode = 0o600; h.Files["/etc/conf"] = f },
	} {
		h := canned(map[string]host.File{"/etc/conf": hosttest.Regular("")})
		made := makeAll(t, h, &step.FileStep{Path: "/etc/conf", Edits: []step.Edit{appendLine("x")}})
		spoil(h)
		_, err := step.Reversals(made)[0].Check(t.Context(), h)
		var refusal *step.Refusal
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, "/etc/conf is neither as it was made nor as before") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A machine with an IPVS table.
type tabled struct {
	*hosttest.Canned
	table ipvs.Memory
}

func (m *tabled) IPVS() (ipvs.Table, error) { return &m.table, nil }

func TestReversalOfTheTable(t *testing.T) {
	m := &tabled{Canned: canned(nil)}
	key := ipvs.Key{Protocol: "tcp", Addr: netip.MustParseAddr("192.0.2.200"), Port: 80}
	dest := func(n byte, weight int) ipvs.Destination {
		return ipvs.Destination{DestKey: ipvs.DestKey{Addr: netip.AddrFrom4([4]byte{192, 0, 2, n}), Port: 80}, Method: ipvs.DR, Weight: weight}
	}
	m.table.Services = []ipvs.Service{{Key: key, Scheduler: "wlc", Dests: []ipvs.Destination{dest(1, 5), dest(2, 5)}}}
	step1 := func(edits ...ipvs.Edit) step.Step {
		return step.Func{Name: "ipvs", Probe: func(context.Context, host.Host) (step.Change, error) {
			have, err := m.table.Dump(t.Context())
			return step.TableChange(have, edits), err
		}}
	}
	on := ipvs.Service{Key: key}
	before := ipvs.Format(m.table.Services)
	// Lent, then deleted; another changed; one added.
	made := makeAll(t, m,
		step1(ipvs.Edit{Verb: ipvs.EditDest, Service: &on, Dest: dest(1, 0)}),
		step1(ipvs.Edit{Verb: ipvs.DeleteDest, Service: &on, Dest: dest(1, 0)}, ipvs.Edit{Verb: ipvs.EditDest, Service: &on, Dest: dest(2, 7)}),
		step1(ipvs.Edit{Verb: ipvs.AddDest, Service: &on, Dest: dest(3, 1)}))
	after := ipvs.Format(m.table.Services)
	steps := step.Reversals(made)
	if len(steps) != 1 {
		t.Fatalf("steps: %v", steps)
	}
	c, err := steps[0].Check(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	do(t, m, c.Do)
	do(t, m, c.Do)
	if diff := cmp.Diff(before, ipvs.Format(m.table.Services)); diff != "" {
		t.Errorf("back: %s", diff)
	}
	do(t, m, c.Undo)
	if diff := cmp.Diff(after, ipvs.Format(m.table.Services)); diff != "" {
		t.Errorf("undo of the way back: %s", diff)
	}
	// Somebody drains the changed one: that stays, the rest goes back.
	if err := m.table.Apply(t.Context(), []ipvs.Edit{{Verb: ipvs.EditDest, Service: &on, Dest: dest(2, 1)}}); err != nil {
		t.Fatal(err)
	}
	if c, err = steps[0].Check(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	do(t, m, c.Do)
	want := strings.Replace(before, "192.0.2.2:80 -g -w 5", "192.0.2.2:80 -g -w 1", 1)
	if diff := cmp.Diff(want, ipvs.Format(m.table.Services)); diff != "" {
		t.Errorf("back, but for what is theirs: %s", diff)
	}
	if c, err = steps[0].Check(t.Context(), m); err != nil || !c.Holds() || len(c.Notes) != 1 {
		t.Errorf("check after that: %+v %v", c, err)
	}
}
