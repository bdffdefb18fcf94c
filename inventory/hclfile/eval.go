package hclfile

import (
	"errors"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// eval evaluates an expression and reports what is wrong with it.
func (l *loader) eval(expr hcl.Expression, ctx *hcl.EvalContext) (cty.Value, bool) {
	v, diags := expr.Value(ctx)
	for _, d := range diags {
		if _, much := d.Extra.(tooMuch); much && d.Subject != nil {
			l.code(inventory.CodeSize, *d.Subject, "%s", d.Detail)
			continue
		}
		if err, much := exhausted(d); much && d.Subject != nil {
			if !errors.Is(err, errStop) && !l.budget.told { // each is said once, of all
				l.budget.told = true
				l.code(inventory.CodeSize, *d.Subject, "%s", sentence(err))
			}
			continue
		}
		out := fromHCL(d)
		if l.tainted(expr, ctx) {
			out.Detail = "The expression has a sensitive value in it; what is wrong with it is not shown."
		} else {
			out.Detail += l.nearMember(d)
		}
		l.add(out)
	}
	if diags.HasErrors() {
		return v, false
	}
	if !l.fits(v, expr.Range()) {
		return cty.DynamicVal, false
	}
	return v, true
}

// sentence makes a sentence of an error.
func sentence(err error) string {
	s := err.Error()
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// tainted says that a sensitive value goes into the expression.
func (l *loader) tainted(expr hcl.Expression, ctx *hcl.EvalContext) bool {
	if len(l.secrets) == 0 {
		return false
	}
	for _, t := range expr.Variables() {
		if v, diags := t.TraverseAbs(ctx); !diags.HasErrors() && v.ContainsMarked() {
			return true
		}
	}
	return false
}

// nearMember suggests a name for var.X and local.X that are not there.
func (l *loader) nearMember(d *hcl.Diagnostic) string {
	e, ok := d.Expression.(*hclsyntax.ScopeTraversalExpr)
	if !ok || d.Summary != "Unsupported attribute" {
		return ""
	}
	name, ok := member(e.Traversal)
	if !ok {
		return ""
	}
	known := map[string][]string{"each": {"key", "value"}, "local": l.localNames, "var": l.variableNames}
	return inventory.DidYouMean(name, known[e.Traversal.RootName()])
}

// plain takes the mark of sensitive values off, and keeps what they hold out
// of diagnostics.
func (l *loader) plain(v cty.Value) cty.Value {
	if !v.ContainsMarked() {
		return v
	}
	v, marked := v.UnmarkDeepWithPaths()
	for _, m := range marked {
		if secret, err := m.Path.Apply(v); err == nil {
			l.secrets.add(secret)
		} else {
			l.secrets.add(v) // within a set, which has no paths
		}
	}
	return v
}
