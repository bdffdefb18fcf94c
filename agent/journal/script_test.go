package journal_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A person runs the scripts by a real shell: which part of them is done depends
// on what was decided, and on the boot.
func TestTheScriptsByARealShell(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script string
		token  string // what was decided
		boot   string // the mark that is there; "" none
		live   bool   // the live part is undone
		file   string // what is at the file's place
		fails  bool
	}{
		{name: "undo before the commit", script: journal.UndoScript, token: "open", boot: "b1", live: true, file: "was"},
		{name: "undo in another boot", script: journal.UndoScript, token: "open", boot: "b2", file: "was"},
		{name: "undo after a boot", script: journal.UndoScript, token: "open", file: "was"},
		{name: "undo what is being undone, in another boot", script: journal.UndoScript, token: "undo", boot: "b2", file: "was"},
		{name: "undo after the commit", script: journal.UndoScript, token: "commit", boot: "b1", live: true, file: "was"},
		{name: "undo after the commit and a boot", script: journal.UndoScript, token: "commit", boot: "b2", live: true, file: "was"},
		{name: "undo what was withdrawn", script: journal.UndoScript, token: "withdrawn", boot: "b1", live: true, file: "was"},
		{name: "undo what was withdrawn, in another boot", script: journal.UndoScript, token: "withdrawn", boot: "b2", live: true, file: "was"},
		{name: "finish what was withdrawn", script: journal.FinishScript, token: "withdrawn", boot: "b1", file: "was", fails: true},
		{name: "finish what is committed", script: journal.FinishScript, token: "commit", boot: "b1", file: "is"},
		{name: "finish what is open", script: journal.FinishScript, token: "open", boot: "b1", file: "was", fails: true},
		{name: "finish what is being undone", script: journal.FinishScript, token: "undo", boot: "b1", file: "was", fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "journal", "r1")
			target, undone := filepath.Join(root, "it's a file"), filepath.Join(root, "undone")
			was := host.File{Mode: 0o600, UID: os.Getuid(), GID: os.Getgid(), Data: []byte("was")}
			is := was
			is.Data = []byte("is")
			put := func(path, text string, mode os.FileMode) {
				t.Helper()
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), mode); err != nil {
					t.Fatal(err)
				}
			}
			h := header("r1")
			h.Boot = "b1"
			scripts, err := journal.Scripts(h,
				[]journal.Record{{Step: "live", Undo: []step.Op{{Kind: step.Run, Argv: []string{"touch", undone}}}}},
				[]journal.Record{{
					Step: "file", Staged: []string{""},
					Do:   []step.Op{{Kind: step.Write, Path: target, File: &is, Expect: step.SumOf(was)}},
					Undo: []step.Op{{Kind: step.Write, Path: target, File: &was, Expect: step.SumOf(is)}},
				}})
			if err != nil {
				t.Fatal(err)
			}
			for name, f := range scripts {
				// The mark of this machine's own boot is not to be asked for.
				put(filepath.Join(dir, name), strings.ReplaceAll(string(f.Data), host.RunDir, filepath.Join(root, "run")), f.Mode)
			}
			put(filepath.Join(dir, "000001"), "", 0o600)
			put(filepath.Join(dir, tt.token), "", 0o600)
			if tt.boot != "" {
				put(filepath.Join(root, "run", "boot"), tt.boot+"\n", 0o600)
			}
			at := "was"
			if (tt.token == "commit" || tt.token == "withdrawn") && tt.script == journal.UndoScript {
				at = "is"
			}
			put(target, at, 0o600)

			out, err := exec.CommandContext(t.Context(), "/bin/sh", filepath.Join(dir, tt.script)).CombinedOutput()
			if (err != nil) != tt.fails {
				t.Errorf("%v\n%s", err, out)
			}
			if _, err := os.Stat(undone); (err == nil) != tt.live {
				t.Errorf("the live part was undone: %v", err == nil)
			}
			if got, err := os.ReadFile(target); string(got) != tt.file {
				t.Errorf("the file is %q, %v", got, err)
			}
			if _, err := os.Stat(filepath.Join(root, "history", "r1.1")); (err == nil) == tt.fails {
				t.Errorf("the journal is in the history: %v", err == nil)
			}
		})
	}
}
