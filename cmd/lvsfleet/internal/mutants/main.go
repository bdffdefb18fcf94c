// Command mutants breaks lvsfleet on purpose, in one way after the other, and
// asks whether the tests notice. Each mutant of the list is a rule of safety that
// is gone; the tests of its package must fail with it. The tree is not touched:
// the go command is told of the changed file (go help build, -overlay).
//
// It is run in the module's root. The exit status is 1 where a mutant survives,
// or no longer fits the code that it changes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A mutant is a rule that is broken by the change of one text.
type mutant struct {
	name string // of the rule that is gone, in words
	file string // from the module's root
	old  string // what is there, once
	new  string
	pkg  string // whose tests must fail; "": the file's own
	run  string // those tests, as -run has it; "": all of the package
}

// text is the mutated file.
func (m mutant) text(root string) (string, error) {
	data, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(data), m.old); n != 1 {
		return "", fmt.Errorf("%s: what is to be changed is there %d times, want once: %q", m.file, n, m.old)
	}
	return strings.Replace(string(data), m.old, m.new, 1), nil
}

// tests is the package whose tests must fail.
func (m mutant) tests() string {
	if m.pkg != "" {
		return "./" + m.pkg
	}
	return "./" + filepath.ToSlash(filepath.Dir(m.file))
}

// limit is how long the tests of one mutant may take. One that makes them hang
// is noticed too.
const limit = 5 * time.Minute

// errSurvived is a mutant that no test notices.
var errSurvived = errors.New("SURVIVED")

// try runs the tests with the mutant.
func try(ctx context.Context, root, dir string, m mutant) error {
	text, err := m.text(root)
	if err != nil {
		return err
	}
	changed := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
		return err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, m.file): changed}})
	if err != nil {
		return err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return err
	}
	// What does not compile is noticed by no test.
	vet := exec.CommandContext(ctx, "go", "build", "-overlay", list, m.tests())
	if out, err := vet.CombinedOutput(); err != nil {
		return fmt.Errorf("it does not compile: %w\n%s", err, out)
	}
	args := []string{"test", "-overlay", list, "-failfast", "-timeout", limit.String()}
	if m.run != "" {
		args = append(args, "-run", m.run)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, m.tests())...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		return errSurvived
	case !errors.As(err, &exit):
		return err
	case strings.Contains(string(out), "[build failed]"):
		return fmt.Errorf("it does not compile:\n%s", out)
	case !strings.Contains(string(out), "FAIL"):
		return fmt.Errorf("the tests did not run:\n%s", out)
	}
	return nil
}

func main() {
	os.Exit(run())
}

func run() int {
	only := flag.String("only", "", "try only mutants whose name or file matches this `expression`")
	flag.Parse()
	match, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		return 2
	}
	root, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		return 1
	}
	dir, err := os.MkdirTemp("", "lvsfleet-mutants-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	tried, bad := 0, 0
	for _, m := range mutants {
		if !match.MatchString(m.name) && !match.MatchString(m.file) {
			continue
		}
		tried++
		began := time.Now()
		err := try(ctx, root, dir, m)
		if ctx.Err() != nil {
			return 1
		}
		said := "died"
		if err != nil {
			bad++
			said = err.Error()
		}
		fmt.Printf("%-8s %5.1fs  %s: %s\n", firstLine(said), time.Since(began).Seconds(), m.file, m.name)
		if err != nil && !errors.Is(err, errSurvived) {
			fmt.Println(said)
		}
	}
	fmt.Printf("%d mutants, %d died, %d did not\n", tried, tried-bad, bad)
	if bad > 0 || tried == 0 {
		return 1
	}
	return 0
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	if line != errSurvived.Error() && line != "died" {
		return "ERROR"
	}
	return line
}
