package remote

import (
	"fmt"
	"strings"
)

// quote writes argv as a command line that sh and csh read alike: root's login
// shell is csh on FreeBSD before 14, sh elsewhere. Within single quotes both
// take every byte as it is, but csh acts on "!" even there (csh(1), History
// substitution), and on "\!"; so "!", "\" and "'" stand outside, each after a
// backslash. A newline cannot be quoted for both, and NUL for neither: they
// are refused.
func quote(argv []string) (string, error) {
	var b strings.Builder
	for i, arg := range argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		if err := quoteArg(&b, arg); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func quoteArg(b *strings.Builder, arg string) error {
	if strings.ContainsAny(arg, "\n\x00") {
		return fmt.Errorf("an argument with a newline or NUL cannot be sent to a login shell: %q", arg)
	}
	if arg != "" && strings.IndexFunc(arg, special) < 0 {
		b.WriteString(arg)
		return nil
	}
	if arg == "" {
		b.WriteString("''")
		return nil
	}
	for arg != "" {
		if n := strings.IndexAny(arg, `!\'`); n != 0 {
			if n < 0 {
				n = len(arg)
			}
			b.WriteString("'" + arg[:n] + "'")
			arg = arg[n:]
			continue
		}
		b.WriteString(`\` + arg[:1])
		arg = arg[1:]
	}
	return nil
}

// special says whether r may mean something to a shell.
func special(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("/._-+:,=@%", r)
}
