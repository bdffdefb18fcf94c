package hclfile

import (
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// docs/inventory.md names every block, attribute and function, and its
// examples are what the parser reads.
func TestDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/inventory.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	wants := func(word string) {
		t.Helper()
		if !strings.Contains(doc, "`"+word+"`") && !strings.Contains(doc, "`"+word+"(") {
			t.Errorf("docs/inventory.md does not name %s", word)
		}
	}
	for _, s := range []*hcl.BodySchema{hostSchema, interfaceSchema, roleSchema, sshSchema, serviceSchema,
		realSchema, probeSchema, endSchema, rolloutSchema, driftSchema, alertSchema, variableSchema} {
		for _, a := range s.Attributes {
			wants(a.Name)
		}
	}
	for name := range functions() {
		wants(name)
	}
	for _, b := range blockTypes() {
		if !strings.Contains(doc, "\n## "+b+"\n") {
			t.Errorf("no chapter on %s", b)
		}
	}
	for i, part := range strings.Split(doc, "```hcl\n")[1:] {
		src, _, _ := strings.Cut(part, "```")
		if _, diags := hclsyntax.ParseConfig([]byte(strings.ReplaceAll(src, `host "${each.key}"`, `host "x"`)), "x", hcl.InitialPos); diags.HasErrors() {
			t.Errorf("example %d: %v", i+1, diags)
		}
	}
}
