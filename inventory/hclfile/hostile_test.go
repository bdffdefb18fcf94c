package hclfile_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

// What no site looks like is a diagnostic, and neither a panic nor a full
// stack.
func TestHostileFiles(t *testing.T) {
	var lines strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&lines, "line%d = %d\n", i, i)
	}
	var hosts strings.Builder
	for i := range 25_000 {
		fmt.Fprintf(&hosts, "host \"h%d\" {\n  os = \"linus\"\n  bad = 1\n}\n", i)
	}
	nest := func(open, close string, n int) string { return strings.Repeat(open, n) + strings.Repeat(close, n) }
	tests := []struct {
		name, src, want string
		least           int // diagnostics
	}{
		{"10,000 brackets", "locals {\n a = " + nest("[", "]", 10_000) + "\n}\n", inventory.CodeNesting, 1},
		{"10,000 open brackets", "locals {\n a = " + nest("[", "", 10_000), inventory.CodeNesting, 1},
		{"10,000 parentheses", "locals {\n a = " + nest("(", ")", 10_000) + "\n}\n", inventory.CodeNesting, 1},
		{"10,000 blocks", nest("a {\n", "}\n", 10_000), inventory.CodeNesting, 1},
		{"10,000 templates", "locals {\n a = " + nest(`"${`, `}"`, 10_000) + "\n}\n", inventory.CodeNesting, 1},
		{"templates in a label", "host \"" + nest(`${"`, `"}`, 10_000) + "\" {}\n", inventory.CodeNesting, 1},
		{"10,000 ifs", "locals {\n a = \"" + nest("%{ if true }", "%{ endif }", 10_000) + "\"\n}\n", inventory.CodeNesting, 1},
		{"100,000 minuses", "locals {\n a = " + strings.Repeat("-", 100_000) + "1\n}\n", inventory.CodeNesting, 1},
		{"100,000 bangs", "locals {\n a = " + strings.Repeat("!", 100_000) + "true\n}\n", inventory.CodeNesting, 1},
		{"100,000 sums", "locals {\n a = 1" + strings.Repeat("+1", 100_000) + "\n}\n", inventory.CodeNesting, 1},
		{"100,000 sums in parentheses on lines", "locals {\n a = (1" + strings.Repeat("+\n1", 100_000) + ")\n}\n", inventory.CodeNesting, 1},
		{"100,000 indexes", "locals {\n a = b" + strings.Repeat("[0]", 100_000) + "\n}\n", inventory.CodeNesting, 1},
		{"100,000 conditions", "locals {\n a = " + strings.Repeat("true ? 1 : ", 100_000) + "2\n}\n", inventory.CodeNesting, 1},
		{"quotes that hide brackets", "locals {\n a = ‘" + nest("[", "]", 10_000) + "’\n}\n", inventory.CodeNesting, 1},
		{"100,000 lines", lines.String(), "", 100_000},
		{"100,000 lines of hosts", hosts.String(), "", 75_000},
		{"binary", "host \"a\" {}\n\x7fELF\x02\x01\x00\x00", inventory.CodeText, 1},
		{"Latin-1", "# K\xf6ln\nhost \"a\" {}\n", inventory.CodeText, 1},
		{"UTF-16", "\xff\xfeh\x00o\x00", inventory.CodeText, 1},
		{"17 MiB", strings.Repeat("# a comment of 16 b\n", 17<<20/20), inventory.CodeSize, 1},
		{"carriage returns", "host \"a\" {\r\n  os = \"linux\"\r\n}\r\n", inventory.CodeMissing, 1},
		{"one quote", "\"", "", 1},
		{"one typographic quote", "“", inventory.CodeQuotes, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := load(t, hclfile.Input{}, map[string]string{"site.hcl": tt.src})
			if !r.Failed() || r.Site != nil || len(r.Diags) < tt.least {
				t.Fatalf("%d diagnostics, want %d", len(r.Diags), tt.least)
			}
			if err := r.Write(io.Discard, 78, true); err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				return
			}
			for _, d := range r.Diags {
				if d.Code == tt.want {
					return
				}
			}
			t.Errorf("no %s:\n%s", tt.want, text(t, r))
		})
	}
}

func TestNothingThere(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"an empty folder": {}, "a folder of other files": {"README": "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			if r := load(t, hclfile.Input{}, files); !r.Failed() || !strings.Contains(text(t, r), ".hcl") {
				t.Errorf("passes:\n%s", text(t, r))
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		t.Chdir(t.TempDir())
		if r := hclfile.Load("site.hcl", hclfile.Input{}); !r.Failed() || !strings.Contains(text(t, r), "no such file") {
			t.Errorf("passes:\n%s", text(t, r))
		}
	})
	t.Run("an empty file", func(t *testing.T) {
		clean(t, load(t, hclfile.Input{}, map[string]string{"site.hcl": ""}))
	})
}

