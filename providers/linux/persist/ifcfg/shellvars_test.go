package ifcfg

import (
	"bytes"
	"strings"
	"testing"
)

func TestShellAssignments(t *testing.T) {
	const text = "#A=0\nA=1 # one\n  export B='b c'; C=\"x\\\"y\"\nD=e\"f\"'g'\nnot an assignment=1\nE=$A\nF=a\\\nb\nA=2\nG='open\nH=1"
	f := parseShell([]byte(text))
	for name, want := range map[string]string{"A": "2", "B": "b c", "C": `x"y`, "D": "efg", "E": "$A", "F": "ab", "G": "open\nH=1"} {
		if got, _ := f.get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if v, ok := f.get("H"); ok {
		t.Errorf("H, inside of a quotation, is %q", v)
	}
	got := string(parseShell([]byte("A=1 # one\nB='b c'\nC=\"x\"")).set("A", "two words").set("B", "c").set("C", "y").set("D", "1.2.3.4/8").text)
	if want := "A=\"two words\" # one\nB=c\nC=\"y\"\nD=1.2.3.4/8\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzShellFile(f *testing.F) {
	f.Add("A=1 # one\nexport B='b c'; C=\"x\"\nD=\\", "B", "x y")
	f.Add("DEVICE=“eth0”\nIPADDR=`x`", "IPADDR", "1.2.3.4")
	f.Add("A='", "A", "$x")
	f.Fuzz(func(t *testing.T, text, name, value string) {
		vars := parseShell([]byte(text))
		end := 0
		for _, v := range vars.vars {
			if v.start < end || v.end < v.start || v.end > len(text) {
				t.Fatalf("%q: value of %s at %d to %d", text, v.name, v.start, v.end)
			}
			end = v.end
		}
		if name == "" || strings.IndexFunc(name, func(r rune) bool { return r > 127 || !isName(byte(r), false) }) >= 0 || isName('0', true) ||
			!isName(name[0], true) || strings.ContainsRune(value, 0) {
			return
		}
		if _, ok := vars.get(name); !ok {
			return // added at the end, where an open quotation may swallow it
		}
		set := vars.set(name, value)
		if got, _ := set.get(name); got != value {
			t.Fatalf("%q with %s=%q reads %q, as %q", text, name, value, got, set.text)
		}
		if again := set.set(name, value); !bytes.Equal(again.text, set.text) {
			t.Fatalf("set twice: %q, then %q", set.text, again.text)
		}
	})
}
