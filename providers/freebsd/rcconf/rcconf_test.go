package rcconf

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSet(t *testing.T) {
	tests := []struct {
		name       string
		before     string
		key, value string
		after      string
	}{
		{"appended to nothing", "", "defaultrouter", "10.0.0.1", "defaultrouter=\"10.0.0.1\"\n"},
		{"appended", "hostname=\"a\"\n", "defaultrouter", "10.0.0.1", "hostname=\"a\"\ndefaultrouter=\"10.0.0.1\"\n"},
		{"no final newline", `hostname="a"`, "defaultrouter", "10.0.0.1", "hostname=\"a\"\ndefaultrouter=\"10.0.0.1\"\n"},
		{"in place, comment kept", "defaultrouter=\"10.0.0.9\"\t# uplink\n", "defaultrouter", "10.0.0.1", "defaultrouter=\"10.0.0.1\"\t# uplink\n"},
		{"single quotes kept", "defaultrouter='10.0.0.9'\nx=1\n", "defaultrouter", "10.0.0.1", "defaultrouter='10.0.0.1'\nx=1\n"},
		{"bare stays bare", "defaultrouter=10.0.0.9 # a\n", "defaultrouter", "10.0.0.1", "defaultrouter=10.0.0.1 # a\n"},
		{"bare is quoted where it must", "x=lo1\n", "x", "lo1 gif0", "x=\"lo1 gif0\"\n"},
		{"empty", "x=\ny=2\n", "x", "gif0", "x=\"gif0\"\ny=2\n"},
		{"empty quotes", "x=\"\"\n", "x", "gif0", "x=\"gif0\"\n"},
		{"the last wins", "x=\"1\"\nx='2'\n", "x", "3", "x=\"1\"\nx='3'\n"},
		{"several on a line", "a=1 x=2; b=3\n", "x", "7", "a=1 x=7; b=3\n"},
		{"continued line", "x=\"lo1 \\\n  lo2\" # two\ny=1\n", "x", "lo1 lo2 gif0", "x=\"lo1 lo2 gif0\" # two\ny=1\n"},
		{"commented out", "#x=\"1\"\n", "x", "2", "#x=\"1\"\nx=\"2\"\n"},
		{"default that takes", ": ${x:=1 2}\n", "x", "3 4", ": ${x:=3 4}\n"},
		{"default in quotes", ": ${x:=\"1\"}\n", "x", "3", ": ${x:=\"3\"}\n"},
		{"default that comes too late", "x=1\n: ${x:=2}\n", "x", "3", "x=3\n: ${x:=2}\n"},
		{"carriage returns", "a=\"1\"\r\nx=\"2\"\r\n", "x", "3", "a=\"1\"\r\nx=\"3\"\n"},
		{"carriage returns, appended", "a=\"1\"\r\n", "x", "3", "a=\"1\"\r\nx=\"3\"\n"},
		{"bare with carriage return", "x=NO\r\ny=1\r\n", "x", "YES", "x=YES\ny=1\r\n"},
		{"other bytes in comments", "# caf\xe9 \u201chi\u201d\nx=1\n", "x", "2", "# caf\xe9 \u201chi\u201d\nx=2\n"},
		{"curly quotes within real ones", "motd=\"it\u2019s\"\n", "x", "2", "motd=\"it\u2019s\"\nx=\"2\"\n"},
		{"after an if", "if [ -f /x ]; then\n  y=1\nfi\n", "x", "2", "if [ -f /x ]; then\n  y=1\nfi\nx=\"2\"\n"},
		{"expansion replaced", "c=lo1\nx=\"${c} gif0\"\n", "x", "lo9", "c=lo1\nx=\"lo9\"\n"},
		{"expansion kept", "x=lo1\nx=\"${x} lo2\" # b\n", "x", "lo1 lo2 gif0", "x=lo1\nx=\"${x} lo2 gif0\" # b\n"},
		{"lines kept", "x=\"lo1 \\\n\tlo2\"\n", "x", "lo1 \tlo2 gif0", "x=\"lo1 \\\n\tlo2 gif0\"\n"},
		{"a last line that asks for another", "a=1 \\\n", "x", "2", "a=1 \\\n\nx=\"2\"\n"},
		{"in a block", "{ x=1; }\n", "x", "2", "{ x=2; }\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse([]byte(tt.before))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Set(nil, tt.key, tt.value); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.after, string(f.Bytes())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSetThatCannotHold(t *testing.T) {
	tests := map[string]string{
		"a branch decides":      "x=1\nif true; then x=2; fi\n",
		"the file ends earlier": "exit 0\n",
		"exported":              "export x=1\n",
		"a command decides":     "x=1\nread x\n",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Set(nil, "x", "3"); err == nil {
				t.Errorf("no error; the file is now %q", f.Bytes())
			}
			if string(f.Bytes()) != text {
				t.Errorf("the file was changed to %q", f.Bytes())
			}
		})
	}
	f, _ := Parse(nil)
	for _, v := range []string{"a\"b", "a\nb", "$x", "`x`"} {
		if f.Set(nil, "x", v) == nil {
			t.Errorf("%q was written", v)
		}
	}
}

