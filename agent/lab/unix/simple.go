package unix

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// simple gives the words of a command line that is one plain command, with
// nothing for a shell to do but take the quotes away. Most of what comes over
// SSH is so, and its streams then need no shell between.
func simple(line string) ([]string, bool) {
	f, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(line), "")
	if err != nil || len(f.Stmts) != 1 {
		return nil, false
	}
	s := f.Stmts[0]
	call, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || len(s.Redirs) > 0 || s.Negated || s.Background || s.Coprocess || len(call.Assigns) > 0 {
		return nil, false
	}
	var words []string
	for _, w := range call.Args {
		text, ok := literal(w.Parts, false)
		if !ok {
			return nil, false
		}
		words = append(words, text)
	}
	if len(words) > 1 && words[0] == "exec" {
		words = words[1:]
	}
	switch words[0] {
	case "cd", "set", "exit", "umask", "trap", "eval", ".", "export", "read", "unset", "wait", "command", "type", "shift", "exec", ":":
		return nil, false
	}
	return words, true
}

func literal(parts []syntax.WordPart, quoted bool) (string, bool) {
	var b strings.Builder
	for _, p := range parts {
		switch p := p.(type) {
		case *syntax.Lit:
			if strings.ContainsAny(p.Value, `\`) || !quoted && strings.ContainsAny(p.Value, "*?[~") {
				return "", false
			}
			b.WriteString(p.Value)
		case *syntax.SglQuoted:
			if p.Dollar {
				return "", false
			}
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			text, ok := literal(p.Parts, true)
			if !ok || p.Dollar {
				return "", false
			}
			b.WriteString(text)
		default:
			return "", false
		}
	}
	return b.String(), true
}
