package providers

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "add IDs that are new to testdata/ids.golden")

// planned are the IDs of all steps in the goldens of the planners, as
// "linux live address:192.0.2.1".
func planned(t *testing.T) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for _, pattern := range []string{"linux/testdata/*.golden", "freebsd/testdata/plan/*.golden", "solaris/testdata/*.golden", "director/testdata/*.txtar"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		system, _, _ := strings.Cut(pattern, "/")
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			part := ""
			for line := range strings.Lines(string(data)) {
				line = strings.TrimSuffix(line, "\n")
				word, rest, _ := strings.Cut(line, " ")
				switch {
				case system == "director" && (word == "live" || word == "boot"):
					id, _, _ := strings.Cut(rest, " ")
					ids["director "+word+" "+id] = true
				case system == "director":
				case word == "==":
					part = rest
				case part != "" && word != "" && !strings.HasPrefix(line, "note: "):
					id, _, _ := strings.Cut(line, ": ") // "ID", "ID: holds"
					ids[system+" "+part+" "+id] = true
				}
			}
		}
	}
	return ids
}

// Ledgers, journals, the history of drift and alerts find a step by its ID: one
// that was ever given stays.
func TestNoIDChanges(t *testing.T) {
	const golden = "testdata/ids.golden"
	ids := planned(t)
	if *update {
		old, _ := os.ReadFile(golden)
		for line := range strings.Lines(string(old)) {
			ids[strings.TrimSuffix(line, "\n")] = true
		}
		if err := os.WriteFile(golden, []byte(strings.Join(slices.Sorted(maps.Keys(ids)), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if id := strings.TrimSuffix(line, "\n"); !ids[id] {
			t.Errorf("no plan has the step %q any more", id)
		}
	}
}
