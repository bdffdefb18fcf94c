package hclfile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
)

// maxWork bounds what the functions and lists of a site may go through together,
// in elements (see elements), wherever the loops are that call them. A site of
// 50,000 hosts, each of which looks for itself in a list of 300, needs 15 million;
// a million takes up to a second, since each call walks through what it is given
// several times.
const maxWork = 20_000_000

// What an element costs that becomes an address of a host, in elements: it stays,
// and is compared with all others.
const addressWork = 10

// tupleWork is what an element of a tuple costs more: its type is looked at again
// wherever it goes.
const tupleWork = 8

var (
	errWork = fmt.Errorf("the functions of a site go through more than %d elements together: look things up in a map instead of searching lists, or compute less", maxWork)
	errStop = errors.New("interrupted")
)

// spend counts work. Its error says why no more is done.
func (b *budget) spend(n int) error {
	if b.work += max(n, 1); b.overworked() {
		return errWork
	}
	if b.ctx != nil && b.ctx.Err() != nil {
		return errStop
	}
	return nil
}

// overworked says that all the work is spent.
func (b *budget) overworked() bool {
	most := b.most
	if most == 0 {
		most = maxWork
	}
	return b.work > most
}

// A cost is what a call goes through, beside its arguments once.
type cost func(args []cty.Value) int

// costs are those of functions that go through their arguments more than once.
func costs() map[string]cost {
	size := func(v cty.Value) int {
		if v.IsNull() || !v.IsKnown() {
			return 0
		}
		if t := v.Type(); t.IsCollectionType() || t.IsTupleType() || t.IsObjectType() {
			return v.LengthInt()
		}
		return 0
	}
	sorted := func(args []cty.Value) int { return 20 * size(args[0]) }
	sets := func(args []cty.Value) int {
		n := 0
		for _, a := range args {
			n += 20 * size(a)
		}
		return n
	}
	return map[string]cost{
		"contains": func(args []cty.Value) int { return size(args[0]) },
		"sort":     sorted, "toset": sorted, "setunion": sets, "setintersection": sets, "setsubtract": sets, "setproduct": sets,
		"regex": matching, "regexall": matching, "regexreplace": matching,
		"csvdecode": letters, "jsondecode": letters, "jsonencode": letters, "title": letters, "strrev": letters,
	}
}

// slow says that a function walks through what it is given several times: to
// estimate its result, to make it, and to find its type.
func slow(name string) bool {
	return slices.Contains([]string{
		"chunklist", "concat", "distinct", "flatten", "format", "formatlist", "join", "jsonencode", "merge",
		"regexall", "regexreplace", "replace", "setintersection", "setproduct", "setsubtract", "setunion", "tolist", "tomap", "toset", "zipmap",
	}, name)
}

// letters is the length of texts, in sixteenths: going through them by letters
// takes that much longer than through elements.
func letters(args []cty.Value) int {
	n := 0
	for _, a := range args {
		if a.IsKnown() && !a.IsNull() {
			n += len(text(a)) / 16
		}
	}
	return n
}

// matching is what a regular expression takes (package regexp: the length of the
// text times that of the expression, at most).
func matching(args []cty.Value) int {
	for _, a := range args {
		if !a.IsKnown() || a.IsNull() {
			return 0
		}
	}
	return (1 + len(text(args[1]))/16) * (1 + len(text(args[0]))/8)
}

// counted has every function count against the budget, and what panics in one say
// what it was given.
func (b *budget) counted(all map[string]function.Function) map[string]function.Function {
	extra := costs()
	out := make(map[string]function.Function, len(all))
	for name, f := range all {
		if name == "can" || name == "try" {
			out[name] = f // they evaluate what they are given themselves
			continue
		}
		more := extra[name]
		params, rest, converted := collections(f)
		out[name] = function.New(&function.Spec{
			Description: f.Description(), Params: params, VarParam: rest,
			Type: func(args []cty.Value) (cty.Type, error) {
				args, err := converted(args)
				if err != nil {
					return cty.NilType, err
				}
				t, err := f.ReturnTypeForValues(args)
				return t, sober(err, args)
			},
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				args, err := converted(args)
				if err != nil {
					return cty.DynamicVal, err
				}
				n := 1
				for _, a := range args {
					n += elements(a, maxElements)
					if a.Type().IsTupleType() {
						n += tupleWork * a.Type().Length()
					}
				}
				if slow(name) {
					n *= 5
				}
				if more != nil {
					n += more(args)
				}
				if err := b.spend(n); err != nil {
					return cty.DynamicVal, err
				}
				v, err := f.Call(args)
				return v, sober(err, args)
			},
		})
	}
	return out
}

