package hclfile

import (
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

func TestFunctions(t *testing.T) {
	tests := []struct{ expr, want string }{
		{`cidrhost("192.168.0.0/24", 254)`, `"192.168.0.254"`},
		{`cidrhost("192.168.0.0/24", -2)`, `"192.168.0.254"`},
		{`cidrhost("2001:db8::/64", 1)`, `"2001:db8::1"`},
		{`cidrnetmask("192.168.0.0/22")`, `"255.255.252.0"`},
		{`cidrsubnet("10.0.0.0/8", 8, 3)`, `"10.3.0.0/16"`},
		{`cidrsubnet("2001:db8::/32", 16, 1)`, `"2001:db8:1::/48"`},
		{`cidrsubnets("10.0.0.0/16", 8, 8, 4)`, `["10.0.0.0/24","10.0.1.0/24","10.0.16.0/20"]`},
		{`cidrsubnets("10.0.0.0/16")`, `[]`},
		{`upper("a")`, `"A"`},
		{`format("rs%03d", 7)`, `"rs007"`},
		{`join(",", sort(["b", "a"]))`, `"a,b"`},
		{`split(".", "a.b")`, `["a","b"]`},
		{`replace("a-b", "-", "_")`, `"a_b"`},
		{`regex("[0-9]+", "rs160")`, `"160"`},
		{`trimprefix("rs160", "rs")`, `"160"`},
		{`strrev("ab")`, `"ba"`},
		{`merge({ a = 1 }, { b = 2 })`, `{"a":1,"b":2}`},
		{`lookup({ a = 1 }, "b", 2)`, `2`},
		{`keys({ b = 1, a = 2 })`, `["a","b"]`},
		{`zipmap(["a"], [1])`, `{"a":1}`},
		{`toset(["b", "a", "b"])`, `["a","b"]`},
		{`flatten([[1], [2, 3]])`, `[1,2,3]`},
		{`length(range(5))`, `5`},
		{`reverse([1, 2])`, `[2,1]`},
		{`max(1, 3, 2)`, `3`},
		{`floor(2.5)`, `2`},
		{`parseint("ff", 16)`, `255`},
		{`try(jsondecode("{"), "broken")`, `"broken"`},
		{`tonumber("80") + 1`, `81`},
		{`{ for i in range(2) : "rs${i}" => i }`, `{"rs0":0,"rs1":1}`},
		{`[for s in ["a", "b"] : s if s != "a"]`, `["b"]`},
	}
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			got, diags := evaluate(t, tt.expr)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			data, err := ctyjson.Marshal(got, got.Type())
			if err != nil {
				t.Fatal(err)
			}
			if string(data) != tt.want {
				t.Errorf("%s, want %s", data, tt.want)
			}
		})
	}
}

func TestFunctionsRefuse(t *testing.T) {
	for _, expr := range []string{
		`cidrhost("192.168.0.0/33", 1)`, `cidrhost("192.168.0.0", 1)`, `cidrhost("192.168.000.0/24", 1)`,
		`cidrhost("192.168.0.0/24", 256)`, `cidrhost("192.168.0.0/24", 1.5)`, `cidrhost("x", 1)`,
		`cidrnetmask("2001:db8::/32")`, `cidrnetmask("")`,
		`cidrsubnet("10.0.0.0/8", 25, 0)`, `cidrsubnet("10.0.0.0/8", -1, 0)`, `cidrsubnet("10.0.0.0/8", 1, 2)`,
		`cidrsubnet("10.0.0.0/8", 8, -1)`, `cidrsubnet("10.0.0.0/8", 1e30, 0)`,
		`cidrsubnets("10.0.0.0/30", 1, 1, 1)`, `cidrsubnets("10.0.0.0/30", 3)`, `cidrsubnets("255.255.255.0/24", 1, 1, 1)`,
		`file("/etc/passwd")`, `timestamp()`, `env("HOME")`,
	} {
		t.Run(expr, func(t *testing.T) {
			if got, diags := evaluate(t, expr); !diags.HasErrors() {
				t.Errorf("%#v", got)
			}
		})
	}
}

func evaluate(t *testing.T, src string) (cty.Value, hcl.Diagnostics) {
	t.Helper()
	expr, diags := hclsyntax.ParseExpression([]byte(src), "x", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return expr.Value(&hcl.EvalContext{Functions: functions()})
}

func TestParseSeconds(t *testing.T) {
	for text, want := range map[string]int{"30s": 30, "15m": 900, "1h30m": 5400, "90d": 7776000, "2w": 1209600, "0s": 0} {
		if got, ok := parseSeconds(text); !ok || got != want {
			t.Errorf("%s: %d %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "x", "-1s", "1.5s", "1ms", "d", "-1d", "99999999999d", "300y", "9999999h"} {
		if got, ok := parseSeconds(text); ok {
			t.Errorf("%s: %d", text, got)
		}
	}
}

func TestParseMask(t *testing.T) {
	for text, want := range map[string]int{"24": 24, "/24": 24, "255.255.255.0": 24, "255.255.255.255": 32, "0.0.0.0": 0, "128": 128} {
		if got, ok := parseMask(text); !ok || got != want {
			t.Errorf("%s: %d %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "x", "-1", "129", "255.0.255.0", "0.255.0.0", "ffff::"} {
		if got, ok := parseMask(text); ok {
			t.Errorf("%s: %d", text, got)
		}
	}
}
