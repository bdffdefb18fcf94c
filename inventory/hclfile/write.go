package hclfile

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/mitchellh/go-wordwrap"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// Write shows the diagnostics as the language's own tools show them: severity,
// code and summary, file and line, the source, and what to do. width is where
// the text is wrapped, in columns; 0 does not wrap. With color the severity is
// red or yellow and the place underlined.
//
// The language's own writer reads a file from its beginning for every
// diagnostic; a file of 100,000 lines can be wrong in each of them, so here
// its lines are found once.
func (r *Result) Write(w io.Writer, width int, color bool) error {
	out := bufio.NewWriter(w)
	t := textWriter{r: r, out: out, width: width, color: color, lines: map[string][]int{}}
	alike := map[diagKey]int{}
	for _, d := range r.Diags {
		alike[diagKey{d.Summary, d.Subject}]++
	}
	shown := map[diagKey]int{}
	for i, d := range t.order() {
		if t.written == maxShown {
			t.rest(i)
			break
		}
		k := diagKey{d.Summary, d.Subject}
		if shown[k]++; shown[k] <= maxAlike || d.Subject.File == "" {
			t.write(d)
		} else if shown[k] == maxAlike+1 {
			fmt.Fprintf(t.out, "And %d more of these at %s line %d.\n\n", alike[k]-maxAlike, d.Subject.File, d.Subject.StartLine)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write diagnostics: %w", err)
	}
	return nil
}

// order is that of the places. Where not all are shown, errors come first.
func (t *textWriter) order() []*inventory.Diagnostic {
	list := make([]*inventory.Diagnostic, len(t.r.Diags))
	for i := range list {
		list[i] = &t.r.Diags[i]
	}
	if len(list) > maxShown {
		slices.SortStableFunc(list, func(a, b *inventory.Diagnostic) int { return cmp.Compare(a.Severity, b.Severity) })
	}
	return list
}

// rest says what is not shown, from the i-th on.
func (t *textWriter) rest(i int) {
	errors, warnings := 0, 0
	for _, d := range t.order()[i:] {
		if d.Severity == inventory.Warning {
			warnings++
		} else {
			errors++
		}
	}
	fmt.Fprintf(t.out, "And %d more, %d of them errors, which --json shows: mend these first.\n\n", errors+warnings, errors)
}

type textWriter struct {
	r       *Result
	out     *bufio.Writer // keeps the first error
	width   int
	color   bool
	lines   map[string][]int // where each line of a file begins
	written int
}

// maxShown bounds how many diagnostics are shown: nobody reads more, and what a
// whole file has wrong in each line has one cause.
const maxShown = 250

// maxAlike bounds how often one rule is shown to be broken at one place: a
// line of a for_each may be wrong for thousands of hosts.
const maxAlike = 5

// maxSnippet bounds the lines of source that one diagnostic shows.
const maxSnippet = 6

func (t *textWriter) style(code, text string) string {
	if !t.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (t *textWriter) write(d *inventory.Diagnostic) {
	h := toHCL(*d)
	severity := t.style("31", "Error")
	if h.Severity == hcl.DiagWarning {
		severity = t.style("33", "Warning")
	}
	fmt.Fprintf(t.out, "%s: %s\n\n", severity, h.Summary)
	if h.Subject != nil {
		t.source(d.Subject)
	}
	if d.Detail != "" {
		detail := d.Detail
		if t.width > 0 {
			detail = wordwrap.WrapString(detail, uint(t.width))
		}
		fmt.Fprintf(t.out, "%s\n\n", detail)
	}
	t.written++
}

// source shows where it is.
func (t *textWriter) source(at inventory.Range) {
	f := t.r.sources[at.File]
	if at.StartLine == 0 || f == nil || f.Bytes == nil {
		fmt.Fprintf(t.out, "  on %s\n\n", at.File)
		return
	}
	fmt.Fprintf(t.out, "  on %s line %d%s:\n", at.File, at.StartLine, t.context(f, at))
	starts := t.index(at.File, f.Bytes)
	for n := at.StartLine; n <= min(at.EndLine, at.StartLine+maxSnippet-1) && n <= len(starts); n++ {
		begin, end := starts[n-1], len(f.Bytes)
		if n < len(starts) {
			end = starts[n]
		}
		line := f.Bytes[begin:end]
		line = bytes.TrimRight(line, "\r\n")
		// The part of the line that is meant.
		from := min(max(at.StartByte-begin, 0), len(line))
		to := wholeRune(line, min(max(at.EndByte-begin, from), len(line)))
		fmt.Fprintf(t.out, "%4d: %s%s%s\n", n, t.hide(line[:from]), t.style("1;4", t.hide(line[from:to])), t.hide(line[to:]))
	}
	fmt.Fprintln(t.out)
}

// hide redacts source, and keeps what a terminal would act on from it.
func (t *textWriter) hide(src []byte) string {
	text := redact(string(src), t.r.secrets)
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
}

// context names the block, as far as the parser got.
func (t *textWriter) context(f *hcl.File, at inventory.Range) string {
	nav, ok := f.Nav.(interface{ ContextDefRange(offset int) hcl.Range })
	if !ok {
		return ""
	}
	// The header as it is written, since labels may hold templates.
	if r := nav.ContextDefRange(at.StartByte); r.End.Byte > r.Start.Byte && r.End.Byte <= len(f.Bytes) {
		return ", in " + t.hide(f.Bytes[r.Start.Byte:wholeRune(f.Bytes, r.End.Byte)])
	}
	return ""
}

// wholeRune moves an end to the end of the character that it is in: where
// typographic quotes were read as straight ones, it may be within one.
func wholeRune(b []byte, end int) int {
	for end < len(b) && !utf8.RuneStart(b[end]) {
		end++
	}
	return end
}

func (t *textWriter) index(name string, src []byte) []int {
	starts, ok := t.lines[name]
	if !ok {
		starts = []int{0}
		for i, b := range src {
			if b == '\n' {
				starts = append(starts, i+1)
			}
		}
		t.lines[name] = starts
	}
	return starts
}
