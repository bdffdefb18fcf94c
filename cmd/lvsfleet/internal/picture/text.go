package picture

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean makes text fit for every format: what XML 1.0 does not allow, what
// steers a terminal or the direction of text, and what is no UTF-8 becomes
// U+FFFD; white space becomes spaces.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r),
			r == '\u2028', r == '\u2029', r&0xfffe == 0xfffe, 0xfdd0 <= r && r <= 0xfdef:
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// shorten keeps both ends of a name that has more than n characters: names of
// a fleet mostly differ at the end.
func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n || n < 3 {
		return s
	}
	tail := (n - 1) / 2
	return string(r[:n-1-tail]) + "…" + string(r[len(r)-tail:])
}

// cut ends s after n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n && n > 0 {
		return string(r[:n-1]) + "…"
	}
	return s
}
