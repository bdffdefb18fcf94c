package importer

import (
	"errors"
	"fmt"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Bounds on what a script may make of a few lines, in commands and in bytes of
// one value.
const (
	maxCommands = 200_000
	maxValue    = 64 << 10
	maxSteps    = 1_000_000
)

// A script reads the commands of a shell script that sets a table up: plain
// commands, variables, lists of words that `for` goes through, the branch of
// `case` that is for "start", functions. It runs nothing. What it cannot know
// (the output of a command, a condition) it tells of with its line.
type script struct {
	note  func(format string, args ...any)
	vars  map[string]string
	funcs map[string]*syntax.Stmt
	out   []command
	depth int
	steps int // statements so far
	full  bool
}

// read gives the commands in the order in which they run. isScript is true where
// the text is more than lines of options.
func (s *script) read(text string) (commands []command, isScript bool) {
	s.vars = map[string]string{"1": "start", "#": "1", "@": "start", "*": "start"}
	s.funcs = map[string]*syntax.Stmt{}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
	if err != nil {
		return plainLines(text), false
	}
	for _, st := range file.Stmts {
		if call, ok := st.Cmd.(*syntax.CallExpr); !ok || len(call.Assigns) > 0 || len(call.Args) == 0 || !strings.HasPrefix(call.Args[0].Lit(), "-") {
			isScript = true
		}
	}
	s.stmts(file.Stmts)
	return s.out, isScript
}

// plainLines are the words of each line; "#" begins a comment.
func plainLines(text string) []command {
	var out []command
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if words := strings.Fields(line); len(words) > 0 {
			out = append(out, command{n, words})
		}
	}
	return out
}

// maxNesting bounds blocks, loops and calls within each other.
const maxNesting = 40

func (s *script) stmts(list []*syntax.Stmt) {
	if s.depth++; s.depth > maxNesting {
		s.depth--
		return
	}
	for _, st := range list {
		s.stmt(st)
	}
	s.depth--
}

func (s *script) pass(n syntax.Node, what string) {
	s.note("line %d: %s is not followed: what it does to the table is not imported", n.Pos().Line(), what)
}

func (s *script) stmt(st *syntax.Stmt) {
	if s.steps++; s.steps > maxSteps {
		s.stop(int(st.Pos().Line()))
		return
	}
	for _, r := range st.Redirs {
		if r.Hdoc != nil && isRestore(st.Cmd) {
			s.restore(r)
			return
		}
	}
	switch c := st.Cmd.(type) {
	case *syntax.CallExpr:
		s.call(c)
	case *syntax.DeclClause:
		for _, a := range c.Args {
			s.assign(a)
		}
	case *syntax.Block:
		s.stmts(c.Stmts)
	case *syntax.Subshell:
		s.stmts(c.Stmts)
	case *syntax.BinaryCmd:
		if c.Op == syntax.Pipe || c.Op == syntax.PipeAll {
			s.pass(c, "a pipe")
			return
		}
		s.stmt(c.X)
		if c.Op == syntax.AndStmt {
			s.stmt(c.Y)
		} else if !quiet(c.Y) {
			s.pass(c.Y, "what runs only where the command before it fails")
		}
	case *syntax.IfClause:
		if s.sets(c.Then) {
			s.note("line %d: the condition of an `if` is taken for true", c.Pos().Line())
		}
		s.stmts(c.Then)
	case *syntax.CaseClause:
		s.branch(c)
	case *syntax.ForClause:
		s.loop(c)
	case *syntax.FuncDecl:
		s.funcs[c.Name.Value] = c.Body
	case *syntax.WhileClause:
		s.pass(c, "a loop with a condition")
	case nil:
	default:
		if s.sets([]*syntax.Stmt{st}) {
			s.pass(st, "this command")
		}
	}
}

// sets says whether ipvsadm is named anywhere within.
func (s *script) sets(list []*syntax.Stmt) bool {
	found := false
	for _, st := range list {
		syntax.Walk(st, func(n syntax.Node) bool {
			if l, ok := n.(*syntax.Lit); ok && strings.Contains(l.Value, "ipvsadm") {
				found = true
			}
			return !found
		})
	}
	return found
}

// quiet says that the command of `... || command` is about the script's own end.
func quiet(st *syntax.Stmt) bool {
	c, ok := st.Cmd.(*syntax.CallExpr)
	if !ok || len(c.Args) == 0 {
		return false
	}
	switch c.Args[0].Lit() {
	case "exit", "true", ":", "echo", "return", "logger":
		return true
	}
	return false
}

func isRestore(c syntax.Command) bool {
	call, ok := c.(*syntax.CallExpr)
	if !ok || len(call.Args) == 0 {
		return false
	}
	name := call.Args[0].Lit()
	if strings.HasSuffix(name, "ipvsadm-restore") {
		return true
	}
	return strings.HasSuffix(name, "ipvsadm") && len(call.Args) > 1 && (call.Args[1].Lit() == "-R" || call.Args[1].Lit() == "--restore")
}

// restore reads the lines that `ipvsadm -R` is given beside the script.
func (s *script) restore(r *syntax.Redirect) {
	text, err := s.word(r.Hdoc, true)
	if err != nil {
		s.note("line %d: %s: not imported", r.Pos().Line(), err)
		return
	}
	first := int(r.Hdoc.Pos().Line()) - 1
	for _, c := range plainLines(text) {
		s.emit(first+c.line, c.argv)
	}
}

