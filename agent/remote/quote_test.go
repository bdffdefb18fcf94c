package remote

import (
	"os/exec"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	for _, c := range []struct{ arg, want string }{
		{"", "''"},
		{"plain", "plain"},
		{"/etc/rc.conf", "/etc/rc.conf"},
		{"net.inet.ip.forwarding=1", "net.inet.ip.forwarding=1"},
		{"a b", "'a b'"},
		{"it's", `'it'\''s'`},
		{"!!", `\!\!`},
		{"a!b", `'a'\!'b'`},
		{`a\b`, `'a'\\'b'`},
		{`\!`, `\\\!`},
		{"$x`y`", "'$x`y`'"},
		{"~root", "'~root'"},
		{"*", "'*'"},
		{"\t", "'\t'"},
		{"ü", "'ü'"},
	} {
		got, err := quote([]string{c.arg})
		if err != nil || got != c.want {
			t.Errorf("%q: %s %v", c.arg, got, err)
		}
	}
	for _, arg := range []string{"a\nb", "\x00"} {
		if _, err := quote([]string{"x", arg}); err == nil {
			t.Errorf("%q was quoted", arg)
		}
	}
}

// FuzzQuote holds quote to what the login shells of this machine make of it:
// they are what a host has, and take bytes that are no UTF-8 too.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a b", "it's", "!1", `\`, `\'`, `'\''`, "$HOME", "`x`", "a;b&c|d", "#x", "~", "{a,b}", "[a]*?", "-n", "=x", "%1", "\x80\xff", "\r", "\x1b"} {
		f.Add(s, "x")
		f.Add("x", s+s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		args := []string{a, b, "end"}
		line, err := quote(args)
		if strings.ContainsAny(a+b, "\n\x00") {
			if err == nil {
				t.Fatal("a newline or NUL was quoted")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, shell := range loginShells() {
			// sh each time; csh, where there is one, now and then: it is slow.
			if i > 0 && len(a)%16 != 3 {
				continue
			}
			out, err := exec.CommandContext(t.Context(), shell, "-c", `exec /usr/bin/printf '%s\0' `+line).Output()
			if err != nil {
				t.Fatalf("%s: %s: %v", shell, line, err)
			}
			same(t, line, args, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"))
		}
	})
}

func same(t *testing.T, line string, want, got []string) {
	t.Helper()
	if strings.Join(want, "\x00") != strings.Join(got, "\x00") {
		t.Fatalf("%s: %q came as %q", line, want, got)
	}
}