// collections gives the parameters of a function with each list, set and map let
// through as it is, and what makes one of an argument. HCL's own way from a tuple,
// which every [...] is, to a list compares the type of each element with that of
// each (convert/unify.go, sortTypes): 50,000 elements take minutes.
func collections(f function.Function) (params []function.Parameter, rest *function.Parameter, converted func([]cty.Value) ([]cty.Value, error)) {
	open := func(p function.Parameter) function.Parameter {
		if p.Type.IsCollectionType() {
			p.Type = cty.DynamicPseudoType
		}
		return p
	}
	was := f.Params()
	for _, p := range was {
		params = append(params, open(p))
	}
	if p := f.VarParam(); p != nil {
		o := open(*p)
		rest = &o
	}
	return params, rest, func(args []cty.Value) ([]cty.Value, error) {
		out := slices.Clone(args)
		for i, a := range args {
			p := f.VarParam()
			if i < len(was) {
				p = &was[i]
			}
			if p == nil || !p.Type.IsCollectionType() {
				continue
			}
			v, err := collection(a, p.Type)
			if err != nil {
				return nil, function.NewArgError(i, err)
			}
			out[i] = v
		}
		return out, nil
	}
}

// collection makes a value be of a type of collections.
func collection(v cty.Value, want cty.Type) (cty.Value, error) {
	t := v.Type()
	if v.IsMarked() || v.IsNull() || !v.IsKnown() || !t.IsTupleType() || t.Length() == 0 || want.IsMapType() {
		return convert.Convert(v, want)
	}
	types := t.TupleElementTypes()
	if types[0] == cty.DynamicPseudoType || slices.ContainsFunc(types, func(e cty.Type) bool { return !e.Equals(types[0]) }) {
		if len(types) > maxMixed {
			return cty.NilVal, fmt.Errorf("more than %d elements of several types cannot be made to be of one", maxMixed)
		}
		return convert.Convert(v, want)
	}
	if want.IsSetType() {
		v = cty.SetVal(v.AsValueSlice())
	} else {
		v = cty.ListVal(v.AsValueSlice())
	}
	if e := want.ElementType(); e == cty.DynamicPseudoType || e.Equals(types[0]) {
		return v, nil
	}
	return convert.Convert(v, want)
}

// sober makes an error of a panic in a function: what it was given, and no stack.
func sober(err error, args []cty.Value) error {
	var panicked function.PanicError
	if !errors.As(err, &panicked) {
		return err
	}
	given := make([]string, len(args))
	for i, a := range args {
		given[i] = describe(a)
	}
	return fmt.Errorf("it cannot work with these arguments: %s", strings.Join(given, ", "))
}

// describe is a value in a few words.
func describe(v cty.Value) string {
	v, _ = v.Unmark()
	switch {
	case v.IsNull():
		return "null"
	case !v.IsKnown():
		return "a value that is not known"
	case v.Type() == cty.String:
		s := v.AsString()
		if len(s) > 60 {
			s = s[:60] + "..."
		}
		return fmt.Sprintf("%q", s)
	case v.Type() == cty.Number:
		return v.AsBigFloat().Text('g', 20)
	case v.Type() == cty.Bool:
		return fmt.Sprint(v.True())
	}
	return "a " + v.Type().FriendlyName()
}

// exhausted finds a diagnostic that a function ended with since there was too
// much to do.
func exhausted(d *hcl.Diagnostic) (error, bool) {
	extra, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d)
	if !ok {
		return nil, false
	}
	err := extra.FunctionCallError()
	return err, errors.Is(err, errWork) || errors.Is(err, errStop)
}

// interrupted says that the reading was ended from outside.
func (l *loader) interrupted() bool { return l.budget.ctx != nil && l.budget.ctx.Err() != nil }

// withContext has the reading end with ctx.
func (l *loader) withContext(ctx context.Context) { l.budget.ctx = ctx }

// maxMelded bounds how many bytes the parser copies to join the lines of long
// texts (parser_template.go, meldConsecutiveStringLiterals): it copies all that
// stands before each line again. 2 GiB take about half a second.
const maxMelded int64 = 2 << 30

// meldedTooLong finds the text that the parser would take too long to join.
func meldedTooLong(tokens hclsyntax.Tokens) (hcl.Range, bool) {
	var total, run int64
	var from hcl.Range
	for _, t := range tokens {
		if t.Type != hclsyntax.TokenStringLit && t.Type != hclsyntax.TokenQuotedLit {
			run = 0
			continue
		}
		if run == 0 {
			from = t.Range
		}
		run += int64(len(t.Bytes))
		if total += run; total > maxMelded {
			return from, true
		}
	}
	return hcl.Range{}, false
}
