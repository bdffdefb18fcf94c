// Package rcconf reads FreeBSD's rc.conf(5), which is a shell script that
// happens to consist of assignments, and edits it in place: a value is
// replaced between its own first and last byte, a new assignment is appended
// as a bare line, and every other byte stays what it was.
package rcconf

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"
)

// MaxSize is the longest file that is read, in bytes. A stock rc.conf has some
// hundred; the parser recurses, so that its input has to be bounded.
const MaxSize = 256 << 10

// A SyntaxError is a file that sh(1) would not read, or not as its author
// meant it.
type SyntaxError struct {
	Line int // from 1
	Msg  string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

// A File is one parsed file.
type File struct {
	data    []byte
	assigns []assign
	// Reads are the lines on which the file reads another one (". FILE").
	Reads []int
	ended bool // it exits or returns before its end
	lines int
}

// An assign is one assignment, in the order in which the shell comes to it.
type assign struct {
	name       string
	word       *syntax.Word // nil: NAME=
	start, end int          // bytes of the value
	line       int
	sure       bool // reached by every run: not within if, case, a function, &&
	ifUnset    bool // ${NAME=...}
	ifEmpty    bool // ${NAME:=...}
	cr         bool // a carriage return follows, which the shell takes as part of the value
	opaque     bool // given by a command (export, read, local): not a plain assignment
}

// Parse parses the text of a file. Unreadable text, and quotes that only look
// like quotes, are a *SyntaxError.
func Parse(data []byte) (*File, error) {
	if len(data) > MaxSize {
		return nil, &SyntaxError{1, fmt.Sprintf("the file has %d bytes, more than %d", len(data), MaxSize)}
	}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return nil, &SyntaxError{1 + bytes.Count(data[:i], []byte("\n")), "the file holds a zero byte"}
	}
	if line, deep := tooDeep(data); deep {
		return nil, &SyntaxError{line, "brackets are nested too deep"}
	}
	tree, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(bytes.NewReader(utf8Only(data)), "")
	if err != nil {
		return nil, syntaxError(err)
	}
	f := &File{data: data}
	w := walker{f: f}
	w.stmts(tree.Stmts, true)
	if w.err != nil {
		return nil, w.err
	}
	f.ended = w.ended
	f.lines = bytes.Count(data, []byte("\n"))
	return f, nil
}

// Stand-ins for bytes that are no UTF-8, which the parser refuses and sh(1)
// takes as they are.
const (
	someByte  = 0x1a
	someQuote = 0x1b // 0x91 to 0x94: the curly quotes of Windows-1252
)

// utf8Only gives data with stand-ins, each of one byte, so that positions hold.
func utf8Only(data []byte) []byte {
	if utf8.Valid(data) {
		return data
	}
	out := slices.Clone(data)
	for i := 0; i < len(out); {
		r, n := utf8.DecodeRune(out[i:])
		if r == utf8.RuneError && n == 1 {
			if out[i] >= 0x91 && out[i] <= 0x94 {
				out[i] = someQuote
			} else {
				out[i] = someByte
			}
		}
		i += n
	}
	return out
}

func syntaxError(err error) error {
	var parse syntax.ParseError
	var lang syntax.LangError
	switch {
	case errors.As(err, &parse):
		return &SyntaxError{int(parse.Pos.Line()), parse.Text}
	case errors.As(err, &lang):
		return &SyntaxError{int(lang.Pos.Line()), "not understood by sh(1): " + lang.Feature}
	}
	return &SyntaxError{1, err.Error()}
}

// tooDeep bounds the recursion of the parser. It counts every opening bracket
// and quote that could nest, whether or not it does: a hundred pending ones
// are beyond any rc.conf.
func tooDeep(data []byte) (line int, deep bool) {
	line = 1
	depth := 0
	for i, b := range data {
		switch b {
		case '\n':
			line++
		case '(', '{':
			depth++
		case ')', '}':
			depth = max(depth-1, 0)
		case '`', '!':
			if i > 0 && data[i-1] == b {
				depth++
			}
		}
		if depth > 100 {
			return line, true
		}
	}
	return 0, false
}

// Bytes is the text of the file.
func (f *File) Bytes() []byte { return f.data }

