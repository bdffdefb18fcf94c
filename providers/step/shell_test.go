package step_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// evil are texts of which a shell makes something else where they are not
// quoted as they must be.
var evil = []string{
	"plain", "", " ", "it's", "''", `'\''`, `"`, `\`, `\\`, "$HOME", "${x}", "$(id)", "`id`", "`", "a`b'c\"d\\e$f", "*", "?", "[a]", "~", "#", "&", ";", "|",
	"<x", ">x", "!", "!!", "-n", "-e", "=", "a\tb", "a\nb", "\n", "\r", "\x1b[31m", "\xff\xfe", "ü", "\u202e", "%s", "{a,b}", "a  b", "(", ")", "'", "a'", "'a",
}

// sh runs a script by the real shell of this machine, in a folder of its own.
func sh(t testing.TB, dir, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "bad=0 left=0 egrep='grep -E'\ndir="+step.Word(dir)+"\n"+script+"\ntest $bad = 0")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("sh: %v\n%s\n%s", err, script, out)
	}
	return string(out)
}

// A person at the console runs undo.sh by whatever shell there is: what a
// command of it is given is what the operation says, to the byte.
func TestAShellGivesACommandWhatTheOperationSays(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	for _, text := range evil {
		op := step.Op{Kind: step.Run, Argv: []string{"/bin/sh", "-c", `printf '%s\n' "$@" >"$0"`, out, text, "end"}}
		lines, err := step.NewShell().Op(op, "")
		if err != nil {
			t.Fatal(err)
		}
		sh(t, dir, lines)
		got, err := os.ReadFile(out)
		if err != nil || string(got) != text+"\nend\n" {
			t.Errorf("%q came as %q, %v", text, got, err)
		}
		_ = os.Remove(out)
	}
}

// So it is with what a condition asks, and with what it looks for.
func TestAShellAsksWhatTheConditionSays(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	for _, text := range evil {
		if strings.Contains(text, "\n") || strings.TrimSpace(text) == "" || text == "\xff\xfe" {
			continue // conditions are about lines of text
		}
		// echo(1) of some shells takes a backslash out of what a command has
		// printed; no state that a condition asks for has one.
		text = strings.ReplaceAll(text, `\`, "/")
		for _, not := range []bool{false, true} {
			op := step.Op{
				Kind: step.Run, Argv: []string{"touch", out},
				If: []step.Cond{{Argv: []string{"printf", "%s\n", "x" + text + "y"}, Match: "^x" + step.Quote(text) + "y$", Not: not}},
			}
			lines, err := step.NewShell().Op(op, "")
			if err != nil {
				t.Fatal(err)
			}
			sh(t, dir, lines)
			_, err = os.Stat(out)
			if (err == nil) == not {
				t.Errorf("%q, not %v: it ran: %v", text, not, err == nil)
			}
			_ = os.Remove(out)
		}
	}
}

// Files of any name are put, compared and removed, and nothing else is.
func TestAShellPutsTheFileThatTheOperationSays(t *testing.T) {
	for _, text := range evil {
		if text == "" {
			continue
		}
		dir := t.TempDir()
		name := filepath.Join(dir, strings.ReplaceAll(text, "/", "_")+".conf")
		was := host.File{Mode: 0o600, UID: os.Getuid(), GID: os.Getgid(), Data: []byte("was\n")}
		is := was
		is.Data = []byte("is\n")
		put := step.Op{Kind: step.Write, Path: name, File: &is, Expect: step.SumOf(was)}
		back := step.Op{Kind: step.Remove, Path: name, File: &is, Expect: step.SumOf(is)}
		shell := step.NewShell([]step.Op{put, back, {Kind: step.Write, Path: name, File: &was}})
		for saved, f := range shell.Files() {
			if err := os.WriteFile(filepath.Join(dir, saved), f.Data, f.Mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(name, was.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, op := range []step.Op{put, back} {
			lines, err := shell.Op(op, "")
			if err != nil {
				t.Fatal(err)
			}
			sh(t, dir, lines)
			got, err := os.ReadFile(name)
			if op.Kind == step.Write && string(got) != "is\n" || op.Kind == step.Remove && err == nil {
				t.Errorf("%q after %s: %q %v", text, op.Kind, got, err)
			}
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != len(shell.Files()) {
			t.Errorf("%q: left: %v %v", text, left, err)
		}
	}
}

// FuzzWord holds the words of the scripts to the shell of this machine.
func FuzzWord(f *testing.F) {
	for _, text := range evil {
		f.Add(text, "x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.Contains(a+b, "\x00") {
			return // no argument has one
		}
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", `printf '%s\0' `+step.Word(a)+" "+step.Word(b)+" end").Output()
		if err != nil {
			t.Fatalf("%q %q: %v", a, b, err)
		}
		if want := a + "\x00" + b + "\x00end\x00"; string(out) != want {
			t.Fatalf("%q came as %q", want, out)
		}
	})
}
