package hclfile

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// To read a number takes the square of its digits, and to write it out the
// square of its exponent (math/big): a few characters may take hours. So each is
// looked at where it comes into being, before anybody writes it out.

// maxDigits bounds a number, before its point and behind it.
const maxDigits = 1000

var tooManyDigits = fmt.Sprintf("A number has at most %d digits, with its exponent worked out.", maxDigits)

// digits is about how many digits a number has before or after its point.
func digits(v cty.Value) int {
	const perDigit = 3.32 // bits
	e := v.AsBigFloat().MantExp(nil)
	return int(float64(max(e, -e)) / perDigit)
}

// long says whether a text would make a number that takes long to read.
func long(s string) bool { return len(s) > maxDigits && strings.Trim(s, "0123456789+-.eE") == "" }

// longIn says whether there is such a text in v.
func longIn(v cty.Value) bool { return anywhere(v, func(v cty.Value) bool { return long(text(v)) }) }

// endless says whether there is a number in v, or a text that would make one,
// of more than maxDigits digits.
func endless(v cty.Value) bool {
	return anywhere(v, func(v cty.Value) bool {
		if v.Type() == cty.String {
			s := v.AsString()
			if len(s) > maxDigits {
				return long(s)
			}
			n, err := cty.ParseNumberVal(s)
			if err != nil {
				return false
			}
			v = n
		}
		return v.Type() == cty.Number && digits(v) > maxDigits
	})
}

// anywhere says whether is holds of v or of a value within it that is known.
func anywhere(v cty.Value, is func(cty.Value) bool) bool {
	found := errors.New("found")
	return cty.Walk(v, func(_ cty.Path, v cty.Value) (bool, error) {
		v, _ = v.Unmark()
		if !v.IsKnown() || v.IsNull() {
			return false, nil
		}
		if is(v) {
			return false, found
		}
		return true, nil
	}) != nil
}

// An operand is an expression of which a number is made; of a key, perhaps one.
type operand struct {
	*hclsyntax.ParenthesesExpr
	key bool
}

// Value refuses what would be endless.
func (o *operand) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	v, diags := o.Expression.Value(ctx)
	if diags.HasErrors() {
		return v, diags
	}
	if plain, _ := v.Unmark(); o.key && plain.IsKnown() && !long(text(plain)) || !endless(v) {
		return v, diags
	}
	return cty.DynamicVal, append(diags, &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: "Too much to evaluate", Subject: o.Range().Ptr(), Extra: tooMuch{}, Detail: tooManyDigits,
	})
}

// operands puts those of a node in parentheses, in effect. known are the
// functions.
func operands(n hclsyntax.Node, known map[string]function.Function) {
	wrap := func(e *hclsyntax.Expression, key bool) {
		if _, literal := (*e).(*hclsyntax.LiteralValueExpr); !literal { // the guard has seen it
			*e = &operand{&hclsyntax.ParenthesesExpr{Expression: *e, SrcRange: (*e).Range()}, key}
		}
	}
	ofNumbers := func(o *hclsyntax.Operation) bool { return o.Impl.Params()[0].Type == cty.Number }
	switch n := n.(type) {
	case *hclsyntax.BinaryOpExpr:
		if ofNumbers(n.Op) {
			wrap(&n.LHS, false)
			wrap(&n.RHS, false)
		}
	case *hclsyntax.UnaryOpExpr:
		if ofNumbers(n.Op) {
			wrap(&n.Val, false)
		}
	case *hclsyntax.IndexExpr:
		wrap(&n.Key, true)
	case *hclsyntax.FunctionCallExpr:
		f, ok := known[n.Name]
		if !ok {
			return
		}
		params, more := f.Params(), f.VarParam()
		for i := range n.Args {
			numeric := n.Name == "tonumber" || n.Name == "parseint"
			if i < len(params) {
				numeric = numeric || params[i].Type == cty.Number
			} else if more != nil {
				numeric = numeric || more.Type == cty.Number
			}
			if numeric {
				wrap(&n.Args[i], false)
			}
		}
	}
}

var formatVerb = regexp.MustCompile(`%[-+# 0-9.*\[\]]*[a-zA-Z%]`)

// endlessFormat says whether a verb of format makes an endless number of its
// argument.
func endlessFormat(args []cty.Value) bool {
	next := 1
	for _, verb := range formatVerb.FindAllString(text(args[0]), -1) {
		last := verb[len(verb)-1]
		if last == '%' {
			continue
		}
		from, to := next, next+1
		if strings.ContainsAny(verb, "*[") { // it takes others
			from, to = 1, len(args)
		}
		next++
		if strings.IndexByte("bdoxXeEfgG", last) < 0 {
			continue
		}
		for i := from; i < min(to, len(args)); i++ {
			if endless(args[i]) {
				return true
			}
		}
	}
	return false
}

// decoded is jsondecode, of numbers that can be borne.
func decoded(f function.Function) function.Function {
	return function.New(&function.Spec{
		Description: f.Description(), Params: f.Params(),
		Type: func(args []cty.Value) (cty.Type, error) {
			if args[0].IsKnown() && !args[0].IsNull() && manyDigits([]byte(args[0].AsString())) >= 0 {
				return cty.NilType, errors.New(tooManyDigits)
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, err := f.Call(args)
			if err == nil && elements(v, maxElements) > maxElements {
				err = errors.New(tooLarge)
			}
			return v, err
		},
	})
}

// manyDigits finds where more than maxDigits digits stand in a row, -1 if
// nowhere.
func manyDigits(src []byte) int {
	row := 0
	for i, c := range src {
		switch {
		case '0' <= c && c <= '9':
			if row++; row > maxDigits {
				return i
			}
		case c == '.' && row > 0: // goes on behind it
		default:
			row = 0
		}
	}
	return -1
}
