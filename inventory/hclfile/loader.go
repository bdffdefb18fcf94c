package hclfile

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// A loader reads one site.
type loader struct {
	paths   []string // of the site's files
	sources map[string]*hcl.File
	digest  digest
	labels  map[labelPlace]hclsyntax.Expression // templates in the labels of host blocks
	root    *hcl.EvalContext
	budget  budget
	// The names of what is declared.
	variableNames, localNames []string
	secrets                   secrets
	diags                     []inventory.Diagnostic
	seen                      map[diagKey]bool // while one block is read for many keys

	broken      bool // a file could not be parsed whole
	varsUnsure  bool // a file of values could not be read
	hostsUnsure bool // a host, or its roles, could not be read
}

// A labelPlace is where a label begins.
type labelPlace struct {
	file string
	byte int
}

func newLoader() *loader {
	return &loader{
		sources: map[string]*hcl.File{},
		labels:  map[labelPlace]hclsyntax.Expression{},
		secrets: secrets{},
	}
}

func (l *loader) load(path string, in Input) *inventory.Site {
	files := l.siteFiles(path)
	var blocks []*hclsyntax.Block
	for _, f := range files {
		body := l.parse(f)
		if body == nil {
			continue
		}
		for _, a := range sortedAttrs(body) {
			l.report(a.SrcRange, "Unsupported argument",
				"An argument named %q is not expected here: a site consists of blocks.%s", a.Name, blockHint(a.Name))
		}
		blocks = append(blocks, body.Blocks...)
	}
	parsed := len(l.diags)
	d := &decoder{loader: l}
	d.sort(blocks)
	l.evaluate(d.variables, d.locals, in)
	site := d.site()
	site.Name = SiteName(path)
	if l.broken {
		// What is left of a broken file says too little to be judged.
		l.keepUnsupported(parsed)
		return nil
	}
	for _, diag := range inventory.Validate(site) {
		if l.hostsUnsure && hangsOnHosts(diag.Code) {
			continue
		}
		l.diags = append(l.diags, diag)
	}
	return site
}

// hangsOnHosts says that the rule is about hosts that are not there.
func hangsOnHosts(c inventory.Code) bool {
	return c == inventory.CodeEmptyRole || c == inventory.CodeUnknownHost
}

// keepUnsupported drops what the reading of a broken file brought since from,
// but for what is wrong whatever else the file holds.
func (l *loader) keepUnsupported(from int) {
	l.diags = append(l.diags[:from], slices.DeleteFunc(l.diags[from:], func(d inventory.Diagnostic) bool {
		return !strings.HasPrefix(d.Summary, "Unsupported ")
	})...)
}

// SiteName names the site at path: after its file or folder, and after the
// folder of a file that is called site.hcl, as most are.
func SiteName(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if filepath.Base(path) == "site.hcl" {
		path = filepath.Dir(path)
	}
	return strings.TrimSuffix(filepath.Base(path), ".hcl")
}

func sortedAttrs(b *hclsyntax.Body) []*hclsyntax.Attribute {
	var out []*hclsyntax.Attribute
	for _, a := range b.Attributes {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *hclsyntax.Attribute) int {
		return cmp.Compare(a.SrcRange.Start.Byte, b.SrcRange.Start.Byte)
	})
	return out
}
