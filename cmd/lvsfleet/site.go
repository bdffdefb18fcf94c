package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

// load reads the site and tells on standard error what is wrong with it. A
// site with errors is errReported.
func (g *globals) load(path string, strict bool) (*hclfile.Result, error) {
	r := g.read(path, strict)
	if g.json {
		if r.Failed() {
			g.writeDiagnostics(r)
		}
	} else if err := r.Write(g.err, width(g.err), g.color(g.err)); err != nil {
		return nil, fmt.Errorf("show diagnostics: %w", err)
	}
	if r.Failed() {
		return nil, errReported
	}
	return r, nil
}

func (g *globals) read(path string, strict bool) *hclfile.Result {
	r := hclfile.Load(path, hclfile.Input{Vars: g.vars, VarFiles: g.varFiles, Environ: os.Environ(), Context: g.ctx})
	if strict {
		r.Strict()
	}
	return r
}

// jsonDiagnostic is a diagnostic for programs.
type jsonDiagnostic struct {
	Severity string `json:"severity"`
	Code     string `json:"code,omitempty"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
}

func (g *globals) writeDiagnostics(r *hclfile.Result) {
	for _, d := range r.Diags {
		severity := "error"
		if d.Severity == inventory.Warning {
			severity = "warning"
		}
		g.emit(jsonDiagnostic{severity, d.Code, d.Summary, d.Detail, d.Subject.File, d.Subject.StartLine, d.Subject.StartCol})
	}
}

// emit writes one JSON object on a line of its own to the result.
func (g *globals) emit(v any) {
	e := json.NewEncoder(g.out)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // a result that cannot be written has nobody to be told
}
