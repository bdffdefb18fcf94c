// Package steptest holds what the tests of all planners share: a plan as text,
// and its comparison with a golden file.
package steptest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A Shown is a plan, checked on a host.
type Shown struct {
	Text string
	// Live and Boot are the changes of the steps that do not hold.
	Live, Boot []step.Change
	// Failed: a check ended in an error, the last line of Text. What comes
	// after it was not looked at.
	Failed bool
}

// Show checks every step on h, of which none is done, and writes down what it
// found. A boot step that runs anything is an error of the test, and so is a
// change of runtime state that says no effect.
func Show(t testing.TB, h host.Host, p step.Plan) Shown {
	t.Helper()
	var s Shown
	var b strings.Builder
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	part := func(title string, steps []step.Step) (changes []step.Change) {
		if s.Failed {
			return nil
		}
		fmt.Fprintf(&b, "== %s\n", title)
		for _, st := range steps {
			c, err := st.Check(t.Context(), h)
			if err != nil {
				fmt.Fprintf(&b, "%s: %v\n", st.ID(), err)
				s.Failed = true
				return changes
			}
			if c.Holds() {
				fmt.Fprintf(&b, "%s: holds\n", st.ID())
			} else {
				fmt.Fprintf(&b, "%s\n", st.ID())
				changes = append(changes, c)
			}
			for _, n := range c.Notes {
				fmt.Fprintf(&b, "  note: %s\n", n)
			}
			for line := range strings.Lines(c.Diff) {
				fmt.Fprintf(&b, "  | %s", line)
			}
			for _, o := range c.Do {
				showOp(&b, "do  ", o)
			}
			for _, o := range c.Undo {
				showOp(&b, "undo", o)
			}
		}
		return changes
	}
	s.Live = part("live", p.Live)
	s.Boot = part("boot", p.Boot)
	for _, c := range s.Live {
		if len(c.Effects) == 0 {
			t.Errorf("a change of runtime state says no effect: %v", c.Do)
		}
	}
	for _, c := range s.Boot {
		if len(c.Effects) > 0 {
			t.Errorf("a change of the next boot alone has effects: %v", c.Effects)
		}
		for _, o := range c.Do {
			if o.Kind == step.Run {
				t.Errorf("a boot step runs %v", o.Argv)
			}
		}
	}
	s.Text = b.String()
	return s
}

func showOp(b *strings.Builder, verb string, o step.Op) {
	if o.Kind == step.Notify {
		verb += " notify:"
	}
	fmt.Fprintf(b, "  %s %s\n", verb, o)
	if o.Unanswered != nil {
		fmt.Fprintf(b, "         unless somebody on %s answers for %s\n", o.Unanswered.Dev, o.Unanswered.Addr)
	}
	for _, c := range o.If {
		word := "if"
		if c.Not {
			word = "if not"
		}
		fmt.Fprintf(b, "         %s `%s` has %s\n", word, strings.Join(c.Argv, " "), c.Match)
	}
}

// Golden compares got with the file at path, which update writes anew first.
func Golden(t testing.TB, update bool, path, got string) {
	t.Helper()
	if update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got, -update writes it):\n%s", path, diff)
	}
}
