package ledger

import (
	"io/fs"
	"net/netip"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// What differs is this build's new wish where the host is as it was left, and
// drift where somebody has changed it.
func TestNewWishes(t *testing.T) {
	fresh := func() *hosttest.Canned {
		return &hosttest.Canned{Name: "h", Files: map[string]host.File{
			"/etc":       {Mode: fs.ModeDir | 0o755},
			"/etc/conf":  {Mode: 0o644, Data: []byte("a\n")},
			"/etc/other": {Mode: 0o644, Data: []byte("b\n")},
		}}
	}
	h := fresh()
	wrote := file(t, h, &step.FileStep{Path: "/etc/conf", Edits: line("ours")})
	rules := file(t, h, &step.FileStep{Path: "/etc/rules", Rules: true, Edits: line("-A")})
	l := Ledger{}.Next(noSystem{}, inventory.Desired{}, true, []Change{wrote, rules, live("sysctl:a", "0", "1")})
	changed := func(h *hosttest.Canned, path, text string) *hosttest.Canned {
		h.Files[path] = host.File{Mode: 0o644, Data: []byte(text)}
		return h
	}
	like := func() *hosttest.Canned { // the host as it was left
		h := changed(fresh(), "/etc/conf", "a\nours\n")
		return changed(h, "/etc/rules", "-A\n")
	}
	dropIn := live("systemd:x", "", "there")
	dropIn.Effects = []step.Effect{step.Gain(step.Support, netip.Addr{})}
	vip := live("address:192.0.2.1", "", "there")
	vip.Effects = []step.Effect{step.Gain(step.VIP, netip.MustParseAddr("192.0.2.1"))}
	loaded := dropIn
	loaded.Undo = nil
	recorded := dropIn
	recorded.Step = "sysctl:a"
	for name, tt := range map[string]struct {
		change Change
		new    bool
	}{
		"another content of a file of ours":    {file(t, like(), &step.FileStep{Path: "/etc/conf", Edits: line("more")}), true},
		"one that somebody has edited":         {file(t, changed(like(), "/etc/conf", "a\n"), &step.FileStep{Path: "/etc/conf", Edits: line("ours")}), false},
		"a file that was never there":          {file(t, like(), &step.FileStep{Path: "/etc/new", Edits: line("x")}), true},
		"one that is somebody else's":          {file(t, like(), &step.FileStep{Path: "/etc/other", Edits: line("x")}), false},
		"rules, which follow the services":     {file(t, like(), &step.FileStep{Path: "/etc/rules", Rules: true, Edits: line("-B")}), false},
		"what supports, and would be recorded": {dropIn, true},
		"what supports, and is recorded":       {recorded, false},
		"what supports, and is never recorded": {loaded, false},
		"what clients need":                    {vip, false},
		"nothing":                              {Change{Step: "x", Boot: true}, false},
	} {
		if got := l.NewWish(tt.change); got != tt.new {
			t.Errorf("%s: new %v, want %v", name, got, tt.new)
		}
		// A step that was planned before can only be of another content.
		known := l.Planned(inventory.Desired{}, []string{tt.change.Step}, true)
		if got, want := known.NewWish(tt.change), tt.new && name == "another content of a file of ours"; got != want {
			t.Errorf("%s, which was planned: new %v, want %v", name, got, want)
		}
	}
}

func TestPlannedStepsAddUp(t *testing.T) {
	d := inventory.Desired{}
	l := Ledger{}.Planned(d, []string{"b", "a"}, true).Planned(d, []string{"c", "a"}, false)
	if len(l.Steps) != 3 {
		t.Errorf("a part: %q", l.Steps)
	}
	if l = l.Planned(d, []string{"c"}, true); len(l.Steps) != 1 {
		t.Errorf("all of it: %q", l.Steps)
	}
	gw := inventory.Desired{Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	made := Ledger{}.Next(noSystem{}, gw, true, nil).Planned(gw, []string{"a"}, true)
	if !made.Asked(gw) || !made.Asked(inventory.Desired{}) || (Ledger{}).Asked(gw) {
		t.Error("what it was made for")
	}
	// What network = "none" left out is not this build's wish alone.
	off := gw
	off.Network = "none"
	if made.Asked(off) || made.Planned(off, nil, true).Asked(gw) || !made.Planned(off, []string{"a"}, true).Asked(off) {
		t.Error("another network")
	}
	earlier := Ledger{For: gw.Parts()} // nothing for the next boot
	if earlier.Asked(gw) || !earlier.Asked(off) {
		t.Error("another network, of an earlier build")
	}
	earlier.Files = []File{{Path: "/etc/conf"}}
	if !earlier.Asked(gw) || earlier.Asked(off) {
		t.Error("the same network, of an earlier build")
	}
}
