package hclfile

import (
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// functions are all that expressions may call. None reads a file, a clock or
// the network: the same files and values give the same site.
func functions() map[string]function.Function {
	return map[string]function.Function{
		// strings
		"chomp": stdlib.ChompFunc, "format": bounded(stdlib.FormatFunc, formatted), "formatlist": bounded(stdlib.FormatListFunc, formatted),
		"indent": bounded(stdlib.IndentFunc, indented), "join": bounded(stdlib.JoinFunc, joined), "lower": stdlib.LowerFunc,
		"regex": stdlib.RegexFunc, "regexall": bounded(stdlib.RegexAllFunc, matches), "regexreplace": bounded(stdlib.RegexReplaceFunc, rewritten),
		"replace": bounded(stdlib.ReplaceFunc, replaced), "split": stdlib.SplitFunc, "strlen": stdlib.StrlenFunc,
		"strrev": stdlib.ReverseFunc, "substr": stdlib.SubstrFunc, "title": stdlib.TitleFunc,
		"trim": stdlib.TrimFunc, "trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc,
		"trimsuffix": stdlib.TrimSuffixFunc, "upper": stdlib.UpperFunc,

		// collections
		"chunklist": bounded(stdlib.ChunklistFunc, nil), "coalesce": stdlib.CoalesceFunc, "coalescelist": stdlib.CoalesceListFunc,
		"compact": stdlib.CompactFunc, "concat": bounded(stdlib.ConcatFunc, nil), "contains": contains(),
		"distinct": bounded(distinct(), nil), "element": stdlib.ElementFunc, "flatten": bounded(stdlib.FlattenFunc, nil),
		"keys": stdlib.KeysFunc, "length": stdlib.LengthFunc,
		"lookup": stdlib.LookupFunc, "merge": bounded(stdlib.MergeFunc, nil), "range": stdlib.RangeFunc,
		"reverse": stdlib.ReverseListFunc, "setintersection": bounded(stdlib.SetIntersectionFunc, nil),
		"setproduct": unified(stdlib.SetProductFunc, multiplied), "setsubtract": bounded(stdlib.SetSubtractFunc, nil), "setunion": bounded(stdlib.SetUnionFunc, nil),
		"slice": stdlib.SliceFunc, "sort": stdlib.SortFunc, "values": stdlib.ValuesFunc, "zipmap": bounded(stdlib.ZipmapFunc, nil),

		// numbers
		"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "floor": stdlib.FloorFunc, "log": stdlib.LogFunc,
		"max": stdlib.MaxFunc, "min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc, "pow": stdlib.PowFunc,
		"signum": stdlib.SignumFunc,

		// kinds and encodings
		"can": tryfunc.CanFunc, "try": tryfunc.TryFunc,
		"csvdecode": bounded(stdlib.CSVDecodeFunc, cells), "jsondecode": decoded(stdlib.JSONDecodeFunc), "jsonencode": bounded(stdlib.JSONEncodeFunc, nil),
		"tobool":   stdlib.MakeToFunc(cty.Bool),
		"tolist":   unified(stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)), nil),
		"tomap":    bounded(stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)), nil),
		"tonumber": stdlib.MakeToFunc(cty.Number),
		"toset":    unified(stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)), nil),
		"tostring": stdlib.MakeToFunc(cty.String),

		// networks
		"cidrhost": cidrHost(), "cidrnetmask": cidrNetmask(),
		"cidrsubnet": cidrSubnet(), "cidrsubnets": cidrSubnets(),
	}
}
