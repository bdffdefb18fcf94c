package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// longest is how long a state may be that stands in a short line, in bytes.
const longest = 60

// short prints a line for each step that differs. Hosts of which the same is to
// be said are one block, which names them all.
func (p *printer) short(found []fleet.Finding) {
	var bodies []string
	hosts := map[string][]string{}
	failed, differ := 0, 0
	for _, f := range found {
		var b strings.Builder
		for _, i := range f.Report.Items {
			if !i.Change.Holds() {
				fmt.Fprintf(&b, "  %s %s%s\n", p.paint.cyan(inline(string(i.Layer))), inline(i.Step), inline(shortly(i.Change)))
			}
		}
		if f.Err != nil {
			failed++
			fmt.Fprintf(&b, "  %s %s\n", p.paint.red("error"), hanging(f.Err.Error(), 8))
		} else if f.Differs() {
			differ++
		}
		body := b.String()
		if body == "" {
			continue
		}
		if hosts[body] == nil {
			bodies = append(bodies, body)
		}
		hosts[body] = append(hosts[body], f.Host)
	}
	for _, body := range bodies {
		fmt.Fprintf(p.out, "%s\n%s\n", p.paint.bold(strings.Join(hosts[body], ", ")), body)
	}
	line := fmt.Sprintf("%s: %d differ", count(len(found), "host"), differ)
	if differ == 0 {
		line = count(len(found), "host") + ": nothing differs"
	}
	if failed > 0 && failed == len(found) {
		line = count(len(found), "host") + ": none could be looked at"
	}
	if failed > 0 && failed < len(found) {
		line += fmt.Sprintf(", %d could not be looked at", failed)
	}
	fmt.Fprintln(p.out, line)
}

// shortly says what becomes of a step's state: "0 -> 1" where both are short,
// else how many lines come and go.
func shortly(c step.Change) string {
	// Of a table the state is a sum, which says nothing to people.
	table := slices.ContainsFunc(c.Do, func(o step.Op) bool { return o.Kind == step.IPVS })
	if c.Was != c.Want && brief(c.Was) && brief(c.Want) && !table {
		return fmt.Sprintf(" %s -> %s", orNone(c.Was), orNone(c.Want))
	}
	come, gone := 0, 0
	for line := range strings.Lines(c.Diff) {
		switch {
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"):
		case strings.HasPrefix(line, "+"):
			come++
		case strings.HasPrefix(line, "-"):
			gone++
		}
	}
	return fmt.Sprintf(" +%d -%d", come, gone)
}

func brief(s string) bool {
	return len(s) <= longest && !strings.Contains(strings.TrimSuffix(s, "\n"), "\n")
}

// orNone is the state as it is said; "" is one that is not there.
func orNone(s string) string {
	if s = strings.TrimSuffix(s, "\n"); s == "" {
		return "none"
	}
	return s
}
