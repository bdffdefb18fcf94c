package hclfile_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

var update = flag.Bool("update", false, "write the goldens")

// Each archive under testdata/lints holds a site that breaks the rule that it
// is named after, one that does not, and what is said of the first.
func TestLints(t *testing.T) {
	archives, err := filepath.Glob("testdata/lints/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for _, path := range archives {
		code, _, _ := strings.Cut(filepath.Base(path), "-")
		tested[code] = true
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { testLint(t, path, code) })
	}
	// These two need files that do not fit into an archive: TestHostileFiles.
	tested[inventory.CodeText], tested[inventory.CodeSize] = true, true
	for _, r := range inventory.Rules() {
		if !tested[r.Code] {
			t.Errorf("%s (%s) has no site that breaks it", r.Code, r.Summary)
		}
	}
}

func testLint(t *testing.T, path, code string) {
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	var want []byte
	for _, f := range archive.Files {
		if f.Name == "want.txt" {
			want = f.Data
		} else if err := os.WriteFile(f.Name, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	good := hclfile.Load("good.hcl", hclfile.Input{})
	if len(good.Diags) > 0 || good.Site == nil {
		t.Errorf("the good site is found fault with:\n%s", text(t, good))
	}

	bad := hclfile.Load("bad.hcl", hclfile.Input{})
	severity := inventory.RuleOf(code).Severity
	if bad.Failed() != (severity == inventory.Error) || bad.Failed() != (bad.Site == nil) {
		t.Errorf("failed: %v, a site: %v, of a rule whose severity is %v", bad.Failed(), bad.Site != nil, severity)
	}
	found := false
	for _, d := range bad.Diags {
		found = found || d.Code == code
		if d.Subject.File != "bad.hcl" || d.Subject.StartLine == 0 {
			t.Errorf("no place: %+v", d)
		}
	}
	got := text(t, bad)
	if !found {
		t.Errorf("%s is not found:\n%s", code, got)
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
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("what is said differs (-want +got):\n%s", d)
	}
}

func text(t *testing.T, r *hclfile.Result) string {
	t.Helper()
	var out bytes.Buffer
	if err := r.Write(&out, 78, false); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
