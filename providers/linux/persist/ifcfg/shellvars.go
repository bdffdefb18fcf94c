package ifcfg

import (
	"bytes"
	"strings"
)

// A shellFile is a file of shell assignments (ifcfg-*, /etc/sysconfig/network)
// as it is, with the places of its values. Every byte that is not set stays.
type shellFile struct {
	text []byte
	vars []shellVar
}

// A shellVar is one assignment.
type shellVar struct {
	name       string
	value      string
	start, end int  // of the value's text, quotes included
	plain      bool // no expansion: value is what the shell makes of it
}

// parseShell finds the assignments. It knows quotes, backslashes and comments;
// it stops at nothing: what is no assignment is passed over.
func parseShell(text []byte) *shellFile {
	f := &shellFile{text: text}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ';' || c == '&':
			i++
		case c == '#':
			if nl := bytes.IndexByte(text[i:], '\n'); nl >= 0 {
				i += nl
			} else {
				i = len(text)
			}
		default:
			start := i
			for i < len(text) && isName(text[i], i == start) {
				i++
			}
			if i == start || i >= len(text) || text[i] != '=' {
				_, _, i = shellWord(text, i)
				if i == start {
					i++
				}
				continue
			}
			name := string(text[start:i])
			value, plain, end := shellWord(text, i+1)
			f.vars = append(f.vars, shellVar{name: name, value: value, start: i + 1, end: end, plain: plain})
			i = end
		}
	}
	return f
}

func isName(c byte, first bool) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || !first && '0' <= c && c <= '9'
}

// shellWord reads one word from i on: its value without quotes, whether that
// needed no expansion, and where it ends.
func shellWord(text []byte, i int) (value string, plain bool, end int) {
	var b strings.Builder
	plain = true
	var quote byte
	for ; i < len(text); i++ {
		c := text[i]
		switch {
		case quote == '\'':
			if c == quote {
				quote = 0
			} else {
				b.WriteByte(c)
			}
		case c == '\\':
			i++
			if i == len(text) {
				return b.String(), plain, i
			}
			if text[i] == '\n' {
				continue // a line goes on
			}
			if quote == '"' && !strings.ContainsRune("$`\"\\", rune(text[i])) {
				b.WriteByte('\\')
			}
			b.WriteByte(text[i])
		case quote == '"' && c == '"':
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && strings.ContainsRune(" \t\r\n;&|<>()", rune(c)):
			return b.String(), plain, i
		default:
			if c == '$' || c == '`' {
				plain = false
			}
			b.WriteByte(c)
		}
	}
	return b.String(), plain, i
}

// get gives the value that the shell ends up with: that of the last
// assignment.
func (f *shellFile) get(name string) (string, bool) {
	for i := len(f.vars) - 1; i >= 0; i-- {
		if f.vars[i].name == name {
			return f.vars[i].value, true
		}
	}
	return "", false
}

// set changes the last assignment of name in place, or adds one as a line of
// its own at the end. The value is written bare where the shell takes it so.
func (f *shellFile) set(name, value string) *shellFile {
	for i := len(f.vars) - 1; i >= 0; i-- {
		v := f.vars[i]
		if v.name != name {
			continue
		}
		if v.value == value && v.plain {
			return f
		}
		word := shellQuote(value, v.start < v.end && f.text[v.start] == '"')
		return parseShell(bytes.Join([][]byte{f.text[:v.start], []byte(word), f.text[v.end:]}, nil))
	}
	text := bytes.Clone(f.text)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	return parseShell(append(text, name+"="+shellQuote(value, false)+"\n"...))
}

// shellQuote writes value as one word; with double, in double quotes.
func shellQuote(value string, double bool) string {
	bare := value != ""
	for _, c := range []byte(value) {
		if !isName(c, false) && !strings.ContainsRune(".:/,@%+-", rune(c)) {
			bare = false
		}
	}
	if bare && !double {
		return value
	}
	r := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`")
	return `"` + r.Replace(value) + `"`
}

// isYes and isNo read a switch as initscripts' is_true and is_false do.
func isNo(value string) bool {
	switch strings.ToLower(value) {
	case "no", "f", "false", "n", "off", "0":
		return true
	}
	return false
}

func isYes(value string) bool {
	switch strings.ToLower(value) {
	case "yes", "t", "true", "y", "on", "1":
		return true
	}
	return false
}
