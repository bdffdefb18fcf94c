package inventory_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// docs/lints.md is the list of rules, for people.
func TestLintsAreDocumented(t *testing.T) {
	const path = "../docs/lints.md"
	var b strings.Builder
	b.WriteString(`# Lints

What ` + "`lvsfleet validate`" + ` finds in an inventory has a code, by which it can be looked up here. A code is never given to another rule. What breaks the language itself (a bracket that is not closed, an attribute that there is not) has no code.

Errors stop every command before a host is contacted. Warnings are shown and stop nothing, unless ` + "`--strict`" + ` makes them errors. This page is checked against the code by a test; ` + "`go test ./inventory -run Documented -update`" + ` writes it.

| code | severity | |
|---|---|---|
`)
	for _, r := range inventory.Rules() {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s |\n", r.Code, strings.ToLower(r.Code), severity(r), r.Summary)
	}
	for _, r := range inventory.Rules() {
		fmt.Fprintf(&b, "\n## %s\n\n**%s** (%s)\n\n%s\n\nCure: %s\n", r.Code, r.Summary, severity(r), r.Reason, r.Cure)
	}
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b.String(), string(got)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func severity(r inventory.Rule) string {
	if r.Severity == inventory.Warning {
		return "warning"
	}
	return "error"
}

func TestRules(t *testing.T) {
	rules := inventory.Rules()
	if !slices.IsSortedFunc(rules, func(a, b inventory.Rule) int { return strings.Compare(a.Code, b.Code) }) {
		t.Error("not by code")
	}
	seen := map[string]bool{}
	for _, r := range rules {
		if seen[r.Code] {
			t.Errorf("%s stands twice", r.Code)
		}
		seen[r.Code] = true
		if r.Summary == "" || strings.HasSuffix(r.Summary, ".") || !strings.HasSuffix(r.Reason, ".") || !strings.HasSuffix(strings.TrimRight(r.Cure, `"`), ".") {
			t.Errorf("%s: its words: %+v", r.Code, r)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"linux", "freebsd", "solaris", "wlc", "rr", "director"}
	for given, want := range map[string]string{
		"linus": "linux", "Linux": "linux", "frebsd": "freebsd", "wcl": "wlc", "directors": "director",
		"rrr": "rr", "netbsd": "", "": "", "windows": "",
	} {
		if got := inventory.Nearest(given, known); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}

// A site that no reader made, with nothing filled in, is judged and derived.
func TestBareSite(t *testing.T) {
	s := &inventory.Site{
		Roles:    []inventory.Role{{Name: "r"}},
		Hosts:    []*inventory.Host{{}, {Name: "h", Roles: []string{"r"}}},
		Services: []*inventory.VirtualService{{}, {Name: "s", Director: "r", Pool: "r"}},
		Tunnels:  []*inventory.Tunnel{{}, {Name: "t"}},
	}
	if len(inventory.Validate(s)) == 0 {
		t.Error("passes")
	}
	if got := s.Desired(); len(got) != 2 {
		t.Errorf("%d hosts", len(got))
	}
	if len(inventory.Validate(&inventory.Site{})) != 0 {
		t.Error("an empty site is found fault with")
	}
}
