package freebsd

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
)

// csh is root's login shell until 14. It takes plain command lines, and what
// differs from a Bourne shell it takes as csh(1) does: `2>&1` is the word 2 and
// a redirection of both streams into the file 1, `$(` and assignments before a
// command are errors, a pattern must match, and ! is an event even in single
// quotes. More of it is not modelled.
func csh(m *sim.Machine, c *sim.Call) int {
	if len(c.Argv) == 1 {
		return c.Refuse()
	}
	if len(c.Argv) != 3 || c.Argv[1] != "-c" {
		return c.Refuse()
	}
	script, err := translate(m, c.Argv[2], c.Dir)
	if err != nil {
		if errors.Is(err, errNotModelled) {
			return c.Refuse()
		}
		fmt.Fprintf(c.Stderr, "%v\n", err)
		return 1
	}
	pid, exit := m.Start()
	defer exit()
	inner := *c
	inner.Argv, inner.PID = []string{"sh", "-c", script}, pid
	return unix.Sh(false)(m, &inner)
}

type cshError string

func (e cshError) Error() string { return string(e) }

const errNotModelled = cshError("not modelled")

// translate writes a csh line as one of sh.
func translate(m *sim.Machine, line, dir string) (string, error) {
	t := &translator{m: m, dir: dir, in: line}
	for t.at < len(t.in) {
		if err := t.next(); err != nil {
			return "", err
		}
	}
	if err := t.endWord(); err != nil {
		return "", err
	}
	script := t.out.String()
	if _, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(script), ""); err != nil {
		return "", errNotModelled
	}
	return script, nil
}

type translator struct {
	m       *sim.Machine
	dir, in string
	at      int
	out     strings.Builder

	word    strings.Builder // as sh reads it
	plain   string          // without its quotes
	started bool            // a word is under way
	pattern bool            // it has an unquoted *, ? or [
	words   int             // of the command so far
	command string          // its first word
	outputs int             // its output redirections
}

func (t *translator) next() error {
	b := t.in[t.at]
	rest := t.in[t.at:]
	switch {
	case b == '!' && len(rest) > 1 && !strings.ContainsRune(" \t\n=(", rune(rest[1])):
		event := strings.TrimRight(rest[1:], `"' `)
		return cshError(event + ": Event not found.")
	case b == '\'' || b == '"':
		return t.quoted(b)
	case b == '\\':
		if len(rest) < 2 {
			return errNotModelled
		}
		t.add(rest[1:2], true)
		t.at += 2
		return nil
	case b == '`' || b == '{' || b == '}' || b == '(' || b == ')' || b == '~' && !t.started || b == '#':
		return errNotModelled
	case strings.HasPrefix(rest, "$("):
		return cshError("Illegal variable name.")
	case b == '$':
		return t.variable()
	case b == ' ' || b == '\t':
		t.at++
		if err := t.endWord(); err != nil {
			return err
		}
		t.out.WriteByte(' ')
		return nil
	case strings.HasPrefix(rest, "<<"):
		return errNotModelled
	case b == '>' || b == '<':
		return t.redirect()
	case strings.ContainsRune(";|&\n", rune(b)):
		return t.separator()
	}
	if strings.ContainsRune("*?[", rune(b)) {
		t.pattern = true
		t.started = true
		t.word.WriteByte(b)
		t.plain += string(b)
		t.at++
		return nil
	}
	t.add(string(b), false)
	t.at++
	return nil
}

// add adds text to the word, quoted for sh where it was.
func (t *translator) add(text string, quote bool) {
	t.started = true
	t.plain += text
	if quote {
		q, err := syntax.Quote(text, syntax.LangPOSIX)
		if err == nil {
			text = q
		}
	}
	t.word.WriteString(text)
}

