package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Whoever changes a line that a mutant breaks changes the mutant too.
func TestEveryMutantFits(t *testing.T) {
	root := filepath.Join("..", "..", "..", "..")
	seen := map[string]bool{}
	for _, m := range mutants {
		if _, err := m.text(root); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		if m.name == "" || seen[m.name] || m.old == m.new {
			t.Errorf("%q: no name, one that another has, or nothing that changes", m.name)
		}
		seen[m.name] = true
	}
	if len(mutants) < 30 {
		t.Errorf("only %d mutants", len(mutants))
	}
}

// What survives is told from what dies, and from what is no mutant at all.
func TestASurvivorIsTold(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module example.org/m\n\ngo 1.24\n",
		"m.go":      "package m\n\nfunc Two() int { return 2 }\n\nfunc Three() int { return 3 }\n",
		"m_test.go": "package m\n\nimport \"testing\"\n\nfunc TestTwo(t *testing.T) {\n\tif Two() != 2 {\n\t\tt.Fatal()\n\t}\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(root)
	t.Setenv("GOWORK", "off")
	t.Setenv("GOFLAGS", "")
	dir := t.TempDir()
	if err := try(t.Context(), root, dir, mutant{file: "m.go", old: "return 2", new: "return 4"}); err != nil {
		t.Errorf("what a test notices: %v", err)
	}
	if err := try(t.Context(), root, dir, mutant{file: "m.go", old: "return 3", new: "return 4"}); !errors.Is(err, errSurvived) {
		t.Errorf("what no test notices: %v", err)
	}
	for what, m := range map[string]mutant{
		"what does not compile": {file: "m.go", old: "return 2", new: "return nil"},
		"what is there twice":   {file: "m.go", old: "return", new: "return 1 +"},
		"what is not there":     {file: "m.go", old: "return 9", new: "return 1"},
	} {
		if err := try(t.Context(), root, dir, m); err == nil || errors.Is(err, errSurvived) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
