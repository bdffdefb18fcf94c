package rcconf

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// A Value is what a variable has after a file was read.
type Value struct {
	Text string
	// Known is false where the text depends on what only a running shell
	// knows: a command's output, a variable of another file, a branch. Text
	// then holds what could be made out.
	Known bool
}

// An Env is the shell's variables.
type Env map[string]Value

// Eval reads the file into env as the shell would: in order, the last
// assignment wins.
func (f *File) Eval(env Env) {
	for _, a := range f.assigns {
		env.apply(a)
	}
}

// takes says whether a, reached now, would assign.
func (env Env) takes(a assign) bool {
	old, set := env[a.name]
	switch {
	case a.ifEmpty:
		return !set || old.Text == "" || !old.Known
	case a.ifUnset:
		return !set
	}
	return true
}

func (env Env) apply(a assign) {
	if !env.takes(a) {
		return
	}
	v := Value{Known: true}
	if a.opaque {
		v.Known = false
	} else if a.word != nil {
		v = env.expand(a.word.Parts, false)
	}
	if a.cr {
		v.Text += "\r"
	}
	if old, set := env[a.name]; set && !old.Known && (a.ifEmpty || a.ifUnset) {
		v.Known = false
	}
	v.Known = v.Known && a.sure
	env[a.name] = v
}

// expand evaluates the parts of a word.
func (env Env) expand(parts []syntax.WordPart, quoted bool) Value {
	var b strings.Builder
	known := true
	for _, p := range parts {
		v := Value{}
		switch p := p.(type) {
		case *syntax.Lit:
			v = Value{unescape(p.Value, quoted), true}
		case *syntax.SglQuoted:
			v = Value{p.Value, !p.Dollar}
		case *syntax.DblQuoted:
			v = env.expand(p.Parts, true)
		case *syntax.ParamExp:
			v = env.param(p)
		}
		b.WriteString(v.Text)
		known = known && v.Known
	}
	return Value{b.String(), known}
}

// param knows $NAME and ${NAME}, alone.
func (env Env) param(p *syntax.ParamExp) Value {
	if p.Param == nil || p.Exp != nil || p.Length || p.Excl || p.Slice != nil || p.Repl != nil || p.Index != nil {
		return Value{}
	}
	return env[p.Param.Value]
}

// unescape takes the backslashes out of unquoted or double-quoted text.
func unescape(s string, quoted bool) string {
	if !strings.ContainsRune(s, '\\') {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			if next := s[i+1]; !quoted || strings.IndexByte("$`\"\\", next) >= 0 {
				i++
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
