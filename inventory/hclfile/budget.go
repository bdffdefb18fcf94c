package hclfile

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// A few lines can ask for more than any machine has: each local twice the one
// before, loops within loops. So what expressions cost is counted.
const (
	maxElements = 1 << 19  // of one value, however deep they lie; 64 bytes of text count as one
	maxSteps    = 1 << 19  // of all for expressions of a site
	maxText     = 32 << 20 // bytes that all templates of a site make
	maxHosts    = 50_000   // of one for_each
)

// A budget is what may still be evaluated of one site.
type budget struct {
	steps, text int
	work        int // see spend
	most        int // of work; 0: maxWork
	told        bool
	ctx         context.Context              // whose end ends the reading; nil: nothing does
	known       map[string]function.Function // nil: not asked yet
}

// watch lets the loops and templates in a tree count against the budget, and
// has an eye on what numbers are made of. It puts them in parentheses, in effect, so that everybody else sees the tree as
// it was.
func (b *budget) watch(root hclsyntax.Node) {
	wrap := func(e hclsyntax.Expression) hclsyntax.Expression {
		return &counted{&hclsyntax.ParenthesesExpr{Expression: e, SrcRange: e.Range()}, b}
	}
	b.functions()
	// It reports nothing.
	_ = hclsyntax.VisitAll(root, func(n hclsyntax.Node) hcl.Diagnostics {
		operands(n, b.known)
		switch n := n.(type) {
		case *hclsyntax.ForExpr:
			if n.CondExpr != nil {
				n.CondExpr = wrap(n.CondExpr)
			}
			n.ValExpr = wrap(n.ValExpr)
		case *hclsyntax.TemplateExpr:
			for i, p := range n.Parts {
				if _, literal := p.(*hclsyntax.LiteralValueExpr); !literal {
					n.Parts[i] = wrap(p)
				}
			}
		}
		return nil
	})
}

// functions are those of expressions, which count against the budget.
func (b *budget) functions() map[string]function.Function {
	if b.known == nil {
		b.known = b.counted(functions())
	}
	return b.known
}

// A counted expression is in a loop or a template.
type counted struct {
	*hclsyntax.ParenthesesExpr
	budget *budget
}

// Value evaluates while there is something left to spend. After that loops
// that are under way run out with nothing in them.
func (c *counted) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	b := c.budget
	if b.steps++; b.steps > maxSteps || b.text > maxText || b.overworked() || b.ctx != nil && b.ctx.Err() != nil {
		if b.told {
			return cty.DynamicVal, nil
		}
		b.told = true
		if b.ctx != nil && b.ctx.Err() != nil {
			return cty.DynamicVal, nil //nolint:nilerr // that is said once, of all
		}
		if b.overworked() {
			return cty.DynamicVal, hcl.Diagnostics{{
				Severity: hcl.DiagError, Summary: "Too much to evaluate", Subject: c.Range().Ptr(), Extra: tooMuch{}, Detail: sentence(errWork),
			}}
		}
		return cty.DynamicVal, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Too much to evaluate", Subject: c.Range().Ptr(), Extra: tooMuch{},
			Detail: fmt.Sprintf("The loops of a site have at most %d steps together, and its templates make at most %d MiB of text.", maxSteps, maxText>>20),
		}}
	}
	v, diags := c.Expression.Value(ctx)
	if u, _ := v.Unmark(); u.IsKnown() && !u.IsNull() {
		switch u.Type() {
		case cty.String:
			b.text += len(u.AsString())
		case cty.Number:
			if digits(u) > maxDigits {
				return cty.DynamicVal, append(diags, &hcl.Diagnostic{
					Severity: hcl.DiagError, Summary: "Too much to evaluate", Subject: c.Range().Ptr(), Extra: tooMuch{},
					Detail: tooManyDigits,
				})
			}
		}
	}
	return v, diags
}

// tooMuch marks the diagnostics of a budget.
type tooMuch struct{}

// elements counts what a value holds, up to a little over most. What stands in
// it twice counts twice: it is walked twice by whoever looks at it.
func elements(v cty.Value, most int) int {
	v, _ = v.Unmark()
	if !v.IsKnown() || v.IsNull() {
		return 1
	}
	switch t := v.Type(); {
	case t == cty.String:
		return 1 + len(v.AsString())/64
	case t == cty.Number:
		if digits(v) > maxDigits {
			return most + 1
		}
	case t.IsCollectionType() || t.IsTupleType() || t.IsObjectType():
		n := 1
		for it := v.ElementIterator(); n <= most && it.Next(); {
			k, e := it.Element()
			n += elements(e, most-n)
			if k.Type() == cty.String {
				n += elements(k, most-n) - 1
			}
		}
		return n
	}
	return 1
}

var tooLarge = fmt.Sprintf("This value has more than %d elements, or as many times 64 bytes of text, or a number of more than %d digits.", maxElements, maxDigits)

