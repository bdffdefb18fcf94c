// Package hclfile reads a site from HCL, and shows what is wrong with it as
// diagnostics that point at the line.
package hclfile

import (
	"context"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// Input is where the values of variables come from, the last winning: the
// defaults, Environ, VarFiles in their order, Vars in theirs.
type Input struct {
	Vars     []string // "NAME=VALUE", as given to -var
	VarFiles []string // paths; attributes in HCL, or JSON where the name ends in .json
	Environ  []string // as os.Environ gives it; LVSFLEET_VAR_NAME counts
	// Context ends the reading when it ends; nil: nothing does.
	Context context.Context
	work    int // that may be spent; 0: maxWork
}

// A Result is a site, or what is wrong with it.
type Result struct {
	Site  *inventory.Site        // nil where there are errors
	Diags []inventory.Diagnostic // by place
	Files []string               // the files of the site that were read, in order
	Hash  string                 // sha256 over the files and the variables' values: names the inventory

	sources map[string]*hcl.File
	secrets []string
}

// Load reads the site at path, a file or a folder whose *.hcl files are read
// as one, and checks it. All mistakes are reported at once; nothing that the
// files hold makes it panic.
func Load(path string, in Input) *Result {
	l := newLoader()
	l.withContext(in.Context)
	l.budget.most = in.work
	site := l.load(path, in)
	if l.interrupted() {
		l.diags = append(l.diags, inventory.Diagnostic{
			Severity: inventory.Error, Summary: "Interrupted", Detail: "The inventory was not read to its end.", Subject: inventory.Range{File: path},
		})
	}
	r := &Result{
		Diags: l.sorted(), Files: l.paths, Hash: l.digest.sum(),
		sources: l.sources, secrets: l.secrets.sorted(),
	}
	for i := range r.Diags {
		r.Diags[i].Summary = redact(r.Diags[i].Summary, r.secrets)
		r.Diags[i].Detail = redact(r.Diags[i].Detail, r.secrets)
	}
	if !r.Failed() {
		r.Site = site
	}
	return r
}

// Failed says that there are errors.
func (r *Result) Failed() bool {
	return slices.ContainsFunc(r.Diags, func(d inventory.Diagnostic) bool {
		return d.Severity == inventory.Error
	})
}

// Strict turns warnings into errors.
func (r *Result) Strict() {
	for i := range r.Diags {
		r.Diags[i].Severity = inventory.Error
	}
	if r.Failed() {
		r.Site = nil
	}
}
