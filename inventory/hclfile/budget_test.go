package hclfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

// double makes locals each of which is made of the one before.
func double(first, next string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "locals {\n a0 = %s\n", first)
	for i := range 60 {
		fmt.Fprintf(&b, " a%d = %s\n", i+1, strings.ReplaceAll(next, "X", fmt.Sprintf("local.a%d", i)))
	}
	return b.String() + "}\n"
}

// nested makes loops within loops.
func nested(depth int, tail string) string {
	return "locals {\n a = " + strings.Repeat("[for x in range(1000) : ", depth) + tail + strings.Repeat("]", depth) + "\n}\n"
}

const host = "host \"${each.key}\" {\n  for_each = %s\n  os = \"linux\"\n  address = \"192.0.2.1\"\n}\n"

// A few lines that ask for more than any machine has are refused, without
// trying.
func TestBombs(t *testing.T) {
	tests := map[string]string{
		"lists":                  double(`["x", "y"]`, "concat(X, X)"),
		"lists in lists":         double(`["x", "y"]`, "[X, X]"),
		"lists, flattened":       double(`["x", "y"]`, "flatten([X, X])"),
		"objects in objects":     double(`{ a = "x" }`, "{ a = X, b = X }"),
		"templates":              double(`"0123456789abcdef"`, `"${X}${X}"`),
		"joined":                 double(`"0123456789abcdef"`, `join("", [X, X])`),
		"joined by much":         double(`"0123456789abcdef"`, `join(X, ["a", "b", "c", X])`),
		"formatted":              double(`"0123456789abcdef"`, `format("%s%s", X, X)`),
		"listed":                 double(`["0123456789abcdef"]`, `formatlist("%s%s", X, X)`),
		"replaced":               double(`"aa"`, `replace(X, "a", X)`),
		"replaced by a pattern":  double(`"aa"`, `regexreplace(X, "a", X)`),
		"replaced by groups":     double(`"aa"`, `regexreplace(X, "(.*)", "$1$1")`),
		"replaced by nothing":    double(`"aa"`, `replace(X, "", X)`),
		"products":               double(`toset(["a", "b"])`, "setproduct(X, X)"),
		"encoded":                double(`"\""`, "jsonencode(X)"),
		"encoded lists":          double(`["a"]`, "[jsonencode([X, X])]"),
		"numbers":                double("1e300", "X * X"),
		"numbers as text":        "locals {\n a = \"${1e300000000}\"\n}\n",
		"small numbers as text":  "locals {\n a = \"${1e-300000000} \"\n}\n",
		"text as a number":       `locals { a = tostring(tonumber("1e-300000000")) }`,
		"a sum of text":          `locals { a = upper("1e300000000" + 1) }`,
		"a quotient":             `locals { a = upper(1 / "1e-300000000") }`,
		"a negative text":        `locals { a = upper(-"1e3000000") }`,
		"the largest":            `locals { a = upper(max(["1", "1e3000000"]...)) }`,
		"decoded":                `locals { a = upper(jsondecode("[1e3000000]")[0]) }`,
		"many decoded digits":    `locals { a = jsondecode("` + strings.Repeat("9", 1<<20) + `") }`,
		"a text for a verb":      `locals { a = format("%d", "1e300000000") }`,
		"a text for one of many": `locals { a = format("%[2]d %s", "x", "1e300000000") }`,
		"many digits":            "locals {\n a = " + strings.Repeat("9", 1<<20) + "\n}\n",
		"many digits of text":    `locals { a = 1 + "` + strings.Repeat("9", 1<<20) + `" }`,
		"a key of many digits":   `locals { a = ["x"]["` + strings.Repeat("9", 1<<20) + `"] }`,
		"products and text":      double("1e300", "upper(X * X)"),
		"a port":                 "ssh {\n port = \"1e-300000000\"\n}\n",
		"a default number":       "variable \"x\" {\n type = number\n default = \"1e-300000000\"\n}\n",
		"a default of digits":    "variable \"x\" {\n type = list(number)\n default = [\"" + strings.Repeat("9", 1<<20) + "\"]\n}\n",
		"loops":                  nested(5, "1"),
		"loops of nothing":       nested(2, "[for y in range(1000) : y if length([for z in range(1000) : z if false]) > 0]"),
		"loops over loops":       "locals {\n a = [for x in range(1000) : [for y in range(1000) : [for z in range(1000) : \"${x}${y}${z}\"]]]\n}\n",
		"a wide field":           `locals { a = format("%1000000000d", 1) }`,
		"many wide fields":       `locals { a = formatlist("%900000s", range(1000)) }`,
		"a deep indent":          `locals { a = indent(1000000000, "x\ny") }`,
		"a loop in a template":   "locals {\n a = \"%{ for x in range(1000) }%{ for y in range(1000) }%{ for z in range(1000) }xxxxxxxxxxxxxxxx%{ endfor }%{ endfor }%{ endfor }\"\n}\n",
		"hosts":                  "locals {\n m = { for p in setproduct(range(300), range(300)) : \"h${p[0]}-${p[1]}\" => 1 }\n}\n" + fmt.Sprintf(host, "local.m"),
		"a default":              "variable \"x\" {\n default = [for x in range(1000) : [for y in range(1000) : [for z in range(1000) : 1]]]\n}\n",
	}
	for name, src := range tests {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r := load(t, hclfile.Input{}, map[string]string{"site.hcl": src})
			runtime.ReadMemStats(&after)
			if !r.Failed() {
				t.Fatal("it passes")
			}
			all := text(t, r)
			for _, d := range r.Diags {
				if d.Code != inventory.CodeSize && !strings.Contains(d.Detail, "more than") && !strings.Contains(d.Detail, "at most") {
					t.Errorf("another mistake: %s: %s", d.Summary, d.Detail)
				}
			}
			if n := len(r.Diags); n > 60 {
				t.Errorf("%d diagnostics", n)
			}
			if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 4000 {
				t.Errorf("%d MB allocated:\n%s", mb, all)
			}
		})
	}
}

