package note

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// codes are all that codes.go declares.
func codes(t *testing.T) map[Code]bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[Code]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Code" {
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil || all[Code(text)] {
				t.Errorf("%s: %q is twice there, or %v", v.Names[0].Name, text, err)
			}
			all[Code(text)] = true
		}
		return true
	})
	return all
}

// Each code has a sentence, which says all that is given to it, and is known
// again from that.
func TestEveryCodeIsWorded(t *testing.T) {
	all := codes(t)
	if len(all) != len(wordings) {
		t.Errorf("%d codes, %d wordings", len(all), len(wordings))
	}
	for code := range all {
		w, ok := wordings[code]
		if !ok {
			t.Errorf("%s has no wording", code)
			continue
		}
		var args []any
		for i := range w.args() {
			args = append(args, fmt.Sprintf("arg%d", i+1))
		}
		tries := [][]any{args}
		if w.variants != nil {
			tries = nil
			for v := range w.variants {
				tries = append(tries, []any{v})
			}
		}
		for _, args := range tries {
			n := New(code, args...)
			text := n.String()
			if placeholder.MatchString(text) || text == string(code) {
				t.Errorf("%s: %q", code, text)
			}
			for _, a := range args {
				if w.variants == nil && !strings.Contains(text, a.(string)) {
					t.Errorf("%s does not say %s: %q", code, a, text)
				}
			}
			switch code {
			case Settled, ProofBefore, ProofBroken, NotProvable, NothingLost, HeldEntry, RulesNotLoaded:
				continue // no watcher has recorded them
			}
			back, ok := Earlier(text)
			if !ok || !back.Is(n) {
				t.Errorf("%q is read as %+v, want %+v", text, back, n)
			}
		}
	}
}

func TestIdentity(t *testing.T) {
	one := New(ForeignService, "the IPVS table", "TCP 192.0.2.1:80", "1 real server")
	more := New(ForeignService, "the IPVS table", "TCP 192.0.2.1:80", "7 real servers")
	other := New(ForeignService, "the IPVS table", "TCP 192.0.2.2:80", "1 real server")
	if !one.Is(more) || one.Is(other) || one.String() == more.String() {
		t.Errorf("%+v, %+v, %+v", one, more, other)
	}
	if !New(NetworkNone, "linux").Is(New(NetworkNone, "director")) {
		t.Error("a host that gets a director's role tells another thing of its network")
	}
}

// Sentences as builds before codes recorded them: whole, and as they were known
// without what changes.
func TestEarlierSentences(t *testing.T) {
	service := New(ForeignService, "the IPVS table", "TCP 192.0.2.1:80", "")
	for text, want := range map[string]Note{
		"the IPVS table has TCP 192.0.2.1:80 with 2 real servers, which the inventory does not name: left as it is":       service,
		"the IPVS table has TCP 192.0.2.1:80, which the inventory does not name: left as it is":                           service,
		"the IPVS table has 3 more services that the inventory does not name: left as they are":                           New(ForeignServices, "the IPVS table", 9),
		`network is "none": the IPVS rules are not made to survive a reboot`:                                              New(RulesNone, ": why"),
		"/etc/rc.conf, line 3 reads another file, which lvsfleet does not look into":                                      New(ReadsAnother, "/etc/rc.conf", 9),
		"/etc/sysctl.d/zz.conf sets net.ipv4.ip_forward to 0 and is read later than lvsfleet's settings: it wins at boot": New(SettingWins, "/etc/sysctl.d/zz.conf", "net.ipv4.ip_forward", "1"),
		"/etc/start_if.em0 runs at boot before em0 is configured; lvsfleet does not look into it":                         New(StartIf, "em0"),
	} {
		got, ok := Earlier(text)
		if !ok || !got.Is(want) {
			t.Errorf("%q is read as %+v, want %+v", text, got, want)
		}
	}
	for _, text := range []string{"", "lo: something", "a; b: c", "what no build has said"} {
		if n, ok := Earlier(text); ok {
			t.Errorf("%q is read as %+v", text, n)
		}
	}
}

// What a host says is an argument: it is said as it is, and makes no other note.
func TestArgumentsAreTextAlone(t *testing.T) {
	n := New(ForeignService, "{2}", "{3} with", "{1}")
	if got, want := n.String(), "{2} has {3} with with {1}, which the inventory does not name: left as it is"; got != want {
		t.Errorf("%q", got)
	}
	if got := (Note{Code: ForeignService, Args: []string{"one"}}).String(); got != "foreign_service one" {
		t.Errorf("%q", got)
	}
}

func FuzzEarlier(f *testing.F) {
	f.Add("the IPVS table has TCP 192.0.2.1:80 with 2 real servers, which the inventory does not name: left as it is")
	f.Add("a\nb looks like a copy")
	f.Fuzz(func(t *testing.T, text string) {
		n, ok := Earlier(text)
		if !ok {
			return
		}
		if _, known := wordings[n.Code]; !known {
			t.Errorf("%q has no wording", n.Code)
		}
		_ = n.String()
	})
}
