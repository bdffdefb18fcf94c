package rcconf

import (
	"fmt"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// A walker collects the assignments of a tree.
type walker struct {
	f     *File
	err   error
	ended bool // an unconditional exit or return came
}

func (w *walker) stmts(list []*syntax.Stmt, sure bool) {
	for _, s := range list {
		if w.ended {
			return
		}
		w.stmt(s, sure)
	}
}

func (w *walker) stmt(s *syntax.Stmt, sure bool) {
	sure = sure && !s.Background && !s.Negated
	switch c := s.Cmd.(type) {
	case nil:
	case *syntax.CallExpr:
		w.call(c, sure)
	case *syntax.Block:
		w.stmts(c.Stmts, sure)
	default:
		// A branch, a loop, a pipe, a function: its assignments may happen.
		syntax.Walk(c, func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.CallExpr:
				w.call(n, false)
				return false
			case *syntax.DeclClause:
				for _, a := range n.Args {
					w.assign(a, sure, true)
				}
				return false
			case *syntax.Word:
				w.word(n)
			}
			return true
		})
	}
}

func (w *walker) call(c *syntax.CallExpr, sure bool) {
	for _, a := range c.Assigns {
		if len(c.Args) == 0 {
			w.assign(a, sure, false)
		} else if a.Value != nil {
			w.word(a.Value) // NAME=VALUE COMMAND: for the command alone
		}
	}
	for _, arg := range c.Args {
		w.word(arg)
	}
	if len(c.Args) == 0 {
		return
	}
	switch c.Args[0].Lit() {
	case ".", "source":
		w.f.Reads = append(w.f.Reads, int(c.Pos().Line()))
	case "exit", "return":
		w.ended = w.ended || sure
	case "export", "readonly", "read", "local", "unset", "eval":
		w.declare(c, sure)
	}
	for _, arg := range c.Args[1:] {
		w.defaults(arg.Parts, sure)
	}
}

// declare takes down NAME and NAME=VALUE among the arguments of a command that
// assigns.
func (w *walker) declare(c *syntax.CallExpr, sure bool) {
	for _, arg := range c.Args[1:] {
		if len(arg.Parts) == 0 {
			continue
		}
		lit, ok := arg.Parts[0].(*syntax.Lit)
		if !ok {
			continue
		}
		if name, _, assigned := strings.Cut(lit.Value, "="); isName(name) && (assigned || c.Args[0].Lit() != "export") {
			w.f.assigns = append(w.f.assigns, assign{name: name, line: int(c.Pos().Line()), sure: sure, opaque: true})
		}
	}
}

// defaults finds ${NAME:=VALUE}.
func (w *walker) defaults(parts []syntax.WordPart, sure bool) {
	for _, p := range parts {
		switch p := p.(type) {
		case *syntax.DblQuoted:
			w.defaults(p.Parts, sure)
		case *syntax.ParamExp:
			if p.Exp == nil || p.Param == nil {
				continue
			}
			ifEmpty := p.Exp.Op == syntax.AssignUnsetOrNull
			if !ifEmpty && p.Exp.Op != syntax.AssignUnset {
				continue
			}
			a := assign{name: p.Param.Value, line: int(p.Pos().Line()), sure: sure, ifEmpty: ifEmpty, ifUnset: !ifEmpty}
			a.end = int(p.Rbrace.Offset())
			a.start = a.end
			if p.Exp.Word != nil {
				a.word = p.Exp.Word
				a.start = int(a.word.Pos().Offset())
			}
			w.f.assigns = append(w.f.assigns, a)
		}
	}
}

func (w *walker) assign(a *syntax.Assign, sure, opaque bool) {
	if a.Name == nil {
		return
	}
	got := assign{
		name: a.Name.Value, line: int(a.Pos().Line()), sure: sure,
		opaque: opaque || a.Append || a.Naked || a.Array != nil || a.Index != nil,
	}
	got.start = int(a.Name.End().Offset()) + len("=")
	got.end = got.start
	if a.Value != nil && len(a.Value.Parts) > 0 {
		w.word(a.Value)
		got.word = a.Value
		got.start, got.end = int(a.Value.Pos().Offset()), int(a.Value.End().Offset())
		w.defaults(a.Value.Parts, sure)
	}
	data := w.f.data
	got.start, got.end = min(got.start, len(data)), min(got.end, len(data))
	if got.end > got.start && data[got.end-1] == '\r' {
		got.end--
	}
	got.cr = got.end < len(data) && data[got.end] == '\r'
	w.f.assigns = append(w.f.assigns, got)
}

// word refuses quotes that sh(1) takes for letters: “inet VIP netmask M”
// assigns one word and runs the next as a command.
func (w *walker) word(word *syntax.Word) {
	for _, p := range word.Parts {
		lit, ok := p.(*syntax.Lit)
		if !ok || w.err != nil {
			continue
		}
		if i := strings.IndexAny(lit.Value, "“”„‟‘’‚‛«»‹›"+string(rune(someQuote))); i >= 0 {
			r := []rune(lit.Value[i:])[0]
			if r == someQuote {
				r = '“'
			}
			w.err = &SyntaxError{int(lit.Pos().Line()), fmt.Sprintf("%c is no quote to sh(1): write \" instead", r)}
		}
	}
}