// fits reports a value that is too large to go on with.
func (l *loader) fits(v cty.Value, at hcl.Range) bool {
	if elements(v, maxElements) <= maxElements {
		return true
	}
	l.code(inventory.CodeSize, at, "%s", tooLarge)
	return false
}

// bounded lets a function refuse what would make its result too large, before
// it makes it. grows estimates how large that would be, in elements, from
// known arguments; nil: as large as they are together.
func bounded(f function.Function, grows func([]cty.Value) int) function.Function {
	check := func(args []cty.Value) error {
		n := 0
		for _, a := range args {
			if n += elements(a, maxElements-n); n > maxElements {
				return fmt.Errorf("its arguments have more than %d elements", maxElements)
			}
		}
		if grows != nil {
			plain := make([]cty.Value, len(args))
			for i, a := range args {
				plain[i], _ = a.UnmarkDeep()
				if !plain[i].IsWhollyKnown() || plain[i].IsNull() {
					return nil // it is not called, or refuses that itself
				}
			}
			if grows(plain) > maxElements {
				return fmt.Errorf("its result would have more than %d elements, or as many times 64 bytes of text", maxElements)
			}
		}
		return nil
	}
	return function.New(&function.Spec{
		Description: f.Description(), Params: f.Params(), VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			if err := check(args); err != nil {
				return cty.NilType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f.Call(args) },
	})
}

// maxMixed bounds the elements of several types that are made to be of one:
// each is compared with each.
const maxMixed = 5000

// unified is for functions that make all elements be of one type, which takes
// the square of their number, even where they are.
func unified(f function.Function, grows func([]cty.Value) int) function.Function {
	plain := func(args []cty.Value) ([]cty.Value, error) {
		out := slices.Clone(args)
		for i, a := range args {
			t := a.Type()
			if !t.IsTupleType() || a.IsMarked() || a.IsNull() || !a.IsKnown() || t.Length() == 0 {
				continue
			}
			types := t.TupleElementTypes()
			same := !slices.ContainsFunc(types, func(e cty.Type) bool { return !e.Equals(types[0]) })
			switch {
			case same && types[0] != cty.DynamicPseudoType:
				out[i] = cty.ListVal(a.AsValueSlice())
			case len(types) > maxMixed:
				return nil, fmt.Errorf("more than %d elements of several types cannot be made to be of one", maxMixed)
			}
		}
		return out, nil
	}
	return bounded(function.New(&function.Spec{
		Description: f.Description(), Params: f.Params(), VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			args, err := plain(args)
			if err != nil {
				return cty.NilType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			args, err := plain(args)
			if err != nil {
				return cty.NilVal, err
			}
			return f.Call(args)
		},
	}), grows)
}

// text is v as text; "" where it is none.
func text(v cty.Value) string {
	if v.Type() == cty.String {
		return v.AsString()
	}
	return ""
}

// replaced is the size of what replace makes.
func replaced(args []cty.Value) int {
	return (len(text(args[0])) + strings.Count(text(args[0]), text(args[1]))*len(text(args[2]))) / 64
}

// rewritten is at most the size of what regexreplace makes: a pattern may match
// between any two characters, and the replacement may name groups.
func rewritten(args []cty.Value) int {
	s, with := len(text(args[0])), len(text(args[2]))
	return (s + (s+1)*(with+strings.Count(text(args[2]), "$")*s)) / 64
}

// indented is the size of what indent makes.
func indented(args []cty.Value) int {
	n, _ := args[0].AsBigFloat().Int64()
	return int(min(max(n, 0), maxElements*64)) * (1 + strings.Count(text(args[1]), "\n")) / 64
}

// joined is the size of what join makes.
func joined(args []cty.Value) int {
	n := 0
	for _, a := range args[1:] {
		n += a.LengthInt() * (1 + len(text(args[0]))/64)
	}
	return n
}

// multiplied is the size of a product: each element of each argument stands in
// it as often as the others have elements.
func multiplied(args []cty.Value) int {
	count, size := 1, 0
	for _, a := range args {
		n, e := a.LengthInt(), elements(a, maxElements)
		size, count = size*n+count*e, count*n
		if size > maxElements || count > maxElements {
			return maxElements + 1
		}
	}
	return size
}

// formatted is the size of what format and formatlist make: a verb may ask
// for any width.
func formatted(args []cty.Value) int {
	widest, n := 0, 0
	if endlessFormat(args) {
		return maxElements + 1
	}
	for _, part := range strings.FieldsFunc(text(args[0]), func(r rune) bool { return r < '0' || r > '9' }) {
		w, err := strconv.Atoi(part)
		if err != nil {
			return maxElements + 1
		}
		widest += w
		if widest > maxElements*64 {
			return maxElements + 1
		}
	}
	rows, longest := 1, len(text(args[0]))
	for _, a := range args {
		if t := a.Type(); t.IsCollectionType() || t.IsTupleType() {
			rows = max(rows, a.LengthInt())
		} else {
			longest += len(text(a))
		}
	}
	n = rows * ((widest+longest)/64 + 1)
	return n
}
