package hclfile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/lvsfleet/lvsfleet/inventory"
)

type diagKey struct {
	summary string
	at      inventory.Range
}

// report adds an error of the language, which has no code.
func (l *loader) report(at hcl.Range, summary, format string, args ...any) {
	l.add(inventory.Diagnostic{
		Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: toRange(at),
	})
}

// code adds a diagnostic of a rule.
func (l *loader) code(c inventory.Code, at hcl.Range, format string, args ...any) {
	l.add(inventory.Report(c, toRange(at), format, args...))
}

func (l *loader) add(d inventory.Diagnostic) {
	if l.seen != nil {
		// One block that is read for many keys is wrong once.
		k := diagKey{d.Summary, d.Subject}
		if l.seen[k] {
			return
		}
		l.seen[k] = true
	}
	l.diags = append(l.diags, d)
}

// syntax takes over the diagnostics of the language.
func (l *loader) syntax(diags hcl.Diagnostics) {
	for _, d := range diags {
		l.add(fromHCL(d))
	}
}

// sorted gives the diagnostics by place.
func (l *loader) sorted() []inventory.Diagnostic {
	slices.SortStableFunc(l.diags, func(a, b inventory.Diagnostic) int {
		if c := cmp.Compare(a.Subject.File, b.Subject.File); c != 0 {
			return c
		}
		if c := cmp.Compare(a.Subject.StartByte, b.Subject.StartByte); c != 0 {
			return c
		}
		return cmp.Compare(a.Code, b.Code)
	})
	return slices.Compact(l.diags)
}

// fromHCL takes over a diagnostic of the language.
func fromHCL(d *hcl.Diagnostic) inventory.Diagnostic {
	out := inventory.Diagnostic{Summary: d.Summary, Detail: d.Detail}
	if d.Severity == hcl.DiagWarning {
		out.Severity = inventory.Warning
	}
	if d.Subject != nil {
		out.Subject = toRange(*d.Subject)
	}
	return out
}

// toHCL is the way back.
func toHCL(d inventory.Diagnostic) *hcl.Diagnostic {
	out := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: d.Summary, Detail: d.Detail}
	if d.Severity == inventory.Warning {
		out.Severity = hcl.DiagWarning
	}
	if d.Code != "" {
		out.Summary = d.Code + ": " + d.Summary
	}
	if d.Subject.File != "" {
		out.Subject = &hcl.Range{
			Filename: d.Subject.File,
			Start:    hcl.Pos{Line: d.Subject.StartLine, Column: d.Subject.StartCol, Byte: d.Subject.StartByte},
			End:      hcl.Pos{Line: d.Subject.EndLine, Column: d.Subject.EndCol, Byte: d.Subject.EndByte},
		}
	}
	return out
}

func toRange(r hcl.Range) inventory.Range {
	return inventory.Range{
		File: r.Filename, StartLine: r.Start.Line, StartCol: r.Start.Column,
		EndLine: r.End.Line, EndCol: r.End.Column, StartByte: r.Start.Byte, EndByte: r.End.Byte,
	}
}
