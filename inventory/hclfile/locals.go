package hclfile

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// A local is one value of a locals block.
type local struct {
	name  string
	expr  hclsyntax.Expression
	at    hcl.Range
	needs []string // other locals
	value cty.Value
	state int // of the walk: 0 not seen, 1 under way, 2 done
}

// evaluate makes the context in which all else is evaluated.
func (l *loader) evaluate(variables, locals []*hclsyntax.Block, in Input) {
	vars := l.assign(l.declare(variables), in)
	l.root = &hcl.EvalContext{
		Functions: l.budget.functions(),
		Variables: map[string]cty.Value{"var": cty.ObjectVal(vars)},
	}
	l.root.Variables["local"] = cty.ObjectVal(l.locals(locals))
}

func (l *loader) locals(blocks []*hclsyntax.Block) map[string]cty.Value {
	var all []*local
	byName := map[string]*local{}
	for _, b := range blocks {
		for _, label := range b.LabelRanges {
			l.report(label, "Extraneous label for locals", "No labels are expected for locals blocks.")
		}
		for _, bl := range b.Body.Blocks {
			l.report(bl.DefRange(), "Unsupported block type", "A locals block holds values only: NAME = EXPRESSION.")
		}
		for _, a := range sortedAttrs(b.Body) {
			if first, twice := byName[a.Name]; twice {
				l.code(inventory.CodeTwice, a.SrcRange, "local.%s is defined already, at %s:%d.", a.Name, first.at.Filename, first.at.Start.Line)
				continue
			}
			v := &local{name: a.Name, expr: a.Expr, at: a.SrcRange, value: cty.DynamicVal}
			byName[a.Name] = v
			all = append(all, v)
		}
	}
	l.localNames = slices.Sorted(maps.Keys(byName))
	for _, v := range all {
		v.needs = l.needs(v, byName)
	}
	for _, v := range all {
		l.resolveLocal(v, byName)
	}
	out := make(map[string]cty.Value, len(all))
	for _, v := range all {
		out[v.name] = v.value
	}
	return out
}

// needs lists the locals that v refers to.
func (l *loader) needs(v *local, byName map[string]*local) []string {
	var needs []string
	for _, t := range v.expr.Variables() {
		if t.RootName() != "local" {
			continue
		}
		name, ok := member(t)
		if !ok {
			l.code(inventory.CodeCycle, t.SourceRange(), "local as a whole cannot be used within locals: it would need itself. Write local.NAME.")
			v.state = 2
			continue
		}
		if byName[name] != nil {
			needs = append(needs, name)
		}
	}
	return needs
}

// member is NAME of local.NAME or local["NAME"].
func member(t hcl.Traversal) (string, bool) {
	if len(t) < 2 {
		return "", false
	}
	switch s := t[1].(type) {
	case hcl.TraverseAttr:
		return s.Name, true
	case hcl.TraverseIndex:
		if s.Key.Type() == cty.String && s.Key.IsKnown() && !s.Key.IsNull() {
			return s.Key.AsString(), true
		}
	}
	return "", false
}

// resolveLocal evaluates start after all that it needs. It keeps its own
// stack: a chain of locals may be as long as the file.
func (l *loader) resolveLocal(start *local, byName map[string]*local) {
	if start.state != 0 {
		return
	}
	type frame struct {
		v    *local
		next int
	}
	start.state = 1
	stack := []frame{{v: start}}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if top.next < len(top.v.needs) {
			n := byName[top.v.needs[top.next]]
			top.next++
			switch n.state {
			case 0:
				n.state = 1
				stack = append(stack, frame{v: n})
			case 1:
				var chain []string
				for _, f := range stack {
					chain = append(chain, "local."+f.v.name)
				}
				chain = append(chain[slices.Index(chain, "local."+n.name):], "local."+n.name)
				if len(chain) > 12 {
					chain = append(append(chain[:6:6], "..."), chain[len(chain)-5:]...)
				}
				l.code(inventory.CodeCycle, n.at, "These values need each other: %s.", strings.Join(chain, " -> "))
			}
			continue
		}
		top.v.value = l.evalLocal(top.v, byName)
		top.v.state = 2
		stack = stack[:len(stack)-1]
	}
}

// evalLocal evaluates with no more of the other locals in sight than v names:
// an object of all of them, made anew for each, would cost the square of their
// number.
func (l *loader) evalLocal(v *local, byName map[string]*local) cty.Value {
	known := map[string]cty.Value{}
	for _, n := range v.needs {
		if byName[n].state != 2 {
			return cty.DynamicVal // part of a cycle, and reported
		}
		known[n] = byName[n].value
	}
	ctx := l.root.NewChild()
	ctx.Variables = map[string]cty.Value{"local": cty.ObjectVal(known)}
	val, ok := l.eval(v.expr, ctx)
	if !ok {
		return cty.DynamicVal
	}
	return val
}
