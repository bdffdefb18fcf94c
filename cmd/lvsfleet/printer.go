package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/providers/note"
)

// A printer shows what was found, for people or as JSON.
type printer struct {
	*globals
	ops   bool
	paint painter
}

func newPrinter(g *globals, ops bool) *printer {
	return &printer{globals: g, ops: ops, paint: painter(g.color(g.out))}
}

// A painter colours text, or leaves it.
type painter bool

func (p painter) with(code, s string) string {
	if !p {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p painter) bold(s string) string   { return p.with("1", s) }
func (p painter) red(s string) string    { return p.with("31", s) }
func (p painter) green(s string) string  { return p.with("32", s) }
func (p painter) yellow(s string) string { return p.with("33", s) }
func (p painter) cyan(s string) string   { return p.with("36", s) }

// jsonFinding is one host's findings for programs.
type jsonFinding struct {
	Host    string     `json:"host"`
	System  string     `json:"system,omitempty"`
	Differs bool       `json:"differs"`
	Error   string     `json:"error,omitempty"`
	Items   []jsonItem `json:"items,omitempty"`
	Notes   []string   `json:"notes,omitempty"`
	Noted   []identity `json:"noted,omitempty"`
	// Transient is in force until the next boot alone.
	Transient []string `json:"transient,omitempty"`
}

type jsonItem struct {
	Step  string      `json:"step"`
	Layer agent.Layer `json:"layer"`
	New   bool        `json:"new,omitempty"` // agent.Item.New
	Diff  string      `json:"diff,omitempty"`
	Ops   []string    `json:"ops,omitempty"`
	Notes []string    `json:"notes,omitempty"`
	Noted []identity  `json:"noted,omitempty"`
}

// An identity says which note it is, whatever its sentence.
type identity struct {
	Code    note.Code `json:"code"`
	Subject string    `json:"subject,omitempty"`
}

func identities(list []note.Note) []identity {
	var ids []identity
	for _, n := range list {
		ids = append(ids, identity{n.Code, n.Subject})
	}
	return ids
}

// findings prints every host that differs, has an error or a note, and a
// closing line.
func (p *printer) findings(found []fleet.Finding) {
	if p.json {
		for _, f := range found {
			p.emit(p.toJSON(f))
		}
		return
	}
	var differ, failed, live, boot int
	for _, f := range found {
		if f.Err != nil {
			failed++
		} else if f.Differs() {
			differ++
		}
		for _, i := range f.Report.Items {
			switch {
			case i.Change.Holds():
			case i.Layer == agent.Live:
				live++
			default:
				boot++
			}
		}
		p.finding(p.out, f)
	}
	line := count(len(found), "host") + ": "
	if failed > 0 && failed == len(found) {
		line += "none could be looked at"
	} else if differ == 0 {
		line += "nothing differs"
	} else {
		line += fmt.Sprintf("%d differ (%s live, %s at boot)", differ, count(live, "step"), count(boot, "step"))
	}
	if failed > 0 && failed < len(found) {
		line += fmt.Sprintf(", %d could not be looked at", failed)
	}
	fmt.Fprintln(p.out, line)
}

func (p *printer) toJSON(f fleet.Finding) jsonFinding {
	j := jsonFinding{Host: f.Host, System: system(f.Report), Differs: f.Differs(), Notes: notes(f.Report), Noted: identities(f.Report.Notes), Transient: f.Report.Transient}
	if f.Err != nil {
		j.Error = f.Err.Error()
	}
	for _, i := range f.Report.Items {
		if i.Change.Holds() && len(i.Change.Told()) == 0 {
			continue
		}
		item := jsonItem{Step: i.Step, Layer: i.Layer, New: i.New, Diff: i.Change.Diff, Notes: i.Change.Told(), Noted: identities(i.Change.Notes)}
		if p.ops {
			for _, op := range i.Change.Do {
				item.Ops = append(item.Ops, op.String())
			}
		}
		j.Items = append(j.Items, item)
	}
	return j
}

// notes are a host's warnings, beginning with what other runs do or did there.
func notes(r agent.Report) []string {
	var list []string
	if r.UnderWay != "" {
		list = append(list, "a change is under way: "+r.UnderWay)
	}
	if r.Unsettled != "" {
		list = append(list, "unsettled: "+r.Unsettled)
	}
	return append(list, note.Texts(r.Notes)...)
}

// system says what a host is: "freebsd 13.2-RELEASE".
func system(r agent.Report) string {
	return strings.TrimSpace(r.Identity.OS + " " + r.Identity.Release)
}

// finding prints one host, if there is anything to say of it.
func (p *printer) finding(w io.Writer, f fleet.Finding) {
	var b strings.Builder
	for _, n := range notes(f.Report) {
		fmt.Fprintf(&b, "  %s %s\n", p.paint.yellow("note"), hanging(n, 7))
	}
	for _, s := range f.Report.Transient {
		fmt.Fprintf(&b, "  %s %s: until the next boot\n", p.paint.yellow("transient"), inline(s))
	}
	for _, i := range f.Report.Items {
		if !i.Change.Holds() {
			of := ""
			if i.New {
				of = " (new with this version)"
			}
			fmt.Fprintf(&b, "  %s %s%s\n", p.paint.cyan(inline(string(i.Layer))), inline(i.Step), of)
			p.diff(&b, i.Change.Diff)
			if p.ops {
				for _, op := range i.Change.Do {
					for _, line := range strings.Split(op.String(), "\n") {
						fmt.Fprintf(&b, "    $ %s\n", printable(line))
					}
				}
			}
		}
		for _, n := range i.Change.Told() {
			fmt.Fprintf(&b, "  %s %s: %s\n", p.paint.yellow("note"), inline(i.Step), hanging(n, 7))
		}
	}
	for _, s := range f.Outages {
		fmt.Fprintf(&b, "  %s nobody else serves %s while this host changes\n", p.paint.red("outage"), inline(s))
	}
	if f.Err != nil {
		fmt.Fprintf(&b, "  %s %s\n", p.paint.red("error"), hanging(f.Err.Error(), 8))
	}
	if b.Len() == 0 {
		return
	}
	head := f.Host
	if s := system(f.Report); s != "" {
		head += " (" + inline(s) + ")"
	}
	fmt.Fprintf(w, "%s\n%s\n", p.paint.bold(head), b.String())
}

// diff prints a unified diff, indented and coloured.
func (p *printer) diff(b io.Writer, text string) {
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		line = printable(line)
		switch {
		case strings.HasPrefix(line, "+"):
			line = p.paint.green(line)
		case strings.HasPrefix(line, "-"):
			line = p.paint.red(line)
		}
		fmt.Fprintf(b, "    %s\n", line)
	}
}

// hanging gives text of several lines with all but the first indented.
func hanging(s string, indent int) string {
	return strings.ReplaceAll(strings.TrimRight(printable(s), "\n"), "\n", "\n"+strings.Repeat(" ", indent))
}

// printable keeps what a host wrote from steering the terminal, turning the
// direction of text, hiding in it, or ending a line (Unicode's Cf, Zl and Zp): what
// would is shown as U+FFFD. Lines that it has stay lines: who prints it indents
// them (hanging), or prints it on one (inline).
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || !unicode.IsControl(r) && !unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// inline is printable text for the midst of a line: a newline of a host's would
// begin a line that looks like lvsfleet's own, of another host.
func inline(s string) string { return strings.ReplaceAll(printable(s), "\n", "\u2424") }