func (t *translator) quoted(q byte) error {
	end := strings.IndexByte(t.in[t.at+1:], q)
	body := t.in[t.at+1:]
	if end >= 0 {
		body = body[:end]
	}
	if i := strings.IndexByte(body, '!'); i >= 0 && i+1 < len(body) && !strings.ContainsRune(" \t=(", rune(body[i+1])) && (i == 0 || body[i-1] != '\\') {
		return cshError(body[i+1:] + ": Event not found.")
	}
	if end < 0 || strings.Contains(body, "\n") && !strings.Contains(body, "\\\n") {
		return cshError("Unmatched '" + string(q) + "'.")
	}
	t.at += end + 2
	if q == '"' && strings.ContainsAny(body, "$`") {
		// Only what csh itself is called stands in quotes in the transcripts.
		if strings.ContainsAny(strings.ReplaceAll(body, "$0", ""), "$`") {
			return errNotModelled
		}
		body = strings.ReplaceAll(body, "$0", "/bin/csh")
	}
	t.add(body, true)
	return nil
}

func (t *translator) variable() error {
	end := t.at + 1
	for end < len(t.in) && (t.in[end] == '_' || t.in[end] == '?' && end == t.at+1 ||
		t.in[end] >= '0' && t.in[end] <= '9' || t.in[end]|32 >= 'a' && t.in[end]|32 <= 'z') {
		end++
	}
	name := t.in[t.at+1 : end]
	if name == "" {
		return cshError("Illegal variable name.")
	}
	t.started = true
	t.word.WriteString("${" + name + "}")
	t.at = end
	return nil
}

func (t *translator) redirect() error {
	if err := t.endWord(); err != nil {
		return err
	}
	op := t.in[t.at : t.at+1]
	t.at++
	if op == ">" {
		if t.outputs++; t.outputs > 1 {
			return cshError("Ambiguous output redirect.")
		}
		if strings.HasPrefix(t.in[t.at:], ">") {
			op = ">>"
			t.at++
		}
		if strings.HasPrefix(t.in[t.at:], "&") {
			// Both streams; the word that follows is a file.
			t.at++
			t.out.WriteString(" 2>&1")
			rest := strings.TrimLeft(t.in[t.at:], " ")
			file := strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune(" ;|&\n", r) })
			if len(file) == 0 || strings.ContainsAny(file[0], "'\"$`\\") {
				return errNotModelled
			}
			t.at = len(t.in) - len(rest) + len(file[0])
			text := t.out.String()
			t.out.Reset()
			t.out.WriteString(strings.TrimSuffix(text, " 2>&1") + " " + op + file[0] + " 2>&1 ")
			return nil
		}
	}
	t.out.WriteString(" " + op)
	t.words-- // the file is none of the command's words
	return nil
}

func (t *translator) separator() error {
	if err := t.endWord(); err != nil {
		return err
	}
	rest := t.in[t.at:]
	op := rest[:1]
	switch {
	case strings.HasPrefix(rest, "&&") || strings.HasPrefix(rest, "||"):
		op = rest[:2]
	case op == "&" || strings.HasPrefix(rest, "|&"):
		return errNotModelled
	}
	t.at += len(op)
	t.out.WriteString(" " + op + " ")
	t.words, t.outputs, t.command = 0, 0, ""
	return nil
}

func (t *translator) endWord() error {
	if !t.started {
		return nil
	}
	word, plain := t.word.String(), t.plain
	pattern := t.pattern
	t.word.Reset()
	t.plain, t.started, t.pattern = "", false, false
	if t.words == 0 {
		t.command = plain
		if name, _, ok := strings.Cut(plain, "="); ok && name != "" {
			return cshError(plain + ": Command not found.")
		}
	}
	t.words++
	if pattern && !t.matches(plain) {
		return cshError(t.command + ": No match.")
	}
	t.out.WriteString(word)
	return nil
}

// matches says whether a pattern in the last part of a path matches a file.
func (t *translator) matches(pattern string) bool {
	full := pattern
	if !path.IsAbs(full) {
		full = path.Join(t.dir, full)
	}
	found := false
	t.m.Locked(func() {
		entries, err := t.m.FS.ReadDir(path.Dir(full))
		if err != nil {
			return
		}
		for _, e := range entries {
			if ok, err := path.Match(path.Base(full), e.Name); err == nil && ok {
				found = true
			}
		}
	})
	return found
}
