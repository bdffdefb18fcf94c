package hclfile

import (
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// What is called shallow must be so to the tokens as well: the guard then
// never looks at them.
func FuzzShallow(f *testing.F) {
	for _, name := range []string{"nat", "dr", "tun"} {
		src, err := os.ReadFile("../../examples/" + name + "/site.hcl")
		if err != nil {
			f.Fatal(err)
		}
		if !shallow(src) {
			f.Errorf("examples/%s is not shallow", name)
		}
		f.Add(src)
	}
	for _, s := range []string{
		"a = \"]\" # [\n", "a = [ // ]\n]", "a = \"${b}\"", "a = <<X\n[\nX\n", "/* [ */", "a = '['", "a = “b”",
		"a \"b\\\"\" {}", "a = [\n1 +\n2]\n", "host \"x\" {}", "a = \"\"\"", "a = `[`", "%{ if x }", "\"$", "#\r[",
	} {
		f.Add([]byte(s))
		f.Add([]byte(strings.Repeat(s+"\n", 200)))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if at, _ := notText(src); !shallow(src) || at != 0 {
			return
		}
		tokens, _ := hclsyntax.LexConfig(src, "x", hcl.InitialPos)
		if at, why := tooDeep(tokens); why != "" {
			t.Errorf("%v: %s", at, why)
		}
		if len(typographic(tokens)) > 0 || len(labelTemplates(tokens)) > 0 {
			t.Error("there is something to mask")
		}
	})
}
