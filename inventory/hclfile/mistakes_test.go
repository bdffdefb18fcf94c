package hclfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

// Each archive under testdata/mistakes is a site with mistakes that have no
// rule of their own, or several at once, and what is said of them.
func TestMistakes(t *testing.T) {
	archives, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { testMistake(t, path) })
	}
}

func testMistake(t *testing.T, path string) {
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	var in hclfile.Input
	for line := range strings.Lines(string(archive.Comment)) {
		kind, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch kind {
		case "var":
			in.Vars = append(in.Vars, value)
		case "var-file":
			in.VarFiles = append(in.VarFiles, value)
		case "env":
			in.Environ = append(in.Environ, value)
		}
	}
	if err := os.Mkdir("site", 0o700); err != nil {
		t.Fatal(err)
	}
	var want string
	for _, f := range archive.Files {
		name := f.Name
		if name == "want.txt" {
			want = string(f.Data)
			continue
		}
		if strings.HasSuffix(name, ".hcl") {
			name = filepath.Join("site", name)
		}
		if err := os.WriteFile(name, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := hclfile.Load("site", in)
	if !r.Failed() || r.Site != nil {
		t.Error("the site passes")
	}
	got := text(t, r)
	if strings.Contains(got, "hunter2") || strings.Contains(got, "HUNTER2") {
		t.Errorf("a secret is shown:\n%s", got)
	}
	if *update {
		for i, f := range archive.Files {
			if f.Name == "want.txt" {
				archive.Files[i].Data = []byte(got)
			}
		}
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("what is said differs (-want +got):\n%s", d)
	}
}