// Names are the variables that the file assigns, sorted.
func (f *File) Names() []string {
	var names []string
	for _, a := range f.assigns {
		names = append(names, a.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Line is the line, from 1, of the last assignment to name; 0 there is none.
func (f *File) Line(name string) int {
	if i := f.last(name); i >= 0 {
		return f.assigns[i].line
	}
	return 0
}

func (f *File) last(name string) int {
	for i := len(f.assigns) - 1; i >= 0; i-- {
		if f.assigns[i].name == name {
			return i
		}
	}
	return -1
}

// Set makes value what name has after the file, read with the variables of
// before (nil: none). The assignment that decides it now is changed in place
// and keeps its kind of quotes; where there is none a line is appended. It
// fails where that would not have the effect: the file is not changed then.
//
// The shell takes a carriage return before the end of a line as part of the
// value; a value that is written anew loses it, and appended lines have none.
func (f *File) Set(before Env, name, value string) error {
	if strings.ContainsAny(value, "\"'`$\\\r\n\x00") || !isName(name) {
		return fmt.Errorf("set %s: %q cannot be written plainly", name, value)
	}
	if before == nil {
		before = Env{}
	}
	i := f.effective(before, name)
	if i < 0 {
		return f.add(name, value)
	}
	a := f.assigns[i]
	if e, ok := f.extends(before, i, value); ok {
		return f.replace(before, e, name, value)
	}
	end := a.end
	if a.cr {
		end++
	}
	return f.replace(before, edit{a.start, end, a.quoted(f.data[a.start:a.end], value)}, name, value)
}

// extends finds the place for what value has beyond the present one, before
// the closing quote: what is written there, perhaps with variables or over
// several lines, stays.
func (f *File) extends(before Env, i int, value string) (edit, bool) {
	a := f.assigns[i]
	env := maps.Clone(before)
	for _, b := range f.assigns[:i+1] {
		env.apply(b)
	}
	raw := f.data[a.start:a.end]
	more, ok := strings.CutPrefix(value, env[a.name].Text)
	if !ok || !strings.HasPrefix(more, " ") || env[a.name].Text == "" || a.cr || len(raw) < 2 {
		return edit{}, false
	}
	q := raw[len(raw)-1]
	if raw[0] != q || q != '"' && q != '\'' || bytes.Count(raw, []byte{q}) != 2 {
		return edit{}, false
	}
	return edit{a.end - 1, a.end - 1, more}, true
}

// effective finds the assignment whose value name has after the file; -1 there
// is none.
func (f *File) effective(before Env, name string) int {
	if f.last(name) < 0 {
		return -1
	}
	at := -1
	env := maps.Clone(before)
	for i, a := range f.assigns {
		if a.name == name && env.takes(a) {
			at = i
		}
		env.apply(a)
	}
	return at
}

// add appends an assignment. A file that parses ends between two statements,
// so it need not be read again.
func (f *File) add(name, value string) error {
	if f.ended {
		return fmt.Errorf("set %s: the file exits before its end", name)
	}
	if n := len(f.data); bytes.ContainsRune(f.data[max(n-3, 0):], '\\') {
		// The last line may ask for another one.
		return f.replace(Env{}, edit{n, n, "\n" + name + `="` + value + "\"\n"}, name, value)
	}
	if len(f.data)+len(name)+len(value)+4 > MaxSize {
		return fmt.Errorf("set %s: the file would grow over %d bytes", name, MaxSize)
	}
	start := ""
	if len(f.data) > 0 && f.data[len(f.data)-1] != '\n' {
		start = "\n"
		f.lines++
	}
	f.data = slices.Concat(f.data, []byte(start+name+`="`+value+"\"\n"))
	f.lines++
	lit := &syntax.DblQuoted{Parts: []syntax.WordPart{&syntax.Lit{Value: value}}}
	f.assigns = append(slices.Clip(f.assigns), assign{
		name: name, word: &syntax.Word{Parts: []syntax.WordPart{lit}}, line: f.lines, sure: true,
		start: len(f.data) - len(value) - len("\"\"\n"), end: len(f.data) - len("\n"),
	})
	return nil
}

// quoted writes value in the manner of raw, the old value's text.
func (a assign) quoted(raw []byte, value string) string {
	plain := !strings.ContainsAny(value, " \t;&|<>()#*?[]~") && value != ""
	switch {
	case len(raw) > 1 && raw[0] == '\'' && raw[len(raw)-1] == '\'':
		return "'" + value + "'"
	case (a.ifUnset || a.ifEmpty) && (len(raw) == 0 || raw[0] != '"'):
		return value // within ${NAME:=...} blanks need no quotes
	case plain && len(raw) > 0 && !bytes.ContainsAny(raw, `"'`):
		return value
	}
	return `"` + value + `"`
}

// An edit puts text for the bytes from start to end.
type edit struct {
	start, end int
	text       string
}

// replace makes the edit, and sure that name then has the value.
func (f *File) replace(before Env, e edit, name, value string) error {
	data := slices.Concat(f.data[:e.start], []byte(e.text), f.data[e.end:])
	next, err := Parse(data)
	if err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	env := maps.Clone(before)
	next.Eval(env)
	if got := env[name]; !got.Known || got.Text != value {
		return fmt.Errorf("set %s: the file would not keep it (line %d)", name, f.Line(name))
	}
	*f = *next
	return nil
}

func isName(s string) bool {
	for i, r := range s {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