func TestDeepJSON(t *testing.T) {
	files := map[string]string{
		"site.hcl": "variable \"x\" {}\n", "x.json": `{"x": ` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}",
	}
	if r := load(t, hclfile.Input{VarFiles: []string{"x.json"}}, files); !strings.Contains(text(t, r), inventory.CodeNesting) {
		t.Errorf("passes:\n%s", text(t, r))
	}
	files["site.hcl"] = "variable \"x\" { type = list(any) }\n"
	r := load(t, hclfile.Input{Vars: []string{"x=" + strings.Repeat("[", 10_000)}}, files)
	if !r.Failed() {
		t.Error("an expression of 10,000 brackets passes")
	}
}

// FuzzLoad wants a diagnostic or a site of whatever stands in a file, and of
// a site what its hosts must be.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"nat", "dr", "tun"} {
		src, err := os.ReadFile("../../examples/" + name + "/site.hcl")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte(small + service))
	f.Add([]byte("host \"a${each.key}\" {\n for_each = toset([\"1\"])\n os = “linux”\n}\n"))
	f.Add([]byte("locals {\n a = local.b\n b = local[\"a\"]\n}\nvariable \"v\" { sensitive = true }\n"))
	f.Add([]byte("tunnel \"t\" {\n end \"x\" { inside = \"::1\" }\n}\ndrift { every = \"9d\" }\nrollout { batch = [1, \"5%\"] }\n"))
	f.Add([]byte("locals {\n a = \"${\"1e-300000000\" * 2}\"\n b = [1][\"1e9999\"] + tonumber(\"1e99999999\") % 3\n}\nssh { port = \"1e-300000000\" }\n"))
	f.Add([]byte("locals {\n a = format(\"%[1]d %s\", \"1e300000000\")\n b = jsondecode(\"[1e99999999]\")[0]\n c = max([\"1e9999\"]...)\n}\n"))
	dir := f.TempDir()
	path := dir + "/site.hcl"
	f.Fuzz(func(t *testing.T, src []byte) {
		if err := os.WriteFile(path, src, 0o600); err != nil {
			t.Fatal(err)
		}
		r := hclfile.Load(path, hclfile.Input{})
		if (r.Site == nil) != r.Failed() {
			t.Errorf("a site: %v, failed: %v", r.Site != nil, r.Failed())
		}
		var out bytes.Buffer
		if err := r.Write(&out, 78, true); err != nil {
			t.Fatal(err)
		}
		if r.Failed() && out.Len() == 0 {
			t.Error("failed, and nothing is said")
		}
		if r.Site != nil {
			for name, d := range r.Site.Desired() {
				if d.Host != name {
					t.Errorf("%q is %q", name, d.Host)
				}
			}
		}
	})
}

// FuzzValues wants the same of what stands in files of values, and on the
// command line.
func FuzzValues(f *testing.F) {
	f.Add("a=1", "a = [1]\n", `{"b": {"c": [1, null, "x"]}}`)
	f.Add("b={ c = [] }", "", `{}`)
	f.Add("c", "b = {\n c = \"${1}\"\n}\n", `[]`)
	f.Add("a=1e-300000000", "a = 1 / \"1e300000000\"\n", "{\"d\": 1e300000000}")
	f.Add("d=${", "d = “x”\n", "{\"a\":1}{\"a\":2}")
	dir := f.TempDir()
	site, vars, js := dir+"/site.hcl", dir+"/values", dir+"/values.json"
	src := `
variable "a" { type = number }
variable "b" {
  type      = object({ c = optional(list(string), ["x"]) })
  sensitive = true
}
variable "c" { type = map(bool) }
variable "d" {}
`
	if err := os.WriteFile(site, []byte(src), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, arg, hcl, json string) {
		if os.WriteFile(vars, []byte(hcl), 0o600) != nil || os.WriteFile(js, []byte(json), 0o600) != nil {
			t.Fatal("cannot write")
		}
		r := hclfile.Load(site, hclfile.Input{
			Vars: []string{arg}, VarFiles: []string{vars, js}, Environ: []string{"LVSFLEET_VAR_c=" + arg, "LVSFLEET_VAR_d=" + hcl},
		})
		if err := r.Write(io.Discard, 40, true); err != nil {
			t.Fatal(err)
		}
		if (r.Site == nil) != r.Failed() {
			t.Errorf("a site: %v, failed: %v", r.Site != nil, r.Failed())
		}
	})
}