// What a large site asks for is far from it.
func TestNoBomb(t *testing.T) {
	src := "role \"web\" {}\nlocals {\n n = { for p in setproduct(range(100), range(100)) : \"h${p[0]}-${p[1]}\" => cidrhost(\"10.0.0.0/8\", p[0] * 256 + p[1] + 1) }\n}\n" +
		"host \"${each.key}\" {\n  for_each = local.n\n  os = \"linux\"\n  roles = [\"web\"]\n  address = each.value\n  interface \"eth0\" { address = \"${each.value}/8\" }\n}\n"
	r := load(t, hclfile.Input{}, map[string]string{"site.hcl": src})
	if r.Failed() || len(r.Site.Hosts) != 10_000 {
		t.Fatalf("%.2000s", text(t, r))
	}
	// Long numbers, and all that is made of numbers, are for everybody.
	clean(t, load(t, hclfile.Input{}, map[string]string{"site.hcl": `
locals {
 a = tostring(1 / 3) + tonumber("1e300") * max(1, "2") % 7
 b = [for x in ["0", "1"] : ["a", "b"][x]]
 c = { "12e45678" = 1 }["12e45678"]
 d = format("%s %5.1f", "12e45678", "1e3")
 e = jsondecode("{\"hash\": \"12e45678\", \"n\": 1.5e3}").hash
 f = -pow("2", "10") > 3 && upper("12e45678") != ""
}
`}))
	// What looks like such a number in a text or a name is none.
	clean(t, load(t, hclfile.Input{}, map[string]string{"site.hcl": "locals {\n a = \"4e91234\" # 1e99999\n b1e9999 = 1e3\n}\n"}))
}

// The same numbers from outside.
func TestBombsInValues(t *testing.T) {
	many := strings.Repeat("9", 1<<20)
	for _, typ := range []string{"number", "string", "list(number)", "any"} {
		src := "variable \"x\" {\n type = " + typ + "\n sensitive = true\n}\n"
		for name, in := range map[string]hclfile.Input{
			"argument":    {Vars: []string{"x=1e-300000000"}},
			"list":        {Vars: []string{"x=[1e-300000000]"}},
			"product":     {Vars: []string{"x=[\"1e300000000\" * 1]"}},
			"environment": {Environ: []string{"LVSFLEET_VAR_x=" + many[:100_000]}},
			"file":        {VarFiles: []string{"x.vars"}},
			"quotient":    {VarFiles: []string{"y.vars"}},
			"JSON":        {VarFiles: []string{"x.json"}},
			"digits":      {VarFiles: []string{"y.json"}},
			"text":        {VarFiles: []string{"z.json"}},
		} {
			// As text some of them are fine.
			fine := name == "argument" || name == "list" || name == "product" || name == "environment" || name == "text"
			r := load(t, in, map[string]string{
				"site.hcl": src, "x.vars": "x = 1e300000000\n", "y.vars": "x = 1 / \"1e300000000\"\n",
				"x.json": `{"x": 1e-300000000}`, "y.json": `{"x": [` + many + `]}`, "z.json": `{"x": ["1e-300000000"]}`,
			})
			if all := text(t, r); !r.Failed() && !(fine && typ != "number" && typ != "list(number)") {
				t.Errorf("%s for a %s passes:\n%.500s", name, typ, all)
			}
		}
	}
}

// 100,000 mistakes are not 700,000 lines, and errors come before warnings.
func TestManyMistakes(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "role \"r%d\" {}\n", i) // a warning each: no service uses it
	}
	b.WriteString("host \"a\" {\n  os = \"linux\"\n  address = \"192.0.2.1\"\n")
	for i := range 100 {
		fmt.Fprintf(&b, "  line%d = 1\n", i)
	}
	b.WriteString("}\n")
	r := load(t, hclfile.Input{}, map[string]string{"site.hcl": b.String()})
	all := text(t, r)
	if n := strings.Count(all, "\n"); n > 250*10 {
		t.Errorf("%d lines", n)
	}
	if n := strings.Count(all, "An argument named"); n != 100 {
		t.Errorf("%d errors are shown, of 100", n)
	}
	want := fmt.Sprintf("And %d more, 0 of them errors, which --json shows", len(r.Diags)-250)
	if !strings.Contains(all, want) {
		t.Errorf("no %q at the end:\n%s", want, all[max(0, len(all)-300):])
	}
}

// What may never end is not opened.
func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "site.hcl")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "x", "link.hcl")
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		pipe: "but a pipe", dir: "but a pipe", filepath.Join(dir, "x"): "but a pipe", "/dev/zero": "but a device",
	} {
		r := hclfile.Load(path, hclfile.Input{})
		if !r.Failed() || !strings.Contains(strings.Join(strings.Fields(text(t, r)), " "), want) {
			t.Errorf("%s: %s", path, text(t, r))
		}
	}
}