func TestSetAfterDefaults(t *testing.T) {
	f, err := Parse([]byte(": ${defaultrouter:=10.0.0.9}\n"))
	if err != nil {
		t.Fatal(err)
	}
	// /etc/defaults/rc.conf says NO, so the line above never takes.
	if err := f.Set(Env{"defaultrouter": {Text: "NO", Known: true}}, "defaultrouter", "10.0.0.1"); err != nil {
		t.Fatal(err)
	}
	want := ": ${defaultrouter:=10.0.0.9}\ndefaultrouter=\"10.0.0.1\"\n"
	if got := string(f.Bytes()); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEval(t *testing.T) {
	text := `a="one two"	# comment
b='$a'
c="$a ${b}"
d=x\ y
e="p \
q"
f=$(uname)
if true; then g=1; fi
h=1 i=2
j=1 true
: ${a:=no} ${k:=yes}
l="say \"x\" \$y"
m=
`
	f, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	env := Env{}
	f.Eval(env)
	want := Env{
		"a": {"one two", true}, "b": {"$a", true}, "c": {"one two $a", true}, "d": {"x y", true},
		"e": {"p q", true}, "f": {"", false}, "g": {"1", false}, "h": {"1", true}, "i": {"2", true},
		"k": {"yes", true}, "l": {`say "x" $y`, true}, "m": {"", true},
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct {
		text string
		line int
	}{
		"unterminated quote":       {"a=1\nhostname=\"rs170\n", 2},
		"curly double quotes":      {"a=1\n\nx=“inet 192.168.0.200 netmask 255.255.255.255”\n", 3},
		"curly quotes on one word": {"defaultrouter=“192.168.0.254”\n", 1},
		"curly single quote":       {"a=‘b’\n", 1},
		"curly quotes in CP1252":   {"a=\x93b\x94\n", 1},
		"zero byte":                {"a=1\nb=\x00\n", 2},
		"deep nesting":             {strings.Repeat("(", 200000), 1},
		"too long":                 {strings.Repeat("#\n", MaxSize), 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text))
			var syn *SyntaxError
			if !errors.As(err, &syn) {
				t.Fatalf("got %v, want a *SyntaxError", err)
			}
			if syn.Line != tt.line {
				t.Errorf("line %d, want %d: %v", syn.Line, tt.line, err)
			}
		})
	}
}

func TestReads(t *testing.T) {
	f, err := Parse([]byte("a=1\n. /etc/rc.conf.site\nif true; then . /x; fi\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{2, 3}, f.Reads); diff != "" {
		t.Error(diff)
	}
}

// FuzzSet holds that an edit keeps every byte outside of one stretch, and that
// the value is there afterwards.
func FuzzSet(f *testing.F) {
	for _, s := range []string{
		"", "x=1", "x=\"a b\" # c\n", "x='a'\r\ny=2\r\n", ": ${x:=1}\n", "if a; then x=1; fi\n",
		"x=\"a \\\n b\"\n", "a=1 x=2; b=3\n", "x=“a”\n", "cat <<E\nx=1\nE\n", "x=$(y `z`)\n", "x=1 \\", "# \xff\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			return
		}
		env := Env{}
		file.Eval(env)
		if file.Set(nil, "x", "new value") != nil {
			if string(file.Bytes()) != string(data) {
				t.Fatal("changed in spite of an error")
			}
			return
		}
		again, err := Parse(file.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		after := Env{}
		again.Eval(after)
		if diff := cmp.Diff(again.Line("x"), file.Line("x")); diff != "" {
			t.Fatal(diff)
		}
		if after["x"] != (Value{"new value", true}) {
			t.Fatalf("x is %+v", after["x"])
		}
		got := string(file.Bytes())
		pre := 0
		for pre < len(data) && pre < len(got) && data[pre] == got[pre] {
			pre++
		}
		post := 0
		for post < len(data)-pre && post < len(got)-pre && data[len(data)-1-post] == got[len(got)-1-post] {
			post++
		}
		if cut := len(data) - pre - post; cut > 0 && file.Line("x") == 0 {
			t.Fatalf("%d bytes lost", cut)
		}
	})
}
