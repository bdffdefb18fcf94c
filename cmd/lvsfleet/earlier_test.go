package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/earlier"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// An inherited site is one that an earlier build has converged, watched and
// repaired: its hosts, simulated, and the controller's state folder.
type inherited struct {
	t    *testing.T
	dir  string // holds the site, as it was named, and the lab
	site *inventory.Site
	lab  *lab.Lab
	left []earlier.Fixture
}

func inherit(t *testing.T) *inherited {
	t.Helper()
	s := &inherited{t: t, dir: t.TempDir()}
	var err error
	if s.site, err = earlier.Site("dr"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "examples/dr"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := earlier.WriteSite("dr", filepath.Join(s.dir, "examples/dr/site.hcl")); err != nil {
		t.Fatal(err)
	}
	if s.left, err = earlier.Hosts("watched"); err != nil {
		t.Fatal(err)
	}
	if s.lab, err = lab.Start(t.Context(), s.site, lab.Options{Dir: filepath.Join(s.dir, "lab"), Clock: sim.Hurried(5)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.lab.Close() })
	for _, f := range s.left {
		f.Restore(s.lab.Machine(f.Host))
	}
	if err := earlier.Controller(filepath.Join(s.dir, "lab/state")); err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs lvsfleet, which is to end with that status, and gives its output.
func (s *inherited) run(exit int, args ...string) string {
	s.t.Helper()
	cmd := self(s.t, "lvsfleet", append(args, "--lab", "lab")...)
	cmd.Dir = s.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != exit {
		s.t.Fatalf("%q: exit %d, want %d: %v\n%s%s", args, got, exit, err, out.Bytes(), errs.Bytes())
	}
	return out.String()
}

// drifts are those of the history, a line each, with when they began and how
// they ended.
func (s *inherited) drifts() []string {
	s.t.Helper()
	var list []string
	for line := range strings.Lines(s.run(0, "history", "drift", "--site", "examples/dr", "--json")) {
		var d struct{ Host, Step, Class, Diff, First, End string }
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		list = append(list, fmt.Sprintf("%s %s %s from %s end %q", d.Host, d.Class, d.Step, d.First, d.End))
	}
	slices.Sort(list)
	return list
}

// What an earlier build has watched is watched on: what was open stays open,
// what was known stays known, and nothing is new.
func TestAnInheritedSiteIsWatched(t *testing.T) {
	s := inherit(t)
	before := s.drifts()
	if len(before) != 4 {
		t.Fatalf("%d drifts were inherited: %q", len(before), before)
	}
	out := s.run(2, "drift", "examples/dr", "--once")
	if !strings.Contains(out, "4 hosts, 3 clean, 1 drifted") && !strings.Contains(out, "2 drifted") {
		t.Error(out)
	}
	if d := cmp.Diff(before, s.drifts()); d != "" {
		t.Errorf("drifts (-before +after a round of this build):\n%s", d)
	}
	// What is mended ends, by whoever mends it.
	s.run(0, "converge", "examples/dr", "--yes")
	s.run(2, "drift", "examples/dr", "--once")
	after := s.drifts()
	if len(after) != len(before) || !slices.ContainsFunc(after, func(d string) bool {
		return strings.HasPrefix(d, "rs180 boot file:/etc/hostname.lo0:1 ") && strings.HasSuffix(d, `end "converge"`)
	}) {
		t.Errorf("after it was mended: %q", after)
	}
}

// The runs of an earlier build are told of, and the last of them, which put a
// VIP back on rs170, is taken back: it is not there again.
func TestAnInheritedSiteIsRolledBack(t *testing.T) {
	s := inherit(t)
	out := s.run(0, "history", "--site", "examples/dr")
	if strings.Count(out, "\n") != 4 { // a head, two converges, a repair
		t.Error(out)
	}
	m := s.lab.Machine("rs170")
	if !strings.Contains(m.View().Live, "192.168.0.200/32") {
		t.Fatal("the VIP was not there")
	}
	boot := m.View().Files
	s.run(0, "rollback", "examples/dr", "--yes")
	if v := m.View(); strings.Contains(v.Live, "192.168.0.200/32") || v.Files != boot {
		t.Errorf("the VIP is there again, or the next boot is another one: %s", v.Live)
	}
	s.run(0, "converge", "examples/dr", "--yes")
	if !strings.Contains(m.View().Live, "192.168.0.200/32") {
		t.Error("the VIP is not there again after a converge")
	}
}

func TestAnInheritedSiteIsLeft(t *testing.T) {
	s := inherit(t)
	s.run(0, "remove", "examples/dr", "--yes")
	s.fresh()
}

// fresh holds that the hosts are what they were before lvsfleet, but for the
// services of the IPVS table that somebody else has made.
func (s *inherited) fresh() {
	s.t.Helper()
	for _, f := range s.left {
		m := s.lab.Machine(f.Host)
		m.Locked(func() { m.Net.IPVS = nil })
		was, is := lab.Offline(*s.site.Host(f.Host), nil).View(), m.View()
		for what, texts := range map[string][2]string{"files": {was.Files, is.Files}, "runtime": {was.Live, is.Live}} {
			if d := cmp.Diff(strings.Split(texts[0], "\n"), strings.Split(texts[1], "\n")); d != "" {
				s.t.Errorf("%s: %s (-before lvsfleet +now):\n%s", f.Host, what, d)
			}
		}
	}
}
