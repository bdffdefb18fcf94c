package remote

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
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

// FuzzQuote holds quote to what a shell's parser makes of it, and now and then
// to what the login shells of this machine do.
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
		// The parser wants UTF-8 and drops carriage returns; shells do neither.
		parses := utf8.ValidString(a+b) && !strings.Contains(a+b, "\r")
		if parses {
			file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader("x "+line), "")
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			call, ok := file.Stmts[0].Cmd.(*syntax.CallExpr)
			if len(file.Stmts) != 1 || !ok {
				t.Fatalf("%s is not one command", line)
			}
			got, err := expand.Fields(&expand.Config{}, call.Args[1:]...)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			same(t, line, args, got)
		}
		if !parses || len(a)%16 == 3 {
			for _, shell := range loginShells() {
				out, err := exec.CommandContext(context.Background(), shell, "-c", `exec /usr/bin/printf '%s\0' `+line).Output()
				if err != nil {
					t.Fatalf("%s: %s: %v", shell, line, err)
				}
				same(t, line, args, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"))
			}
		}
	})
}

func same(t *testing.T, line string, want, got []string) {
	t.Helper()
	if strings.Join(want, "\x00") != strings.Join(got, "\x00") {
		t.Fatalf("%s: %q came as %q", line, want, got)
	}
}
