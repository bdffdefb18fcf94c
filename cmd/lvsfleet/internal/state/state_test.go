package state

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

func TestMemoryOutlivesTheProgram(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	m := Open(dir)
	if got := m.AgentOf("rs1"); got != "" {
		t.Errorf("a new memory knows %q", got)
	}
	var wg sync.WaitGroup
	for _, h := range []string{"rs1", "rs2", "rs3"} {
		wg.Go(func() { m.SetAgentOf(h, "hash-"+h) })
	}
	wg.Wait()
	for _, h := range []string{"rs1", "rs2", "rs3"} {
		if got := Open(dir).AgentOf(h); got != "hash-"+h {
			t.Errorf("%s: %q", h, got)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the folder: %v, %v", entries, err)
	}
}

// A host more is a line more, however many there are; and of two runs side by
// side neither forgets what the other has learnt.
func TestMemoryGrowsByALine(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "agents.json")
	if err := os.WriteFile(file, []byte("{\n  \"old\": \"1\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, b := Open(dir), Open(dir)
	if a.AgentOf("old") != "1" || b.AgentOf("old") != "1" {
		t.Fatal("what was remembered is forgotten")
	}
	for i, m := range []*Memory{a, b, a} {
		before, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m.SetAgentOf(strconv.Itoa(i), "2")
		after, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(after, before) || len(after) > len(before)+12 {
			t.Errorf("%q became %q, %v", before, after, err)
		}
	}
	m := Open(dir)
	for host, want := range map[string]string{"old": "1", "0": "2", "1": "2", "2": "2"} {
		if got := m.AgentOf(host); got != want {
			t.Errorf("%s: %q", host, got)
		}
	}
	// What is outdated does not pile up.
	for i := range 50 {
		Open(dir).SetAgentOf("old", strconv.Itoa(i))
	}
	text, err := os.ReadFile(file)
	if n := bytes.Count(text, []byte("\n")); err != nil || n > 6 || Open(dir).AgentOf("old") != "49" {
		t.Errorf("%d lines, %v:\n%s", n, err, text)
	}
}

func TestADamagedMemoryKeepsWhatItCan(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "agents.json"), []byte("{\"a\":\"1\"}\n{\"b\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := Open(dir)
	if a, b := m.AgentOf("a"), m.AgentOf("b"); a != "1" || b != "" {
		t.Errorf("a %q, b %q", a, b)
	}
	m.SetAgentOf("c", "3")
	m.SetAgentOf("d", "4")
	m = Open(dir)
	if m.AgentOf("a") != "1" || m.AgentOf("c") != "3" || m.AgentOf("d") != "4" {
		t.Errorf("%v", m.agents)
	}
}

func TestADamagedMemoryIsEmpty(t *testing.T) {
	for _, text := range []string{"", "null", "[1]", "{", "{\"a\": 1}"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "agents.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m := Open(dir)
		if got := m.AgentOf("a"); got != "" {
			t.Errorf("%q: %q", text, got)
		}
		m.SetAgentOf("a", "x")
		if got := Open(dir).AgentOf("a"); got != "x" {
			t.Errorf("%q: after a write: %q", text, got)
		}
	}
}

func TestDir(t *testing.T) {
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	if got, err := Dir("web", env(map[string]string{"XDG_STATE_HOME": "/s", "HOME": "/h"})); err != nil || got != "/s/lvsfleet/web" {
		t.Errorf("%q, %v", got, err)
	}
	// A relative path is to be ignored, by the specification.
	if got, err := Dir("web", env(map[string]string{"XDG_STATE_HOME": "s", "HOME": "/h"})); err != nil || got != "/h/.local/state/lvsfleet/web" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Dir("web", env(nil)); err == nil {
		t.Error("no home at all is no error")
	}
}