func (s *script) emit(line int, argv []string) {
	if len(s.out) >= maxCommands {
		s.stop(line)
		return
	}
	s.out = append(s.out, command{line, argv})
}

func (s *script) stop(line int) {
	if !s.full {
		s.full = true
		s.note("line %d: the script runs more than %d commands: the rest is not imported", line, maxCommands)
	}
}

func (s *script) assign(a *syntax.Assign) {
	if a.Name == nil || a.Array != nil || a.Index != nil || a.Append {
		s.pass(a, "an assignment that is not NAME=VALUE")
		return
	}
	value := ""
	if a.Value != nil {
		v, err := s.word(a.Value, true)
		if err != nil {
			s.note("line %d: %s: the variable %s has no value here", a.Pos().Line(), err, a.Name.Value)
			delete(s.vars, a.Name.Value)
			return
		}
		value = v
	} else if a.Naked {
		return
	}
	s.vars[a.Name.Value] = value
}

func (s *script) call(c *syntax.CallExpr) {
	for _, a := range c.Assigns {
		s.assign(a)
	}
	if len(c.Args) == 0 {
		return
	}
	argv, err := s.fields(c.Args)
	if err != nil {
		s.note("line %d: %s: the command is not imported", c.Pos().Line(), err)
		return
	}
	if len(argv) == 0 {
		return
	}
	if body := s.funcs[argv[0]]; body != nil {
		s.stmts([]*syntax.Stmt{body})
		return
	}
	switch argv[0] {
	case "echo", "exit", "set", "return", ":", "true", "test", "[", "shift", "unset", "printf", "logger", "sleep":
		return // nothing of the table
	}
	s.emit(int(c.Pos().Line()), argv)
}

// branch reads, of a `case` on the script's own argument, what is done at start.
func (s *script) branch(c *syntax.CaseClause) {
	value, err := s.word(c.Word, true)
	for _, item := range c.Items {
		for _, p := range item.Patterns {
			if lit := p.Lit(); err == nil && (lit == value || lit == "*") {
				if value != "start" {
					s.note("line %d: of `case` the branch for %q is read", c.Pos().Line(), value)
				}
				s.stmts(item.Stmts)
				return
			}
		}
	}
	if len(c.Items) > 0 && s.sets([]*syntax.Stmt{{Cmd: c}}) {
		s.pass(c, "a `case` without a branch that is known to be taken")
	}
}

func (s *script) loop(c *syntax.ForClause) {
	w, ok := c.Loop.(*syntax.WordIter)
	if !ok || c.Select {
		s.pass(c, "a loop that counts")
		return
	}
	items, err := s.fields(w.Items)
	if err != nil {
		s.note("line %d: %s: the loop is not followed", c.Pos().Line(), err)
		return
	}
	for _, item := range items {
		if s.full {
			return
		}
		s.vars[w.Name.Value] = item
		s.stmts(c.Do)
	}
}

// fields expands words as the arguments of a command: a value that is not quoted
// is split at blanks.
func (s *script) fields(words []*syntax.Word) ([]string, error) {
	var out []string
	for _, w := range words {
		if len(w.Parts) == 1 {
			if p, ok := w.Parts[0].(*syntax.ParamExp); ok {
				v, err := s.param(p)
				if err != nil {
					return nil, err
				}
				out = append(out, strings.Fields(v)...)
				continue
			}
		}
		v, err := s.word(w, false)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// word expands one word to one text.
func (s *script) word(w *syntax.Word, quoted bool) (string, error) {
	var b strings.Builder
	if err := s.parts(&b, w.Parts, quoted); err != nil {
		return "", err
	}
	return b.String(), nil
}

func (s *script) parts(b *strings.Builder, parts []syntax.WordPart, quoted bool) error {
	for _, p := range parts {
		switch p := p.(type) {
		case *syntax.Lit:
			text := strings.ReplaceAll(p.Value, "\\\n", "")
			if !quoted && strings.ContainsAny(text, "{}*?[") && strings.Contains(text, "{") {
				return errors.New("an expansion of { } is not followed")
			}
			b.WriteString(unescape(text))
		case *syntax.SglQuoted:
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			if err := s.parts(b, p.Parts, true); err != nil {
				return err
			}
		case *syntax.ParamExp:
			v, err := s.param(p)
			if err != nil {
				return err
			}
			b.WriteString(v)
		case *syntax.CmdSubst:
			return errors.New("the output of a command is not known")
		default:
			return errors.New("an expansion of the shell is not followed")
		}
		if b.Len() > maxValue {
			return fmt.Errorf("a value is longer than %d KiB", maxValue>>10)
		}
	}
	return nil
}

// unescape takes the backslashes off, as the shell does outside of quotes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func (s *script) param(p *syntax.ParamExp) (string, error) {
	if p.Param == nil || p.Excl || p.Length || p.Width || p.Index != nil || p.Slice != nil || p.Repl != nil || p.Names != 0 {
		return "", errors.New("an expansion of the shell is not followed")
	}
	v, ok := s.vars[p.Param.Value]
	if p.Exp == nil {
		if !ok {
			return "", fmt.Errorf("the variable %s has no value in this file", p.Param.Value)
		}
		return v, nil
	}
	switch p.Exp.Op {
	case syntax.DefaultUnset, syntax.DefaultUnsetOrNull:
		if ok && (v != "" || p.Exp.Op == syntax.DefaultUnset) {
			return v, nil
		}
		if p.Exp.Word == nil {
			return "", nil
		}
		return s.word(p.Exp.Word, true)
	}
	return "", errors.New("an expansion of the shell is not followed")
}
