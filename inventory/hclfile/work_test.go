package hclfile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
)

func loadText(t *testing.T, text string, in Input) *Result {
	t.Helper()
	path := filepath.Join(t.TempDir(), "site.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path, in)
}

// manyTexts is a list of 20,000 texts.
const manyTexts = `a = range(1000)
  b = flatten([for x in local.a : [for y in range(20) : "s${x}-${y}"]])
`

// What would take minutes is refused, with its line; what is large and can be
// done is done.
func TestWork(t *testing.T) {
	for expr, refused := range map[string]bool{
		`length(distinct(local.b))`:                                               false,
		`length(sort(local.b))`:                                                   false,
		`[for x in range(10) : contains(local.b, "nosuch")]`:                      false,
		`[for x in local.b : contains(local.b, x)]`:                               true,
		`[for x in range(1000) : length(sort(local.b))]`:                          true,
		`[for x in range(1000) : length(distinct(local.b))]`:                      true,
		`[for x in range(1000) : length(regexall("[0-9]+", join(",", local.b)))]`: true,
		`[for x in range(1000) : length(concat(local.b, local.b))]`:               true,
	} {
		in := Input{}
		if refused {
			in.work = 2_000_000
		}
		r := loadText(t, "locals {\n  "+manyTexts+"  z = "+expr+"\n}\n", in)
		if !refused {
			if r.Failed() {
				t.Errorf("%s: %+v", expr, r.Diags)
			}
			continue
		}
		if len(r.Diags) != 1 || r.Diags[0].Code != inventory.CodeSize || r.Diags[0].Subject.StartLine != 4 {
			t.Errorf("%s: %+v", expr, r.Diags)
		}
	}
}

func TestAddressesTogether(t *testing.T) {
	var b strings.Builder
	b.WriteString("role \"web\" {}\nlocals { n = range(1000) }\n")
	for h := range 250 {
		fmt.Fprintf(&b, "host \"h%d\" {\n  os = \"linux\"\n  roles = [\"web\"]\n  address = \"10.0.0.1\"\n  interface \"eth0\" { addresses = [for x in local.n : \"10.0.0.1/24\"] }\n}\n", h)
	}
	r := loadText(t, b.String(), Input{work: 1_000_000})
	n := 0
	for _, d := range r.Diags {
		if d.Code == inventory.CodeSize {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d diagnostics of the size", n)
	}
}

// A text of many lines takes the parser the square of its length.
func TestLongText(t *testing.T) {
	r := loadText(t, "locals {\n  x = <<E\n"+strings.Repeat("a line of text\n", 400_000)+"E\n}\n", Input{})
	if len(r.Diags) != 1 || r.Diags[0].Code != inventory.CodeSize || r.Diags[0].Subject.StartLine != 3 {
		t.Errorf("%+v", r.Diags)
	}
	if r := loadText(t, "locals {\n  x = <<E\n"+strings.Repeat("a line of text\n", 5_000)+"E\n}\n", Input{}); r.Failed() {
		t.Errorf("%+v", r.Diags)
	}
}

// A function that panics says what it was given, and shows no stack.
func TestNoStack(t *testing.T) {
	r := loadText(t, "locals {\n  x = cidrsubnet(\"10.0.0.0/8\", 24, 1e300)\n}\n", Input{})
	if len(r.Diags) != 1 || strings.Contains(r.Diags[0].Detail, "goroutine") || !strings.Contains(r.Diags[0].Detail, `"10.0.0.0/8", 24, 1e+300`) {
		t.Errorf("%+v", r.Diags)
	}
	r = loadText(t, "variable \"s\" {\n  default = \"10.0.0.0/8\"\n  sensitive = true\n}\nlocals {\n  x = cidrsubnet(var.s, 24, 1e300)\n}\n", Input{})
	if len(r.Diags) != 1 || strings.Contains(r.Diags[0].Detail, "10.0.0.0") {
		t.Errorf("%+v", r.Diags)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := loadText(t, "locals {\n  "+manyTexts+"  z = [for x in local.b : contains(local.b, x)]\n}\n", Input{Context: ctx})
	if len(r.Diags) != 1 || r.Diags[0].Summary != "Interrupted" {
		t.Errorf("%+v", r.Diags)
	}
}

// Lines may end as on Windows.
func TestCRLF(t *testing.T) {
	text := "role \"d\" {}\nlocals {\n  a = <<E\n10.0.0.1\nE\n  b = <<-E\n    x\n    E\n}\nhost \"h\" {\n  # a comment\n  os = \"linux\"\n  roles = [\"d\"]\n  address = trimspace(local.a)\n  interface \"eth0\" { address = \"10.0.0.1/24\" }\n}\n"
	for _, form := range []string{text, strings.ReplaceAll(text, "\n", "\r\n")} {
		r := loadText(t, form, Input{})
		if r.Failed() || r.Site.Hosts[0].Address != "10.0.0.1" {
			t.Errorf("%+v", r.Diags)
		}
	}
}
