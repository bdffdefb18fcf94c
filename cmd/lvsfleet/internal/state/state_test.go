package state

import (
	"os"
	"path/filepath"
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
