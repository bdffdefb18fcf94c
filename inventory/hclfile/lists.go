package hclfile

import (
	"regexp"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// simple is a value's own text, where its type has no parts; ok is false
// elsewhere, and for null and what is not known.
func simple(v cty.Value) (key string, ok bool) {
	if v.IsMarked() || v.IsNull() || !v.IsKnown() {
		return "", false
	}
	switch v.Type() {
	case cty.String:
		return "s" + v.AsString(), true
	case cty.Number:
		return "n" + v.AsBigFloat().Text('g', -1), true
	case cty.Bool:
		if v.True() {
			return "t", true
		}
		return "f", true
	}
	return "", false
}

// distinct is distinct(list): go-cty's compares each element with each, so that a
// list of 50,000 takes minutes. Elements without parts are told apart by their
// text.
func distinct() function.Function {
	plain := stdlib.DistinctFunc
	return function.New(&function.Spec{
		Description: plain.Description(), Params: plain.Params(),
		Type: func(args []cty.Value) (cty.Type, error) { return plain.ReturnTypeForValues(args) },
		Impl: func(args []cty.Value, t cty.Type) (cty.Value, error) {
			if !args[0].IsWhollyKnown() || args[0].IsNull() {
				return plain.Call(args)
			}
			seen := map[string]bool{}
			var out []cty.Value
			for it := args[0].ElementIterator(); it.Next(); {
				_, e := it.Element()
				key, ok := simple(e)
				if !ok {
					if n := args[0].LengthInt(); n > maxMixed {
						return cty.NilVal, function.NewArgErrorf(0, "more than %d elements with parts cannot be told apart", maxMixed)
					}
					return plain.Call(args)
				}
				if !seen[key] {
					seen[key] = true
					out = append(out, e)
				}
			}
			if len(out) == 0 {
				return cty.ListValEmpty(t.ElementType()), nil
			}
			return cty.ListVal(out), nil
		},
	})
}

// contains is contains(list, value): go-cty's asks each element whether it equals
// the value by a way that makes a value of the answer.
func contains() function.Function {
	plain := stdlib.ContainsFunc
	return function.New(&function.Spec{
		Description: plain.Description(), Params: plain.Params(),
		Type: func(args []cty.Value) (cty.Type, error) { return plain.ReturnTypeForValues(args) },
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			list, sought := args[0], args[1]
			if list.IsNull() || !list.IsKnown() || list.IsMarked() || !list.CanIterateElements() || sought.IsNull() || !sought.IsKnown() || sought.IsMarked() || sought.Type() != cty.String {
				return plain.Call(args)
			}
			text := sought.AsString()
			for it := list.ElementIterator(); it.Next(); {
				_, e := it.Element()
				if e.IsMarked() || e.IsNull() || !e.IsKnown() {
					return plain.Call(args)
				}
				if e.Type() == cty.String && e.AsString() == text {
					return cty.True, nil
				}
			}
			return cty.False, nil
		},
	})
}

// matches is how many elements regexall makes, at most a little over what is
// allowed.
func matches(args []cty.Value) int {
	re, err := regexp.Compile(text(args[0]))
	if err != nil {
		return 0 // it is refused by the function
	}
	return len(re.FindAllStringIndex(text(args[1]), maxElements+1)) * (1 + re.NumSubexp())
}

// cells is how many values a text of comma-separated values may have.
func cells(args []cty.Value) int {
	return strings.Count(text(args[0]), ",") + strings.Count(text(args[0]), "\n") + 1
}
