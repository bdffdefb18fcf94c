package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// verbs are the commands that do something, by what is typed.
func verbs(c *cobra.Command) map[string]*cobra.Command {
	found := map[string]*cobra.Command{}
	if c.Runnable() && c.HasParent() {
		found[c.CommandPath()] = c
	}
	for _, sub := range c.Commands() {
		for path, v := range verbs(sub) {
			found[path] = v
		}
	}
	return found
}

// Every verb tells its exit statuses, in its help and in docs/cli.md, and the
// page tells of no verb that there is not.
func TestEveryVerbTellsItsExitStatus(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{} // by verb: its exit statuses
	for _, m := range regexp.MustCompile("(?m)^\\| `(lvsfleet[^`]*)` \\| [^|]+ \\| ([^|]+) \\|$").FindAllStringSubmatch(string(page), -1) {
		rows[m[1]] = m[2]
	}
	row := func(path string) (string, bool) {
		for usage, exit := range rows {
			rest, ok := strings.CutPrefix(usage, path)
			// What follows are arguments and flags, no verb below it.
			if ok && (rest == "" || regexp.MustCompile(`^ (\[|[A-Z]|--)`).MatchString(rest)) {
				return exit, true
			}
		}
		return "", false
	}
	all := verbs(newRoot(streams{in: os.Stdin, out: io.Discard, err: io.Discard}))
	if len(all) < 15 {
		t.Fatalf("only %d verbs", len(all))
	}
	for path, c := range all {
		switch {
		case path == "lvsfleet help", strings.HasPrefix(path, "lvsfleet completion "):
			continue // cobra's own
		case path == "lvsfleet completion":
		default:
			_, exits, ok := strings.Cut(c.Long, exitHelp)
			if !ok || !regexp.MustCompile(`(?m)^  0[ ,]`).MatchString(exits) {
				t.Errorf("%s: the help has no EXIT STATUS", path)
			}
		}
		exit, ok := row(path)
		if !ok || !strings.Contains(exit, "0") {
			t.Errorf("%s: no line in docs/cli.md tells what its exit is", path)
		}
	}
	for usage := range rows {
		words := strings.Fields(usage)
		known := false
		for n := len(words); n > 1; n-- {
			_, ok := all[strings.Join(words[:n], " ")]
			known = known || ok
		}
		if !known {
			t.Errorf("docs/cli.md tells of %q, which there is not", usage)
		}
	}
}
